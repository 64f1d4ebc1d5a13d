"""The position of one symbol: the fold of its executions and adjustments, netting, at average cost.

A fill changes the quantity by what it traded, less a fee in the base currency of a SPOT instrument. What it adds costs
its price; what it removes is released at the average cost and realises the difference. Nothing is lost to rounding:
``realized_pnl - cost`` is exactly the money that the fills have brought.

The last fills can still be removed or replaced, as if they had never happened or had been different: the position keeps
them in a window, with its totals after each. A bust or correction of an older fill (``is_reversal``) is booked now.
``trading.net_position`` is the same fold as an SQL aggregate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain
from typing import Any, TypeAlias

import immutables
import msgspec

from foldbook.eventstore.events import Event
from foldbook.trading.events import (
    AccountAdjusted,
    BookedExecution,
    ExecutionBooked,
    ExecutionBusted,
    ExecutionCorrected,
    ExecutionEvent,
    FillBusted,
    FillCorrected,
    OrderFilled,
)
from foldbook.trading.values import (
    ONE,
    QUOTIENTS,
    ZERO,
    AdjustmentKind,
    InstrumentKind,
    Side,
    average,
    unit_cost,
)

POSITION_WINDOW = 128
"""How many fills of a symbol can still be removed or replaced by a bust or a correction."""

PAGE = 16
"""Fills that are kept, and forgotten, together."""

SHARE_DIGITS = 36
"""Digits after the point of the cost that a reduction releases, and of the value of the part of a flip that opens. The
rest stays in the position, or is realised."""

_add, _subtract, _multiply = QUOTIENTS.add, QUOTIENTS.subtract, QUOTIENTS.multiply
_divide_int, _shift = QUOTIENTS.divide_int, QUOTIENTS.scaleb

_UP, _DOWN = Decimal(SHARE_DIGITS), Decimal(-SHARE_DIGITS)

Totals: TypeAlias = tuple[Decimal, Decimal, Decimal, int]
"""Quantity, cost, realised PnL, and the number of the cycle."""

Fees: TypeAlias = immutables.Map[str, Decimal]
"""Fees by currency."""

Charges: TypeAlias = tuple[tuple[tuple[str, Decimal], ...], Decimal]
"""Fees, each with its currency; and what of them was taken from what was traded, in the quote currency."""

Booking: TypeAlias = tuple[str, str | None, Decimal, Decimal, int]
"""A fill without its totals: the first five fields of ``Fill``."""

NOTHING: Totals = (ZERO, ZERO, ZERO, 0)
NO_FEES: Fees = immutables.Map()
_NO_CHARGES: Charges = ((), ZERO)


class Fill(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The effect of a fill on the position. ``exec_id``: of its OrderFilled; None: nothing can refer to it any more."""

    order_id: str
    exec_id: str | None
    quantity: Decimal
    """Signed, less a fee in the base currency."""
    value: Decimal
    """What that quantity costs; it has the sign of the quantity, but for inverse contracts and negative prices."""
    day: int
    """The day it counts on, UTC, as ``date.toordinal`` counts: its own, or a later one on which it was first told."""
    totals: Totals = NOTHING
    """The totals after it."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """The position after all executions so far."""

    quantity: Decimal = ZERO
    """Negative while short."""
    cost: Decimal = ZERO
    """What is held has cost so much: the sum of quantity * unit cost. For an inverse contract see ``unit_cost``."""
    realized_pnl: Decimal = ZERO
    """Since the account was opened, gross of fees."""
    cycle: int = 0
    """How many times the position was opened. A cycle goes from flat to flat; a flip ends one and begins the next."""
    multiplier: Decimal = ONE
    kind: InstrumentKind = InstrumentKind.SPOT
    fees: Fees = NO_FEES
    """Since the account was opened, by currency."""
    day: int = 0
    """The latest day to which an execution belongs."""
    pnl_before_day: Decimal = ZERO
    """What was realised before that day, as the fills of those days stand now; likewise the fees."""
    fees_before_day: Fees = NO_FEES
    in_kind: Decimal = ZERO
    """The fees that were taken from what was traded, at the fills' prices, in the quote currency."""
    in_kind_before_day: Decimal = ZERO
    base_currency: str | None = None
    split_at: datetime | None = None
    """When the symbol was split last: fills from before are in other units."""
    opening_at: datetime | None = None
    """When an OPENING adjustment was made last: what had traded by then is in it."""
    base: Totals = NOTHING
    """The totals before the kept fills."""
    pages: tuple[tuple[Fill, ...], ...] = ()
    """The kept fills, oldest first, ``PAGE`` on each page, so that a new fill copies only ``page``."""
    page: tuple[Fill, ...] = ()
    """The kept fills since the last full page."""

    @property
    def window(self) -> tuple[Fill, ...]:
        """The last fills, at most ``POSITION_WINDOW``, oldest first."""
        return self.kept()[-POSITION_WINDOW:]

    def kept(self) -> tuple[Fill, ...]:
        """All kept fills: those of the window, and at most a page before it."""
        return (*chain.from_iterable(self.pages), *self.page)

    @property
    def avg_px(self) -> Decimal:
        """Cost per unit, 18 digits after the point, half even; 0 while flat, as FIX AvgPx (6). Of an inverse contract:
        the price at which the quantity costs what it has cost."""
        if self.kind is InstrumentKind.INVERSE:
            return average(_multiply(self.quantity, self.multiplier), self.cost.copy_negate())
        return average(self.cost, self.quantity, self.multiplier)

    def unrealized_pnl(self, price: Decimal) -> Decimal:
        """What closing it at ``price`` would realise."""
        return _subtract(_multiply(self.quantity, unit_cost(price, self.multiplier, self.kind)), self.cost)

    def holds(self, order_id: str, exec_id: str) -> bool:
        """Whether the fill is in the window. Any other fill can only be reversed."""
        return self._find(order_id, exec_id) is not None

    def place(self, order_id: str, exec_id: str) -> int:
        """The index of a fill of the window among the kept fills. Raises ``ValueError``."""
        place = self._find(order_id, exec_id)
        if place is None:
            raise ValueError(f"execution {exec_id!r} of order {order_id!r} is not in the position's window")
        return place

    def _find(self, order_id: str, exec_id: str) -> int | None:
        kept = self.kept()
        for place in range(len(kept) - 1, max(len(kept) - POSITION_WINDOW, 0) - 1, -1):
            if kept[place].exec_id == exec_id and kept[place].order_id == order_id:
                return place
        return None

    def realized_on(self, day: date) -> Decimal:
        """What was realised on that day, gross of fees; the day must be the latest or a later one."""
        return _subtract(self.realized_pnl, self.pnl_before_day) if day.toordinal() == self.day else ZERO

    def fees_on(self, day: date) -> dict[str, Decimal]:
        """What was charged on that day, likewise, by currency; without what was taken from what was traded."""
        if day.toordinal() != self.day:
            return {}
        fees = {name: _subtract(fee, self.fees_before_day.get(name, ZERO)) for name, fee in self.fees.items()}
        if self.kind is _SPOT and self.base_currency is not None:
            fees.pop(self.base_currency, None)
        return {name: fee for name, fee in fees.items() if fee}

    def in_kind_on(self, day: date) -> Decimal:
        """What was taken from what was traded on that day, at the fills' prices, in the quote currency."""
        return _subtract(self.in_kind, self.in_kind_before_day) if day.toordinal() == self.day else ZERO


