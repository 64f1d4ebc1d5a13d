"""The checks that an order must pass before it leaves, and what they deny.

An order or a replace is checked (``check_order``, ``check_replace``) against what ``risk.Risk`` remembers. A cancel is
never checked: it always passes, and only counts as a message.

Three denials need no limits and come first: of an order that is to expire in the past (``expired``), of one in an
instrument that has expired (``instrument-expired``), and of one that says that it only reduces the position, but would
do more (``reduce-only``).

The limits of the account and those of the symbol both apply. The first denial wins, in this order:

1. the trading state: ``halted``, ``reducing``; what the broker holds: ``position-mismatch``;
2. the instrument: ``tick-size``, ``lot-size``;
3. the limits of the account, then those of the symbol, each in the order ``symbol-not-allowed``, ``reduce-only``,
   ``max-quantity``, ``stale-price``, ``max-notional``, ``price-collar``, ``max-position``, ``max-open-orders``,
   ``order-rate``, ``message-rate``, ``daily-loss``, ``unrealized-loss``, ``duplicate-order``.

A check is a function named after its code. To add one, add a function and a line in ``_denied_by``.

What cannot be checked is denied: a check that needs a last price when there is none is ``no-price``. A value exactly
at its limit passes.

A position can always be made smaller: neither ``REDUCING``, ``reduce_only``, a mismatch nor a daily loss denies an
order that, together with what is open on its side, at most closes the position. ``HALTED`` denies everything but
cancels.

A replace is checked only for what it makes worse: the quantity limits if the quantity grows, the collar and the tick if
a price changes, the lot if the quantity changes. Reducing the quantity without changing a price passes everything but
``halted``, ``lot-size`` and ``message-rate``. A replace does not count as an order, unless it would reopen a filled
one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from foldbook.trading.events import OrderCreated
from foldbook.trading.instrument import Instrument
from foldbook.trading.risk import ACCOUNT_SCOPE, NO_EXPOSURE, NO_WINDOW, Risk, content_of
from foldbook.trading.risk_change import Change, order_change, replace_change
from foldbook.trading.risk_denial import NONE, Denial, denial_of, seconds, shown, text, time_text
from foldbook.trading.values import EXACT, ZERO, CollarSide, InstrumentKind, Rate, RiskLimits, Side, TradingState

# A member looked up on its class costs as much as a check.
_ACTIVE, _REDUCING, _HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED
_BUY = Side.BUY

# Not the operators: they round to the context of the thread.
_add = EXACT.add
_negate = EXACT.minus
_subtract = EXACT.subtract
_multiply = EXACT.multiply
_remainder = EXACT.remainder


class Losses(msgspec.Struct, frozen=True, gc=False):
    """Of the account, in the order's settlement currency, or of the symbol alone. A gain is negative."""

    today: Decimal = ZERO
    unrealized: Decimal | None = ZERO
    """At the last prices; None: a price is not known."""


NO_LOSSES = Losses()


def check_validity(created: OrderCreated, instrument: Instrument, now: datetime) -> Denial | None:
    """Why the order could not even be good for a moment, or None."""
    if created.expire_at is not None and created.expire_at <= now:
        return Denial("expired", time_text(now), time_text(created.expire_at))
    if instrument.expiry is not None and instrument.expiry <= now:
        return Denial("instrument-expired", time_text(instrument.expiry), time_text(now))
    return None


def check_order(
    risk: Risk,
    created: OrderCreated,
    instrument: Instrument,
    *,
    position_qty: Decimal,
    losses: Mapping[str, Losses],
    open_orders: int,
    now: datetime,
    is_exit: bool = False,
) -> Denial | None:
    """Why the order must not leave, or None.

    ``losses`` by scope; ``open_orders``: of the account; ``is_exit``: it closes what an order of its group opens.
    """
    change = order_change(risk, created, instrument, position_qty, now)
    if created.reduce_only and not is_exit and (denial := reduce_only(change)) is not None:
        return denial
    return _first_denial(change, losses, open_orders)


