"""What the risk checks remember: part of the book's state.

The book records what happened with the ``with_...`` functions; ``risk_checks`` reads it.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta
from decimal import Decimal

import immutables
import msgspec

from foldbook.trading.events import OrderCreated
from foldbook.trading.values import (
    EXACT,
    ZERO,
    Rate,
    RiskLimits,
    Side,
    TradingState,
)

ACCOUNT_SCOPE = ""
"""The key of the account's own limits; the other keys are symbols."""

RECENT_ORDERS_MAX = 1_000
"""The latest orders, in which duplicates are found. Up to twice as many are remembered."""


_ACTIVE, _BUY = TradingState.ACTIVE, Side.BUY  # a member looked up on its class costs as much as a check

_add = EXACT.add
_subtract = EXACT.subtract


# -- what is remembered ------------------------------------------------------------------------------------------


class LastPrice(msgspec.Struct, frozen=True, gc=False):
    price: Decimal
    time: datetime
    """When it counts."""
    told: datetime | None = None
    """What the market data's clock told, if that can be compared."""


class Exposure(msgspec.Struct, frozen=True, gc=False):
    """The open orders in one symbol: LeavesQty by side, and how many they are."""

    buy_qty: Decimal = ZERO
    sell_qty: Decimal = ZERO
    count: int = 0


class Window(msgspec.Struct, frozen=True, gc=False):
    """When the latest messages left, oldest first. ``messages``: orders, replaces and cancels.

    A rate of ``count`` in an interval needs only the last ``count`` times. One more is kept, so that an order that
    turns out to be denied can be removed again.
    """

    orders: tuple[datetime, ...] = ()
    messages: tuple[datetime, ...] = ()


class Recent(msgspec.Struct, frozen=True, gc=False):
    """When an order with some content left last, and when it left before that."""

    time: datetime
    before: datetime | None = None


class Mismatch(msgspec.Struct, frozen=True, gc=False):
    """What the book said that is held, and what the broker said."""

    expected: Decimal
    observed: Decimal


class Risk(msgspec.Struct, frozen=True, gc=False):
    """``limits`` and ``windows`` by symbol, those of the account under ``ACCOUNT_SCOPE``; ``recent`` by content.

    Messages are remembered only while a limit needs them: a rate counts from when it was set. Exposures are kept while
    there are any limits or mismatches, or while the trading state restricts orders.
    """

    state: TradingState = TradingState.ACTIVE
    limits: immutables.Map[str, RiskLimits] = immutables.Map()
    prices: immutables.Map[str, LastPrice] = immutables.Map()
    exposures: immutables.Map[str, Exposure] = immutables.Map()
    windows: immutables.Map[str, Window] = immutables.Map()
    recent: immutables.Map[str, Recent] = immutables.Map()
    mismatches: immutables.Map[str, Mismatch] = immutables.Map()
    """By symbol: where broker and book do not agree."""

    @property
    def is_watching(self) -> bool:
        """Does anything need the exposures?"""
        return self.state is not _ACTIVE or bool(self.limits) or bool(self.mismatches)


NO_EXPOSURE = Exposure()
NO_WINDOW = Window()


# -- evolve ------------------------------------------------------------------------------------------------------


def with_state(risk: Risk, state: TradingState) -> Risk:
    return Risk(state, risk.limits, risk.prices, risk.exposures, risk.windows, risk.recent, risk.mismatches)


def with_limits(risk: Risk, symbol: str | None, limits: RiskLimits) -> Risk:
    """With the limits of one symbol, or of the account, replaced. What no limit needs is forgotten."""
    scope = symbol or ACCOUNT_SCOPE
    by_scope = risk.limits.delete(scope) if scope in risk.limits else risk.limits
    if limits != RiskLimits():
        by_scope = by_scope.set(scope, limits)
    windows = risk.windows
    known = windows.get(scope)
    if known is not None:
        window = Window(
            known.orders if limits.max_order_rate is not None else (),
            known.messages if limits.max_message_rate is not None else (),
        )
        windows = windows.set(scope, window) if window != NO_WINDOW else windows.delete(scope)
    is_recent_needed = any(each.duplicate_window_s is not None for each in by_scope.values())
    recent = risk.recent if is_recent_needed else immutables.Map[str, Recent]()
    return Risk(risk.state, by_scope, risk.prices, risk.exposures, windows, recent, risk.mismatches)


def with_mismatch(risk: Risk, symbol: str, mismatch: Mismatch | None) -> Risk:
    """With a symbol in which broker and book differ; None: they agree again."""
    mismatches = risk.mismatches
    if mismatch is not None:
        mismatches = mismatches.set(symbol, mismatch)
    elif symbol in mismatches:
        mismatches = mismatches.delete(symbol)
    return Risk(risk.state, risk.limits, risk.prices, risk.exposures, risk.windows, risk.recent, mismatches)


def with_exposures(risk: Risk, exposures: immutables.Map[str, Exposure]) -> Risk:
    """With the exposures of all open orders, when something begins to need them."""
    return Risk(risk.state, risk.limits, risk.prices, exposures, risk.windows, risk.recent, risk.mismatches)