def evolve_position(position: Position | None, event: Event) -> Position:
    """The position after an execution or an adjustment; ``position`` is None before the first."""
    before = _FLAT if position is None else position
    event_type = type(event)
    if event_type is OrderFilled:
        return _filled(before, event)
    fold = _FOLDS.get(event_type)
    if fold is None:
        raise TypeError(f"{event_type.__name__} changes no position")
    return fold(before, event)


def net(totals: Totals, quantity: Decimal, value: Decimal) -> Totals:
    """The totals after a fill of a signed quantity that costs ``value``."""
    held, cost, realized_pnl, cycle = totals
    if not quantity:
        # All of it went into fees, or it is a correction of the money: what it cost is lost.
        return (held, cost, _subtract(realized_pnl, value), cycle) if value else totals
    if not held:
        return quantity, value, realized_pnl, cycle + 1
    held_after = _add(held, quantity)
    if held.is_signed() is quantity.is_signed():
        return held_after, _add(cost, value), realized_pnl, cycle
    if not held_after:
        return ZERO, ZERO, _subtract(_subtract(realized_pnl, value), cost), cycle
    if held_after.is_signed() is held.is_signed():
        # The signs of the quantities differ: this is less than nothing of the cost.
        released = share(cost, quantity, held)
        return held_after, _add(cost, released), _add(_subtract(realized_pnl, value), released), cycle
    cost_after = share(value, held_after, quantity)
    # The closing part brought the rest of the value.
    return held_after, cost_after, _subtract(_add(_subtract(realized_pnl, value), cost_after), cost), cycle + 1