def check_replace(
    risk: Risk,
    new: OrderCreated,
    old: OrderCreated,
    instrument: Instrument,
    *,
    cum_qty: Decimal,
    leaves_qty: Decimal,
    position_qty: Decimal,
    losses: Mapping[str, Losses],
    open_orders: int,
    now: datetime,
) -> Denial | None:
    """Why an order on the terms ``old`` must not ask for the terms ``new``, or None.

    ``leaves_qty``: what the order contributes to the exposure now (see ``with_exposure``). The other arguments are as
    in ``check_order``.
    """
    if is_unlimited(risk, instrument) and not new.reduce_only:
        return None
    change = replace_change(
        risk,
        new,
        old,
        instrument,
        position_qty,
        now,
        leaves_qty=max(_subtract(new.quantity, cum_qty), ZERO),
        counted_qty=leaves_qty,
    )
    if new.reduce_only and new.group is None and (denial := reduce_only(change)) is not None:
        return denial
    return _first_denial(change, losses, open_orders)


def is_unlimited(risk: Risk, instrument: Instrument) -> bool:
    """Is there nothing that could deny an order that does not limit itself?"""
    return (
        not risk.limits
        and risk.state is _ACTIVE
        and instrument.tick_size is None
        and instrument.lot_size is None
        and not risk.mismatches
    )


def _first_denial(change: Change, losses: Mapping[str, Losses], open_orders: int) -> Denial | None:
    denial = _denied_in_general(change)
    if denial is not None:
        return denial
    symbol = change.new.symbol
    for scope in (ACCOUNT_SCOPE, symbol):
        limits = change.risk.limits.get(scope)
        if limits is not None:
            if scope == symbol:
                open_orders = change.risk.exposures.get(symbol, NO_EXPOSURE).count
            denial = _denied_by(limits, scope, change, open_orders, losses.get(scope, NO_LOSSES))
            if denial is not None:
                return denial
    return None


# -- the order of the checks, one per line -----------------------------------------------------------------------

# Written out, because most limits are not set: with a loop over a table of them, placing an order took 1.23 times as
# long under two limits, and 1.35 times under all of them.


def _denied_in_general(change: Change) -> Denial | None:
    state, instrument = change.risk.state, change.instrument
    return (
        (state is _HALTED and halted(change))
        or (state is _REDUCING and reducing(change))
        or (bool(change.risk.mismatches) and position_mismatch(change))
        or (instrument.tick_size is not None and tick_size(change, instrument.tick_size))
        or (instrument.lot_size is not None and lot_size(change, instrument.lot_size))
        or None
    )


def _denied_by(limits: RiskLimits, scope: str, change: Change, open_orders: int, losses: Losses) -> Denial | None:
    return (
        (limits.allowed_symbols is not None and symbol_not_allowed(change, limits.allowed_symbols))
        or (limits.reduce_only and reduce_only(change))
        or (limits.max_quantity is not None and max_quantity(change, limits.max_quantity))
        or (limits.price_age_max_s is not None and stale_price(change, limits.price_age_max_s))
        or (limits.max_notional is not None and max_notional(change, limits.max_notional))
        or (limits.price_collar is not None and price_collar(change, limits.price_collar, limits.price_collar_side))
        or (limits.max_position is not None and max_position(change, limits.max_position))
        or (limits.max_open_orders is not None and max_open_orders(change, limits.max_open_orders, open_orders))
        or (limits.max_order_rate is not None and order_rate(change, limits.max_order_rate, scope))
        or (limits.max_message_rate is not None and message_rate(change, limits.max_message_rate, scope))
        or (limits.max_daily_loss is not None and daily_loss(change, limits.max_daily_loss, losses.today))
        or (
            limits.max_unrealized_loss is not None
            and unrealized_loss(change, limits.max_unrealized_loss, losses.unrealized)
        )
        or (limits.duplicate_window_s is not None and duplicate_order(change, limits.duplicate_window_s))
        or None
    )