def with_price(risk: Risk, symbol: str, price: Decimal, time: datetime, told: datetime | None = None) -> Risk:
    """With the last price of ``symbol``, unless a later one is known."""
    if is_outdated(risk.prices.get(symbol), told):
        return risk
    prices = risk.prices.set(symbol, LastPrice(price, time, told))
    return Risk(risk.state, risk.limits, prices, risk.exposures, risk.windows, risk.recent, risk.mismatches)


def is_outdated(known: LastPrice | None, told: datetime | None) -> bool:
    """Does the market data's clock say that a price is older than the known one?"""
    return known is not None and known.told is not None and told is not None and told < known.told


def with_exposure(
    risk: Risk, symbol: str, side: Side, leaves_before: Decimal, leaves_after: Decimal, count_delta: int = 0
) -> Risk:
    """With an open order of ``symbol`` changed. A new one has no leaves before, a closed one none after.

    While a replace is pending, pass the larger leaves: the market may see either.
    """
    exposure = risk.exposures.get(symbol, NO_EXPOSURE)
    change = _subtract(leaves_after, leaves_before)
    buy_qty, sell_qty = exposure.buy_qty, exposure.sell_qty
    if side is _BUY:
        buy_qty = _add(buy_qty, change)
    else:
        sell_qty = _add(sell_qty, change)
    count = exposure.count + count_delta
    if count or buy_qty or sell_qty:
        exposures = risk.exposures.set(symbol, Exposure(buy_qty, sell_qty, count))
    else:
        exposures = risk.exposures.delete(symbol) if symbol in risk.exposures else risk.exposures
    return Risk(risk.state, risk.limits, risk.prices, exposures, risk.windows, risk.recent, risk.mismatches)


def with_order(risk: Risk, order: OrderCreated) -> Risk:
    """With an order that leaves at its ``transact_time``; an order without one is older than these checks."""
    time = order.transact_time
    if not risk.limits or time is None:
        return risk
    windows = _with_message(risk, order.symbol, time, is_order=True)
    recent = risk.recent
    if _finds_duplicates(risk, order.symbol):
        content = content_of(order)
        known = recent.get(content)
        recent = recent.set(content, Recent(time, known.time if known is not None else None))
        if len(recent) > 2 * RECENT_ORDERS_MAX:
            recent = _latest(recent)
    return Risk(risk.state, risk.limits, risk.prices, risk.exposures, windows, recent, risk.mismatches)


def with_order_denied(risk: Risk, order: OrderCreated) -> Risk:
    """Undoes ``with_order``, right after it: an order that was denied never left."""
    if not risk.limits or order.transact_time is None:
        return risk
    windows = risk.windows
    for scope in (ACCOUNT_SCOPE, order.symbol):
        window = windows.get(scope)
        if window is not None:
            window = Window(window.orders[:-1], window.messages[:-1])
            windows = windows.set(scope, window) if window != NO_WINDOW else windows.delete(scope)
    recent = risk.recent
    if _finds_duplicates(risk, order.symbol):
        content = content_of(order)
        before = recent[content].before
        recent = recent.set(content, Recent(before)) if before is not None else recent.delete(content)
    return Risk(risk.state, risk.limits, risk.prices, risk.exposures, windows, recent, risk.mismatches)


def with_message(risk: Risk, symbol: str, time: datetime | None) -> Risk:
    """With a replace or a cancel that leaves at ``time``."""
    if not risk.limits or time is None:
        return risk
    windows = _with_message(risk, symbol, time, is_order=False)
    return Risk(risk.state, risk.limits, risk.prices, risk.exposures, windows, risk.recent, risk.mismatches)


def _with_message(risk: Risk, symbol: str, time: datetime, *, is_order: bool) -> immutables.Map[str, Window]:
    windows = risk.windows
    for scope in (ACCOUNT_SCOPE, symbol):
        limits = risk.limits.get(scope)
        if limits is None or (limits.max_order_rate is None and limits.max_message_rate is None):
            continue
        window = windows.get(scope, NO_WINDOW)
        orders = _with_time(window.orders, time, limits.max_order_rate) if is_order else window.orders
        windows = windows.set(scope, Window(orders, _with_time(window.messages, time, limits.max_message_rate)))
    return windows


def _with_time(times: tuple[datetime, ...], time: datetime, rate: Rate | None) -> tuple[datetime, ...]:
    """``times`` with ``time`` added. A clock that goes back counts as standing still."""
    if rate is None:
        return ()
    if times and time < times[-1]:
        time = times[-1]
    outdated = bisect_right(times, time - timedelta(seconds=rate.interval_s))
    return times[max(outdated, len(times) - rate.count) :] + (time,)  # noqa: RUF005 - one copy less than unpacking


def _finds_duplicates(risk: Risk, symbol: str) -> bool:
    scopes = (risk.limits.get(ACCOUNT_SCOPE), risk.limits.get(symbol))
    return any(limits is not None and limits.duplicate_window_s is not None for limits in scopes)


def _latest(recent: immutables.Map[str, Recent]) -> immutables.Map[str, Recent]:
    by_time = sorted(recent.items(), key=lambda item: (item[1].time, item[0]))
    return immutables.Map(by_time[-RECENT_ORDERS_MAX:])


def content_of(order: OrderCreated) -> str:
    """Orders with equal content are duplicates."""
    return (
        f"{order.strategy_id} {order.symbol} {order.side} {order.order_type} {order.quantity} {order.limit_price}"
        f" {order.stop_price} {order.time_in_force} {order.cash_quantity} {order.trailing_offset}"
    )