def share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """``amount * part / whole``, cut to ``SHARE_DIGITS`` after the point."""
    return _shift(_divide_int(_multiply(_shift(amount, _UP), part), whole), _DOWN)


_FLAT = Position()
_BUY, _SPOT = Side.BUY, InstrumentKind.SPOT  # a member looked up on its class costs as much as an addition


# -- executions --------------------------------------------------------------------------------------------------

_Execution: TypeAlias = ExecutionEvent | BookedExecution


def _filled(before: Position, event: Any) -> Position:
    quantity, value = _booking(event, event.last_qty, event.last_px, event.gross_amount, event.fee, event.fee_currency)
    booking = (event.order_id, event.exec_id, quantity, value, _day(event.counted_at or event.transact_time))
    multiplier = ONE if event.multiplier is None else event.multiplier
    fee, currency = event.fee, event.fee_currency
    if fee is None or currency is None:
        charges = _NO_CHARGES
    elif currency != event.base_currency:
        charges = ((currency, fee),), ZERO
    else:
        charges = _charged(_NO_CHARGES, event, event.last_px, fee, currency)
    return _booked(before, multiplier, event.instrument_kind, event.base_currency, charges, booking)


def _busted(before: Position, event: Any) -> Position:
    quantity, value = _booking(event, event.last_qty, event.last_px, event.gross_amount, event.fee, event.fee_currency)
    charges = _refunded(_NO_CHARGES, event, event.last_px, event.fee, event.fee_currency)
    if event.is_reversal:
        day = _day(event.counted_at or event.transact_time)
        opposite = (event.order_id, None, quantity.copy_negate(), value.copy_negate(), day)
        return _booked(before, before.multiplier, before.kind, before.base_currency, charges, opposite)
    kept, place = before.kept(), before.place(event.order_id, event.exec_ref_id)
    return _refolded(before, kept[place].day, charges, (*kept[:place], *kept[place + 1 :]))


def _corrected(before: Position, event: Any) -> Position:
    quantity, value = _booking(event, event.last_qty, event.last_px, event.gross_amount, event.fee, event.fee_currency)
    previous_fee = event.previous_fee, event.previous_fee_currency
    charges = _refunded(_NO_CHARGES, event, event.previous_px, *previous_fee)
    charges = _charged(charges, event, event.last_px, event.fee, event.fee_currency)
    if event.is_reversal:
        day = _day(event.counted_at or event.transact_time)
        previous_quantity, previous_value = _booking(
            event, event.previous_qty, event.previous_px, event.previous_gross_amount, *previous_fee
        )
        opposite = (event.order_id, None, previous_quantity.copy_negate(), previous_value.copy_negate(), day)
        fill = (event.order_id, event.exec_ref_id, quantity, value, day)
        return _booked(before, before.multiplier, before.kind, before.base_currency, charges, opposite, fill)
    kept, place = before.kept(), before.place(event.order_id, event.exec_ref_id)
    day = kept[place].day
    corrected = Fill(event.order_id, event.exec_ref_id, quantity, value, day)
    return _refolded(before, day, charges, (*kept[:place], corrected, *kept[place + 1 :]))