# -- the trading state and the instrument ------------------------------------------------------------------------


def halted(change: Change) -> Denial | None:
    return Denial("halted", _ACTIVE.value, change.risk.state.value)


def reducing(change: Change) -> Denial | None:
    if change.is_quantity_unknown:
        return Denial("no-price", text(max(change.room_to_flat, ZERO)), NONE)
    if change.is_reducing:
        return None
    return denial_of("reducing", max(change.room_to_flat, ZERO), change.leaves_qty)


def position_mismatch(change: Change) -> Denial | None:
    """As long as it is not known what is held, only what makes it smaller by our own account."""
    mismatch = change.risk.mismatches.get(change.new.symbol)
    if mismatch is None or (change.is_reducing and not change.is_quantity_unknown):
        return None
    return denial_of("position-mismatch", mismatch.expected, mismatch.observed)


def tick_size(change: Change, tick: Decimal) -> Denial | None:
    for price in (change.new_limit_price, change.new_stop_price):
        if price is not None and _remainder(price, tick):
            return denial_of("tick-size", tick, price)
    return None


def lot_size(change: Change, lot: Decimal) -> Denial | None:
    quantity, old = change.new.quantity, change.old
    if (old is not None and quantity == old.quantity) or not _remainder(quantity, lot):
        return None
    return denial_of("lot-size", lot, quantity)


# -- the limits --------------------------------------------------------------------------------------------------


def symbol_not_allowed(change: Change, allowed: tuple[str, ...]) -> Denial | None:
    symbol = change.new.symbol
    if symbol in allowed or not change.is_worse:
        return None
    return Denial("symbol-not-allowed", shown(allowed), symbol)


def reduce_only(change: Change) -> Denial | None:
    if change.is_quantity_unknown:
        return Denial("no-price", text(max(change.room_to_flat, ZERO)), NONE)
    if change.is_reducing:
        return None
    return denial_of("reduce-only", max(change.room_to_flat, ZERO), change.leaves_qty)


def max_quantity(change: Change, quantity_max: Decimal) -> Denial | None:
    if change.is_quantity_unknown:
        return Denial("no-price", text(quantity_max), NONE)
    quantity = change.quantity
    if quantity <= quantity_max or not change.is_more:
        return None
    return denial_of("max-quantity", quantity_max, quantity)


def stale_price(change: Change, age_s_max: int) -> Denial | None:
    """For an order that trades at the market's price, whatever it is."""
    if change.new.limit_price is not None or change.new.stop_price is not None or not change.is_more:
        return None
    last = change.risk.prices.get(change.new.symbol)
    if last is None:
        return Denial("stale-price", str(age_s_max), NONE)
    age = change.now - last.time
    return Denial("stale-price", str(age_s_max), seconds(age)) if age > timedelta(seconds=age_s_max) else None


def max_notional(change: Change, notional_max: Decimal) -> Denial | None:
    """The notional of the whole order, at its limit price, else its stop price, else the last price."""
    if not change.is_worse:
        return None
    new, old = change.new, change.old
    if new.cash_quantity is not None and not new.quantity:
        return denial_of("max-notional", notional_max, new.cash_quantity) if new.cash_quantity > notional_max else None
    last = change.risk.prices.get(new.symbol)
    price = _price_of(new, None if last is None else last.price)
    if price is None:
        return Denial("no-price", text(notional_max), NONE)
    notional = _notional(new.quantity, price, change.instrument)
    if notional <= notional_max:
        return None
    if old is not None and notional <= _notional(old.quantity, _price_of(old, price), change.instrument):
        return None
    return denial_of("max-notional", notional_max, notional)


def _price_of(order: OrderCreated, last_price: Decimal | None) -> Decimal | None:
    if order.limit_price is not None:
        return order.limit_price
    return order.stop_price if order.stop_price is not None else last_price


