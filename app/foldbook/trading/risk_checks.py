"""The checks that an order passes before it leaves, and what they deny.

An order or a replace is asked about (``check_order``, ``check_replace``) on what ``risk.Risk`` remembers. A cancel is
never asked about: it always passes, it only counts as a message.

The limits of the account and those of the symbol both hold. The first denial wins, in this order:

1. the trading state: ``halted``, ``reducing``;
2. the instrument: ``tick-size``, ``lot-size``;
3. the limits of the account, then those of the symbol, each in the order ``symbol-not-allowed``, ``reduce-only``,
   ``max-quantity``, ``stale-price``, ``max-notional``, ``price-collar``, ``max-position``, ``max-open-orders``,
   ``order-rate``, ``message-rate``, ``daily-loss``, ``duplicate-order``.

What cannot be checked is denied: a notional or a collar that needs a last price where there is none is ``no-price``.
Exactly at a limit passes.

A position can always be made smaller: neither ``REDUCING``, ``reduce_only`` nor a daily loss denies an order that,
together with what is open on its side, at most closes the position. ``HALTED`` denies everything but cancels.

A replace is checked for what it makes worse, and for nothing else: the quantity limits when the quantity grows, the
collar and the tick when a price moves, the lot when the quantity changes. Taking quantity back without moving a price
passes everything but ``halted``, ``lot-size`` and ``message-rate``. It is no order: it does not count as one.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import msgspec

from foldbook.trading.checks import is_amount
from foldbook.trading.commands import PlaceOrder
from foldbook.trading.instrument import Instrument
from foldbook.trading.risk import ACCOUNT_SCOPE, NO_EXPOSURE, NO_WINDOW, Risk, content_of
from foldbook.trading.values import (
    EXACT,
    FRACTION_DIGITS_MAX,
    INTEGER_DIGITS_MAX,
    ONE,
    ZERO,
    Rate,
    RiskLimits,
    Side,
    TradingState,
    canonical,
)

RATE_COUNT_MAX = 1_000
INTERVAL_S_MAX = 86_400
OPEN_ORDERS_MAX = 1_000_000
ALLOWED_SYMBOLS_MAX = 1_000

_ALLOWED_SYMBOLS_SHOWN = 10
_NONE = "none"

_ACTIVE, _BUY = TradingState.ACTIVE, Side.BUY  # a member looked up on its class costs as much as a check

# Not the operators: they round to the context of the thread.
_add = EXACT.add
_negate = EXACT.minus
_subtract = EXACT.subtract
_multiply = EXACT.multiply
_remainder = EXACT.remainder


class Denial(msgspec.Struct, frozen=True):
    """Which check said no, what it allows, and what it saw: canonical decimals, or words."""

    code: str
    limit: str
    observed: str


class Terms(Protocol):
    """What an order asks for. A market order has no price, a stop order only its stop price."""

    @property
    def symbol(self) -> str: ...
    @property
    def side(self) -> Side: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def limit_price(self) -> Decimal | None: ...
    @property
    def stop_price(self) -> Decimal | None: ...


def check_order(
    risk: Risk,
    command: PlaceOrder,
    instrument: Instrument,
    *,
    position_qty: Decimal,
    realized_today: Decimal,
    symbol_realized_today: Decimal,
    open_orders: int,
    now: datetime,
) -> Denial | None:
    """Why the order must not leave, or None.

    ``realized_today``: of the account, in the order's quote currency, fees in it included (a loss is negative);
    ``symbol_realized_today``: of the symbol alone. ``open_orders``: of the account.
    """
    if not risk.limits and risk.state is _ACTIVE and instrument.tick_size is None and instrument.lot_size is None:
        return None
    check = _Check(risk, command, None, instrument, position_qty, command.quantity, ZERO)
    denial = check.state() or check.steps()
    if denial is not None:
        return denial
    for scope, open_in_scope, realized in (
        (ACCOUNT_SCOPE, open_orders, realized_today),
        (command.symbol, check.exposure.count, symbol_realized_today),
    ):
        limits = risk.limits.get(scope)
        if limits is None:
            continue
        denial = check.terms(limits, now)
        if denial is None and limits.max_open_orders is not None and open_in_scope >= limits.max_open_orders:
            denial = Denial("max-open-orders", str(limits.max_open_orders), str(open_in_scope + 1))
        if denial is None and limits.max_order_rate is not None:
            orders = risk.windows.get(scope, NO_WINDOW).orders
            denial = _check_rate("order-rate", limits.max_order_rate, orders, now)
        denial = denial or check.message(limits, scope, now) or check.loss(limits, realized)
        if denial is None and limits.duplicate_window_s is not None:
            denial = _check_duplicate(risk, command, limits.duplicate_window_s, now)
        if denial is not None:
            return denial
    return None


def check_replace(
    risk: Risk,
    new: Terms,
    old: Terms,
    instrument: Instrument,
    *,
    cum_qty: Decimal,
    leaves_qty: Decimal,
    position_qty: Decimal,
    realized_today: Decimal,
    symbol_realized_today: Decimal,
    now: datetime,
) -> Denial | None:
    """Why an order on the terms ``old`` must not ask for the terms ``new``, or None.

    ``leaves_qty``: what the order contributes to the exposure now (see ``with_exposure``). The rest as in
    ``check_order``.
    """
    if not risk.limits and risk.state is _ACTIVE and instrument.tick_size is None and instrument.lot_size is None:
        return None
    new_leaves_qty = max(_subtract(new.quantity, cum_qty), ZERO)
    check = _Check(risk, new, old, instrument, position_qty, new_leaves_qty, leaves_qty)
    denial = check.state() or check.steps()
    if denial is not None:
        return denial
    for scope, realized in ((ACCOUNT_SCOPE, realized_today), (new.symbol, symbol_realized_today)):
        limits = risk.limits.get(scope)
        if limits is None:
            continue
        denial = check.terms(limits, now) or check.message(limits, scope, now) or check.loss(limits, realized)
        if denial is not None:
            return denial
    return None


class _Check:
    """One order or replace under scrutiny.

    ``old`` is absent for an order. ``leaves_qty`` is what it would leave open, ``counted_qty`` what of that the
    exposure counts already.
    """

    __slots__ = (
        "counted_qty",
        "exposure",
        "instrument",
        "is_limit_new",
        "is_more",
        "is_stop_new",
        "last",
        "leaves_qty",
        "new",
        "old",
        "others_qty",
        "position_qty",
        "risk",
    )

    def __init__(
        self,
        risk: Risk,
        new: Terms,
        old: Terms | None,
        instrument: Instrument,
        position_qty: Decimal,
        leaves_qty: Decimal,
        counted_qty: Decimal,
    ) -> None:
        self.risk = risk
        self.new = new
        self.old = old
        self.instrument = instrument
        self.position_qty = position_qty
        self.leaves_qty = leaves_qty
        self.counted_qty = counted_qty
        self.exposure = risk.exposures.get(new.symbol, NO_EXPOSURE)
        self.last = risk.prices.get(new.symbol)
        open_qty = self.exposure.buy_qty if new.side is _BUY else self.exposure.sell_qty
        self.others_qty = _subtract(open_qty, counted_qty)
        self.is_more = old is None or leaves_qty > counted_qty or new.quantity > old.quantity
        self.is_limit_new = new.limit_price is not None and (old is None or new.limit_price != old.limit_price)
        self.is_stop_new = new.stop_price is not None and (old is None or new.stop_price != old.stop_price)

    @property
    def is_worse(self) -> bool:
        return self.is_more or self.is_limit_new or self.is_stop_new

    def state(self) -> Denial | None:
        state = self.risk.state
        if state is _ACTIVE:
            return None
        if state is TradingState.HALTED:
            return Denial("halted", _ACTIVE.value, state.value)
        return self._reduces("reducing")

    def steps(self) -> Denial | None:
        new, tick_size, lot_size = self.new, self.instrument.tick_size, self.instrument.lot_size
        if tick_size is not None:
            for price, is_new in ((new.limit_price, self.is_limit_new), (new.stop_price, self.is_stop_new)):
                if is_new and price is not None and _remainder(price, tick_size):
                    return _denial("tick-size", tick_size, price)
        is_quantity_new = self.old is None or new.quantity != self.old.quantity
        if lot_size is not None and is_quantity_new and _remainder(new.quantity, lot_size):
            return _denial("lot-size", lot_size, new.quantity)
        return None

    def terms(self, limits: RiskLimits, now: datetime) -> Denial | None:
        """The limits on what is asked for."""
        new = self.new
        if limits.allowed_symbols is not None and self.is_worse and new.symbol not in limits.allowed_symbols:
            return Denial("symbol-not-allowed", _shown(limits.allowed_symbols), new.symbol)
        if limits.reduce_only and (denial := self._reduces("reduce-only")):
            return denial
        if self.is_more and limits.max_quantity is not None and new.quantity > limits.max_quantity:
            return _denial("max-quantity", limits.max_quantity, new.quantity)
        if limits.price_age_max_s is not None and (denial := self._age(limits.price_age_max_s, now)):
            return denial
        if limits.max_notional is not None and (denial := self._notional(limits.max_notional)):
            return denial
        if limits.price_collar is not None and (denial := self._collar(limits.price_collar)):
            return denial
        return self._position(limits.max_position) if limits.max_position is not None else None

    def message(self, limits: RiskLimits, scope: str, now: datetime) -> Denial | None:
        if limits.max_message_rate is None:
            return None
        messages = self.risk.windows.get(scope, NO_WINDOW).messages
        return _check_rate("message-rate", limits.max_message_rate, messages, now)

    def loss(self, limits: RiskLimits, realized: Decimal) -> Denial | None:
        if limits.max_daily_loss is None:
            return None
        lost = _negate(realized)
        if lost <= limits.max_daily_loss or not self._reduces(""):
            return None
        return _denial("daily-loss", limits.max_daily_loss, lost)

    def _reduces(self, code: str) -> Denial | None:
        """Denied unless, with all that is open on its side, it at most closes the position."""
        if not self.is_worse:
            return None
        to_flat = _negate(self.position_qty) if self.new.side is _BUY else self.position_qty
        room = _subtract(to_flat, self.others_qty)
        if self.leaves_qty <= room:
            return None
        return _denial(code, max(room, ZERO), self.leaves_qty)

    def _age(self, age_s_max: int, now: datetime) -> Denial | None:
        if self.new.limit_price is not None or self.new.stop_price is not None or not self.is_more:
            return None
        if self.last is None:
            return Denial("stale-price", str(age_s_max), _NONE)
        age = now - self.last.time
        return Denial("stale-price", str(age_s_max), _seconds(age)) if age > timedelta(seconds=age_s_max) else None

    def _notional(self, notional_max: Decimal) -> Denial | None:
        """Of the whole order, at its limit price, else its stop price, else the last price."""
        if not self.is_worse:
            return None
        new, old = self.new, self.old
        price = new.limit_price or new.stop_price or (self.last.price if self.last is not None else None)
        if price is None:
            return Denial("no-price", _text(notional_max), _NONE)
        notional = _multiply(_multiply(new.quantity, price), self.instrument.multiplier)
        if notional <= notional_max:
            return None
        if old is not None:
            old_price = old.limit_price or old.stop_price or price
            if _multiply(new.quantity, price) <= _multiply(old.quantity, old_price):
                return None
        return _denial("max-notional", notional_max, notional)

    def _collar(self, collar: Decimal) -> Denial | None:
        """Each price of its own within the band around the last price; a market order has none."""
        new = self.new
        for price, is_new in ((new.stop_price, self.is_stop_new), (new.limit_price, self.is_limit_new)):
            if price is None or not is_new:
                continue
            if self.last is None:
                return Denial("no-price", _text(collar), _NONE)
            highest = _multiply(self.last.price, _add(ONE, collar))
            if price > highest:
                return _denial("price-collar", highest, price)
            lowest = _multiply(self.last.price, _subtract(ONE, collar))
            if price < lowest:
                return _denial("price-collar", lowest, price)
        return None

    def _position(self, position_max: Decimal) -> Denial | None:
        """The position if everything open on this side, and this, were filled and nothing on the other."""
        if self.leaves_qty <= self.counted_qty:
            return None
        held = self.position_qty if self.new.side is _BUY else _negate(self.position_qty)
        worst = _add(_add(held, self.others_qty), self.leaves_qty)
        return _denial("max-position", position_max, worst) if worst > position_max else None


def _check_rate(code: str, rate: Rate, times: tuple[datetime, ...], now: datetime) -> Denial | None:
    """Denied if one more would be more than ``count`` in the interval that ends with it, its beginning excluded."""
    count = rate.count
    if len(times) < count:
        return None
    since = now - timedelta(seconds=rate.interval_s)
    if times[-count] <= since:
        return None
    return Denial(code, str(count), str(len(times) - bisect_right(times, since) + 1))


def _check_duplicate(risk: Risk, command: PlaceOrder, window_s: int, now: datetime) -> Denial | None:
    known = risk.recent.get(content_of(command))
    if known is None:
        return None
    age = now - known.time
    return Denial("duplicate-order", str(window_s), _seconds(age)) if age < timedelta(seconds=window_s) else None


def _denial(code: str, limit: Decimal, observed: Decimal) -> Denial:
    return Denial(code, _text(limit), _text(observed))


def _text(value: Decimal) -> str:
    return f"{canonical(value):f}"


def _seconds(duration: timedelta) -> str:
    return _text(Decimal(duration // timedelta(microseconds=1)).scaleb(-6, EXACT))


def _shown(symbols: tuple[str, ...]) -> str:
    rest = ("...",) if len(symbols) > _ALLOWED_SYMBOLS_SHOWN else ()
    return ",".join((*symbols[:_ALLOWED_SYMBOLS_SHOWN], *rest))


# -- the limits themselves ---------------------------------------------------------------------------------------


def check_limits(limits: RiskLimits, symbol: str | None = None) -> tuple[str, str] | None:
    """Which field of the limits of the account, or of ``symbol``, is wrong, and what it must be; None: all is well."""
    for name in ("max_quantity", "max_notional", "price_collar", "max_position", "max_daily_loss"):
        amount: Decimal | None = getattr(limits, name)
        if amount is not None and not (is_amount(amount) and amount > ZERO):
            what = "is greater than 0, with at most {} digits before the point and {} after it"
            return name, what.format(INTEGER_DIGITS_MAX, FRACTION_DIGITS_MAX)
    for name in ("max_order_rate", "max_message_rate"):
        rate: Rate | None = getattr(limits, name)
        if rate is not None and not (1 <= rate.count <= RATE_COUNT_MAX and 1 <= rate.interval_s <= INTERVAL_S_MAX):
            return name, f"is 1 to {RATE_COUNT_MAX} in 1 to {INTERVAL_S_MAX} seconds"
    for name, largest in (
        ("max_open_orders", OPEN_ORDERS_MAX),
        ("duplicate_window_s", INTERVAL_S_MAX),
        ("price_age_max_s", INTERVAL_S_MAX),
    ):
        number: int | None = getattr(limits, name)
        if number is not None and not 1 <= number <= largest:
            return name, f"is 1 to {largest}"
    if limits.allowed_symbols is not None:
        if symbol is not None:
            return "allowed_symbols", "belongs to the limits of an account"
        if len(limits.allowed_symbols) > ALLOWED_SYMBOLS_MAX:
            return "allowed_symbols", f"are at most {ALLOWED_SYMBOLS_MAX}"
    return None