def _adjusted(before: Position, event: Any) -> Position:
    time = event.counted_at or event.transact_time
    if event.kind is AdjustmentKind.SPLIT:
        totals = (_add(before.quantity, event.quantity), before.cost, before.realized_pnl, before.cycle)
        return msgspec.structs.replace(before, quantity=totals[0], split_at=time, base=totals, pages=(), page=())
    multiplier = ONE if event.multiplier is None else event.multiplier
    booking = ("", None, event.quantity, event.value, _day(time))
    adjusted = _booked(before, multiplier, event.instrument_kind, event.base_currency, _NO_CHARGES, booking)
    return msgspec.structs.replace(adjusted, opening_at=time) if event.kind is AdjustmentKind.OPENING else adjusted


_FOLDS: dict[type[Event], Callable[[Position, Any], Position]] = {
    ExecutionBooked: _filled,
    FillBusted: _busted,
    ExecutionBusted: _busted,
    FillCorrected: _corrected,
    ExecutionCorrected: _corrected,
    AccountAdjusted: _adjusted,
}


def _booked(
    before: Position,
    multiplier: Decimal,
    kind: InstrumentKind,
    base_currency: str | None,
    charges: Charges,
    *fills: Booking,
) -> Position:
    """The position with more fills after the others, and fees."""
    totals: Totals = (before.quantity, before.cost, before.realized_pnl, before.cycle)
    base, pages, page = before.base, before.pages, before.page
    day, pnl_before_day, fees_before_day = before.day, before.pnl_before_day, before.fees_before_day
    in_kind_before_day = before.in_kind_before_day
    for order_id, exec_id, quantity, value, own_day in fills:
        # What is first heard of today counts today, so that a clock that is behind hides no loss.
        if own_day > day:
            day, pnl_before_day, fees_before_day = own_day, totals[2], before.fees
            in_kind_before_day = before.in_kind
        totals = net(totals, quantity, value)
        page = (*page, Fill(order_id, exec_id, quantity, value, day, totals))
        if len(page) == PAGE:
            base, pages, page = _turned(base, pages, page)
    quantity, cost, realized_pnl, cycle = totals
    by_currency, in_kind = charges
    fees = before.fees
    for currency, fee in by_currency:
        fees = fees.set(currency, _add(fees.get(currency, ZERO), fee))
    return Position(
        quantity,
        cost,
        realized_pnl,
        cycle,
        multiplier,
        kind,
        fees,
        day,
        pnl_before_day,
        fees_before_day,
        _add(before.in_kind, in_kind) if in_kind else before.in_kind,
        in_kind_before_day,
        base_currency,
        before.split_at,
        before.opening_at,
        base,
        pages,
        page,
    )


def _turned(
    base: Totals, pages: tuple[tuple[Fill, ...], ...], page: tuple[Fill, ...]
) -> tuple[Totals, tuple[tuple[Fill, ...], ...], tuple[Fill, ...]]:
    """Add a full page to the others, and fold the oldest into the totals if the window does not reach back to it."""
    pages = (*pages, page)
    while (len(pages) - 1) * PAGE >= POSITION_WINDOW:
        base, pages = pages[0][-1].totals, pages[1:]
    return base, pages, ()