def _notional(quantity: Decimal, price: Decimal | None, instrument: Instrument) -> Decimal:
    """In the quote currency. An inverse contract is worth its multiplier there, whatever the price."""
    units = _multiply(quantity, instrument.multiplier)
    if price is None or instrument.kind is InstrumentKind.INVERSE:
        return units
    return _multiply(units, price.copy_abs())


def price_collar(change: Change, collar: Decimal, side: CollarSide) -> Denial | None:
    """Each new price must be within the band around the last price, or at least not be beyond its harmful end: too dear
    to buy, too cheap to sell. A market order has no price."""
    last = change.risk.prices.get(change.new.symbol)
    is_buy, is_both = change.new.side is _BUY, side is CollarSide.BOTH
    for price in (change.new_stop_price, change.new_limit_price):
        if price is None:
            continue
        if last is None:
            return Denial("no-price", text(collar), NONE)
        width = _multiply(last.price.copy_abs(), collar)
        highest = _add(last.price, width)
        if price > highest and (is_buy or is_both):
            return denial_of("price-collar", highest, price)
        lowest = _subtract(last.price, width)
        if price < lowest and (not is_buy or is_both):
            return denial_of("price-collar", lowest, price)
    return None


def max_position(change: Change, position_max: Decimal) -> Denial | None:
    """The position if this and everything open on its side were filled, and nothing on the other side."""
    if change.is_quantity_unknown:
        return Denial("no-price", text(position_max), NONE)
    if change.leaves_qty <= change.counted_qty:
        return None
    held = change.position_qty if change.new.side is _BUY else _negate(change.position_qty)
    worst = _add(_add(held, change.others_qty), change.leaves_qty)
    return denial_of("max-position", position_max, worst) if worst > position_max else None


def max_open_orders(change: Change, count_max: int, open_orders: int) -> Denial | None:
    """A replace that would reopen a filled order counts as an order."""
    is_counted = change.old is not None and bool(change.counted_qty)
    if is_counted or open_orders < count_max:
        return None
    return Denial("max-open-orders", str(count_max), str(open_orders + 1))


def order_rate(change: Change, rate: Rate, scope: str) -> Denial | None:
    if change.old is not None:
        return None
    return _check_rate("order-rate", rate, change.risk.windows.get(scope, NO_WINDOW).orders, change.now)


def message_rate(change: Change, rate: Rate, scope: str) -> Denial | None:
    return _check_rate("message-rate", rate, change.risk.windows.get(scope, NO_WINDOW).messages, change.now)


def daily_loss(change: Change, loss_max: Decimal, lost: Decimal) -> Denial | None:
    if lost <= loss_max or change.is_reducing:
        return None
    return denial_of("daily-loss", loss_max, lost)


def unrealized_loss(change: Change, loss_max: Decimal, lost: Decimal | None) -> Denial | None:
    if change.is_reducing:
        return None
    if lost is None:
        return Denial("no-price", text(loss_max), NONE)
    return denial_of("unrealized-loss", loss_max, lost) if lost > loss_max else None


def duplicate_order(change: Change, window_s: int) -> Denial | None:
    if change.old is not None:
        return None
    known = change.risk.recent.get(content_of(change.new))
    if known is None:
        return None
    age = change.now - known.time
    return Denial("duplicate-order", str(window_s), seconds(age)) if age < timedelta(seconds=window_s) else None


def _check_rate(code: str, rate: Rate, times: tuple[datetime, ...], now: datetime) -> Denial | None:
    """Denied if one more would exceed ``count`` in the interval that ends with it and excludes its beginning."""
    count = rate.count
    if len(times) < count:
        return None
    since = now - timedelta(seconds=rate.interval_s)
    if times[-count] <= since:
        return None
    return Denial(code, str(count), str(len(times) - bisect_right(times, since) + 1))
