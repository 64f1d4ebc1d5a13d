"""The position of one symbol: the fold of its executions, netting, at average cost.

A fill changes the quantity by what it traded, less a fee in the base currency. What it adds costs its price; what it
removes is released at the average cost and realises the difference. ``cost``, like ``quantity``, is negative while
short. Nothing is lost to rounding: ``realized_pnl - cost`` is exactly the cash that the fills have brought.

The last fills can still be removed or replaced, as if they had never happened or had been different: the position keeps
them in a window, with its totals before them. A bust or correction of an older fill (``is_reversal``) is booked now.
``trading.net_position`` is the same fold as an SQL aggregate.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain
from typing import TypeAlias, cast

import immutables
import msgspec

from foldbook.trading.events import ExecutionEvent, FillBusted, FillCorrected, OrderFilled
from foldbook.trading.values import ONE, QUOTIENTS, ZERO, Side, average

POSITION_WINDOW = 128
"""How many fills of a symbol can still be removed or replaced by a bust or a correction."""

PAGE = 16
"""Fills that are kept, and forgotten, together."""

RELEASED_DIGITS = 36
"""Digits after the point of the cost that a reduction releases; the remainder stays in the position."""

_add, _subtract, _multiply = QUOTIENTS.add, QUOTIENTS.subtract, QUOTIENTS.multiply
_divide_int, _shift = QUOTIENTS.divide_int, QUOTIENTS.scaleb

_UP, _DOWN = Decimal(RELEASED_DIGITS), Decimal(-RELEASED_DIGITS)

Totals: TypeAlias = tuple[Decimal, Decimal, Decimal, int]
"""Quantity, cost, realised PnL, and the number of the cycle."""

Fees: TypeAlias = tuple[immutables.Map[str, Decimal], Decimal]
"""Fees by currency, and the fees in the quote currency."""

Booking: TypeAlias = tuple[str, str | None, Decimal, Decimal]
"""A fill without its totals: order_id, exec_id, quantity and unit cost as in ``Fill``."""

NOTHING: Totals = (ZERO, ZERO, ZERO, 0)


class Fill(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The effect of a fill on the position. ``exec_id``: of its OrderFilled; None: nothing can refer to it any more."""

    order_id: str
    exec_id: str | None
    quantity: Decimal
    """Signed, less a fee in the base currency."""
    unit_cost: Decimal
    """Price times multiplier."""
    totals: Totals = NOTHING
    """The totals after it."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """The position after all executions so far."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    """Sum of quantity * price * multiplier of what is held."""
    realized_pnl: Decimal = ZERO
    """Since the account was opened, gross of fees."""
    cycle: int = 0
    """How many times the position was opened. A cycle goes from flat to flat; a flip ends one and begins the next."""
    multiplier: Decimal = ONE
    fees: immutables.Map[str, Decimal] = immutables.Map()
    """Since the account was opened, by currency."""
    quote_fees: Decimal = ZERO
    """The fees in the quote currency."""
    day: int = 0
    """The day of the latest execution, UTC, as ``date.toordinal`` counts."""
    net_before_day: Decimal = ZERO
    """``realized_pnl - quote_fees`` when that day began."""
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
        """Cost per unit, 18 digits after the point, half even; 0 while flat, as FIX AvgPx (6)."""
        return average(self.cost, self.quantity, self.multiplier)

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

    def loss_today(self, day: date) -> Decimal:
        """The loss of that day, which must be the latest or a later one: realised, and fees in the quote currency. A
        gain is negative. A fill of an earlier day that is busted on that day counts on that day."""
        if day.toordinal() != self.day:
            return ZERO
        return _subtract(self.net_before_day, _subtract(self.realized_pnl, self.quote_fees))


def evolve_position(position: Position | None, event: ExecutionEvent) -> Position:
    """The position after ``event``; ``position`` is None before the first."""
    before = _FLAT if position is None else position
    event_type = type(event)
    if event_type is OrderFilled:
        return _filled(before, event)
    if event_type is FillBusted:
        return _busted(before, cast(FillBusted, event))
    if event_type is FillCorrected:
        return _corrected(before, cast(FillCorrected, event))
    raise TypeError(f"{event_type.__name__} is not an execution")


def net(totals: Totals, quantity: Decimal, unit_cost: Decimal) -> Totals:
    """The totals after a fill of a signed quantity."""
    if not quantity:
        return totals
    held, cost, realized_pnl, cycle = totals
    value = _multiply(quantity, unit_cost)
    if not held:
        return quantity, value, realized_pnl, cycle + 1
    held_after = _add(held, quantity)
    if held.is_signed() is quantity.is_signed():
        return held_after, _add(cost, value), realized_pnl, cycle
    if not held_after:
        return ZERO, ZERO, _subtract(_subtract(realized_pnl, value), cost), cycle
    if held_after.is_signed() is held.is_signed():
        # Its sign is the opposite of the cost's, because the fill's quantity has the opposite sign of the holding.
        released = _shift(_divide_int(_multiply(_shift(cost, _UP), quantity), held), _DOWN)
        return held_after, _add(cost, released), _add(_subtract(realized_pnl, value), released), cycle
    cost_after = _multiply(held_after, unit_cost)
    # The closing part brought the rest of the value.
    return held_after, cost_after, _subtract(_add(_subtract(realized_pnl, value), cost_after), cost), cycle + 1


_FLAT = Position()
_BUY = Side.BUY  # a member looked up on its class costs as much as an addition


# -- the three executions ----------------------------------------------------------------------------------------


def _filled(before: Position, event: ExecutionEvent) -> Position:
    fees = _charged((before.fees, before.quote_fees), event, event.fee, event.fee_currency)
    return _booked(before, event, fees, _booking(event, event.exec_id))


def _busted(before: Position, event: FillBusted) -> Position:
    fees = (before.fees, before.quote_fees)
    if event.fee is not None:
        fees = _charged(fees, event, event.fee.copy_negate(), event.fee_currency)
    if event.is_reversal:
        return _booked(before, event, fees, _opposite(_booking(event, event.exec_ref_id)))
    kept, place = before.kept(), before.place(event.order_id, event.exec_ref_id)
    return _refolded(before, event, fees, (*kept[:place], *kept[place + 1 :]))


def _corrected(before: Position, event: FillCorrected) -> Position:
    fees = (before.fees, before.quote_fees)
    if event.previous_fee is not None:
        fees = _charged(fees, event, event.previous_fee.copy_negate(), event.previous_fee_currency)
    fees = _charged(fees, event, event.fee, event.fee_currency)
    booking = _booking(event, event.exec_ref_id)
    if event.is_reversal:
        previous_quantity = _signed(event, event.previous_qty, event.previous_fee, event.previous_fee_currency)
        previous = (event.order_id, None, previous_quantity, _unit_cost(event, event.previous_px))
        return _booked(before, event, fees, _opposite(previous), booking)
    kept, place = before.kept(), before.place(event.order_id, event.exec_ref_id)
    return _refolded(before, event, fees, (*kept[:place], Fill(*booking), *kept[place + 1 :]))


def _booked(before: Position, event: ExecutionEvent, fees: Fees, *fills: Booking) -> Position:
    """The position with more fills after the others."""
    totals: Totals = (before.quantity, before.cost, before.realized_pnl, before.cycle)
    base, pages, page = before.base, before.pages, before.page
    for order_id, exec_id, quantity, unit_cost in fills:
        totals = net(totals, quantity, unit_cost)
        page = (*page, Fill(order_id, exec_id, quantity, unit_cost, totals))
        if len(page) == PAGE:
            base, pages, page = _turned(base, pages, page)
    return _after(before, event, totals, fees, base, pages, page)


def _turned(
    base: Totals, pages: tuple[tuple[Fill, ...], ...], page: tuple[Fill, ...]
) -> tuple[Totals, tuple[tuple[Fill, ...], ...], tuple[Fill, ...]]:
    """Add a full page to the others, and fold the oldest into the totals if the window does not reach back to it."""
    pages = (*pages, page)
    while (len(pages) - 1) * PAGE >= POSITION_WINDOW:
        base, pages = pages[0][-1].totals, pages[1:]
    return base, pages, ()


def _refolded(before: Position, event: ExecutionEvent, fees: Fees, kept: tuple[Fill, ...]) -> Position:
    totals = before.base
    folded: list[Fill] = []
    for fill in kept:
        totals = net(totals, fill.quantity, fill.unit_cost)
        folded.append(Fill(fill.order_id, fill.exec_id, fill.quantity, fill.unit_cost, totals))
    full = len(folded) - len(folded) % PAGE
    pages = tuple(tuple(folded[place : place + PAGE]) for place in range(0, full, PAGE))
    return _after(before, event, totals, fees, before.base, pages, tuple(folded[full:]))


def _after(
    before: Position,
    event: ExecutionEvent,
    totals: Totals,
    fees: Fees,
    base: Totals,
    pages: tuple[tuple[Fill, ...], ...],
    page: tuple[Fill, ...],
) -> Position:
    day, net_before_day = before.day, before.net_before_day
    event_day = _day(event.transact_time)
    if event_day > day:
        day, net_before_day = event_day, _subtract(before.realized_pnl, before.quote_fees)
    quantity, cost, realized_pnl, cycle = totals
    by_currency, quote_fees = fees
    multiplier = ONE if event.multiplier is None else event.multiplier
    return Position(
        quantity, cost, realized_pnl, cycle, multiplier, by_currency, quote_fees, day, net_before_day, base, pages, page
    )


# -- what an execution says --------------------------------------------------------------------------------------


def _booking(event: ExecutionEvent, exec_id: str) -> Booking:
    quantity = _signed(event, event.last_qty, event.fee, event.fee_currency)
    return event.order_id, exec_id, quantity, _unit_cost(event, event.last_px)


def _opposite(booking: Booking) -> Booking:
    order_id, _exec_id, quantity, unit_cost = booking
    return order_id, None, quantity.copy_negate(), unit_cost


def _signed(event: ExecutionEvent, last_qty: Decimal, fee: Decimal | None, fee_currency: str | None) -> Decimal:
    # Not `-last_qty`: operators round to the context of the thread.
    quantity = last_qty if event.side is _BUY else last_qty.copy_negate()
    if fee is not None and fee_currency is not None and fee_currency == event.base_currency:
        return _subtract(quantity, fee)
    return quantity


def _unit_cost(event: ExecutionEvent, price: Decimal) -> Decimal:
    return price if event.multiplier is None else _multiply(price, event.multiplier)


def _charged(fees: Fees, event: ExecutionEvent, fee: Decimal | None, currency: str | None) -> Fees:
    if fee is None or currency is None:
        return fees
    by_currency, quote_fees = fees
    charged = by_currency.set(currency, _add(by_currency.get(currency, ZERO), fee))
    return charged, _add(quote_fees, fee) if currency == event.quote_currency else quote_fees


def _day(transact_time: datetime | None) -> int:
    if transact_time is None:
        return 0
    return (transact_time if transact_time.tzinfo is UTC else transact_time.astimezone(UTC)).toordinal()