def _refolded(before: Position, day: int, charges: Charges, kept: tuple[Fill, ...]) -> Position:
    """The position with other fills in the window. What they realise belongs to the days of the fills, the charges to
    ``day``."""
    totals = before.base
    folded: list[Fill] = []
    for fill in kept:
        totals = net(totals, fill.quantity, fill.value)
        folded.append(Fill(fill.order_id, fill.exec_id, fill.quantity, fill.value, fill.day, totals))
    full = len(folded) - len(folded) % PAGE
    quantity, cost, realized_pnl, cycle = totals
    on_day = _subtract(before.realized_pnl, before.pnl_before_day)
    on_day = _subtract(on_day, _realized_on(before.day, before.base, before.kept()))
    on_day = _add(on_day, _realized_on(before.day, before.base, folded))
    by_currency, in_kind = charges
    fees, fees_before_day, in_kind_before_day = before.fees, before.fees_before_day, before.in_kind_before_day
    for currency, fee in by_currency:
        fees = fees.set(currency, _add(fees.get(currency, ZERO), fee))
        if day != before.day:
            fees_before_day = fees_before_day.set(currency, _add(fees_before_day.get(currency, ZERO), fee))
    if day != before.day:
        in_kind_before_day = _add(in_kind_before_day, in_kind)
    return msgspec.structs.replace(
        before,
        quantity=quantity,
        cost=cost,
        realized_pnl=realized_pnl,
        cycle=cycle,
        fees=fees,
        pnl_before_day=_subtract(realized_pnl, on_day),
        fees_before_day=fees_before_day,
        in_kind=_add(before.in_kind, in_kind),
        in_kind_before_day=in_kind_before_day,
        pages=tuple(tuple(folded[place : place + PAGE]) for place in range(0, full, PAGE)),
        page=tuple(folded[full:]),
    )


def _realized_on(day: int, base: Totals, fills: Iterable[Fill]) -> Decimal:
    realized, known = ZERO, base[2]
    for fill in fills:
        if fill.day == day:
            realized = _add(realized, _subtract(fill.totals[2], known))
        known = fill.totals[2]
    return realized


# -- what an execution says --------------------------------------------------------------------------------------


def _booking(
    event: _Execution,
    last_qty: Decimal,
    last_px: Decimal,
    gross_amount: Decimal | None,
    fee: Decimal | None,
    fee_currency: str | None,
) -> tuple[Decimal, Decimal]:
    """The signed quantity that a fill adds, and what that costs."""
    is_buy = event.side is _BUY
    unit = unit_cost(last_px, event.multiplier, event.instrument_kind)
    # Not `-last_qty`: operators round to the context of the thread.
    quantity = last_qty if is_buy else last_qty.copy_negate()
    base_fee = None
    if fee is not None and fee_currency == event.base_currency and _is_in_kind(event, fee_currency):
        base_fee = fee
    if gross_amount is None:
        if base_fee is not None:
            quantity = _subtract(quantity, base_fee)
        return quantity, _multiply(quantity, unit)
    money = (
        gross_amount if is_buy is (event.instrument_kind is not InstrumentKind.INVERSE) else gross_amount.copy_negate()
    )
    if base_fee is None:
        return quantity, money
    return _subtract(quantity, base_fee), _subtract(money, _multiply(base_fee, unit))


def _is_in_kind(event: _Execution, fee_currency: str | None) -> bool:
    """Is the fee taken from what was traded?"""
    return fee_currency is not None and fee_currency == event.base_currency and event.instrument_kind is _SPOT


def _charged(charges: Charges, event: _Execution, price: Decimal, fee: Decimal | None, currency: str | None) -> Charges:
    if fee is None or currency is None:
        return charges
    by_currency, in_kind = charges
    if _is_in_kind(event, currency):
        in_kind = _add(in_kind, _multiply(fee, unit_cost(price, event.multiplier, event.instrument_kind)))
    return (*by_currency, (currency, fee)), in_kind


def _refunded(
    charges: Charges, event: _Execution, price: Decimal, fee: Decimal | None, currency: str | None
) -> Charges:
    return charges if fee is None else _charged(charges, event, price, fee.copy_negate(), currency)


def _day(time: datetime | None) -> int:
    if time is None:
        return 0
    return (time if time.tzinfo is UTC else time.astimezone(UTC)).toordinal()
