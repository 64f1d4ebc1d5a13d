"""What an order book remembers, and how each event changes it.

The book remembers its open orders, and those that filled before what was asked of them was answered. Every other order
lives on in the log. A command about an order that is not open is decided on a book into which that order was recalled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import immutables
import msgspec

from foldbook.eventstore.events import Command, Event
from foldbook.trading import risk
from foldbook.trading.clock import comparable
from foldbook.trading.events import (
    AccountAdjusted,
    BookedExecution,
    ExecutionBooked,
    ExecutionBusted,
    ExecutionCorrected,
    FillBusted,
    FillConflictDetected,
    FillCorrected,
    InstrumentDefined,
    OrderBookCreated,
    OrderCancelRequested,
    OrderCreated,
    OrderDenied,
    OrderFilled,
    OrderReplaceRequested,
    PositionMismatchDetected,
    PositionMismatchResolved,
    PriceRecorded,
    ReportedExecution,
    RiskLimitsSet,
    TradingStateChanged,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.instrument import Instrument, defined_instrument, instrument_of
from foldbook.trading.order import Order, outline_of, state_of
from foldbook.trading.order_events import evolve_order, evolved
from foldbook.trading.position import Position, evolve_position
from foldbook.trading.risk import Mismatch, Risk
from foldbook.trading.values import EXACT, ZERO, GroupKind

SYMBOLS_MAX = 10_000
"""Bounds each of these: instruments, prices, symbols with their own limits, positions that are adjusted."""

GROUPS_MAX = 1_000
"""Groups that are remembered although none of their orders is open. Up to twice as many are."""


FILLED_MAX = 1_000
"""Filled orders that are remembered until what was asked of them is answered. Up to twice as many are."""


class Group(msgspec.Struct, frozen=True, gc=False):
    """A group of orders. ``legs``: the open ones; ``number``: which of the account's groups it is."""

    kind: GroupKind
    entry_id: str
    """The order that was placed first."""
    number: int
    legs: tuple[str, ...] = ()
    is_over: bool = False
    """The first order ended without having traded."""


class Book(msgspec.Struct, frozen=True, gc=False):
    """``orders``: the open ones, by order id. ``filled``: those that filled before what was asked of them was answered.
    They count for nothing, but whoever asked is owed an answer.

    The last three are what the command at hand is about, if the book had forgotten it: an order with all its events;
    the events of an execution without an order; reports that wait for either.
    """

    account: str | None = None
    orders: immutables.Map[str, Order] = immutables.Map()
    positions: immutables.Map[str, Position] = immutables.Map()
    instruments: immutables.Map[str, Instrument] = immutables.Map()
    risk: Risk = Risk()
    groups: immutables.Map[str, Group] = immutables.Map()
    group_count: int = 0
    filled: immutables.Map[str, Order] = immutables.Map()
    recalled: Order | None = None
    foreign: tuple[BookedExecution, ...] = ()
    waiting: tuple[UnmatchedExecutionRecorded, ...] = ()

    def find(self, order_id: str) -> Order | None:
        recalled = self.recalled
        if recalled is not None and recalled.created.order_id == order_id:
            return recalled
        return self.orders.get(order_id)

    def instrument(self, symbol: str) -> Instrument:
        return instrument_of(self.instruments, symbol)

    def holds(self, symbol: str, order_id: str, exec_id: str) -> bool:
        """Is the fill young enough to be taken out of the position, or replaced in it?"""
        position = self.positions.get(symbol)
        return position is not None and position.holds(order_id, exec_id)

    def is_before_split(self, symbol: str, order_id: str, exec_id: str, time: datetime | None) -> bool:
        """Is a fill from before the symbol was split, so that its quantity is in units of then?"""
        position = self.positions.get(symbol)
        if position is None or position.split_at is None or position.holds(order_id, exec_id):
            return False
        return time is None or time <= position.split_at

    def group_of(self, created: OrderCreated) -> Group | None:
        return None if created.group is None else self.groups.get(created.group.id)

    def position_qty(self, symbol: str) -> Decimal:
        position = self.positions.get(symbol)
        return ZERO if position is None else position.quantity

    def lost_today(self, symbol: str, now: datetime, *, is_of_account: bool) -> Decimal:
        """What was lost today in the symbol's currency, by the account or in the symbol alone: realised, and fees. If
        more was charged in another currency, by its number, that. A gain is negative."""
        currency, day = self.instrument(symbol).settlement_currency, now.date()
        lost = ZERO
        others: dict[str, Decimal] = {}
        for _, position in self._settled_in(currency, None if is_of_account else symbol):
            lost = EXACT.subtract(EXACT.add(lost, position.in_kind_on(day)), position.realized_on(day))
            for charged, fee in position.fees_on(day).items():
                if charged == (currency or ""):
                    lost = EXACT.add(lost, fee)
                else:
                    others[charged] = EXACT.add(others.get(charged, ZERO), fee)
        return max((lost, *others.values()))

    def unrealized_loss(self, symbol: str, *, is_of_account: bool) -> Decimal | None:
        """What closing at the last prices would lose, of what is held in the symbol's currency, or in the symbol alone.
        None: a price is not known. A gain is negative."""
        lost = ZERO
        currency = self.instrument(symbol).settlement_currency
        for name, position in self._settled_in(currency, None if is_of_account else symbol):
            if position.quantity:
                last = self.risk.prices.get(name)
                if last is None:
                    return None
                lost = EXACT.subtract(lost, position.unrealized_pnl(last.price))
        return lost

    def _settled_in(self, currency: str | None, symbol: str | None) -> Iterable[tuple[str, Position]]:
        if symbol is not None:
            position = self.positions.get(symbol)
            return () if position is None else ((symbol, position),)
        return (
            (name, position)
            for name, position in self.positions.items()
            if self.instrument(name).settlement_currency == currency
        )

    def with_execution(self, event: Event) -> Book:
        """The book with what an execution does to the position. What else it changes is of no importance here."""
        if type(event) not in CHANGES_POSITION:
            return self
        symbol: str = event.symbol  # type: ignore[attr-defined]
        positions = self.positions.set(symbol, evolve_position(self.positions.get(symbol), event))
        return msgspec.structs.replace(self, positions=positions)


# -- evolve ------------------------------------------------------------------------------------------------------


def evolve(book: Book, event: Event) -> Book:
    """The book after ``event``."""
    # By exact type: isinstance on a struct walks through ABCMeta, which costs more than all the rest.
    event_type = type(event)
    of_account = _FOLDS.get(event_type)
    if of_account is not None:
        return of_account(book, event)
    return _evolve_order(book, event, event_type in _EXECUTIONS)


_EXECUTIONS = frozenset({OrderFilled, FillBusted, FillCorrected})
CHANGES_POSITION = frozenset({*_EXECUTIONS, ExecutionBooked, ExecutionBusted, ExecutionCorrected})


def _evolve_order(book: Book, event: Any, is_execution: bool) -> Book:
    order_id: str = event.order_id
    symbol: str = event.symbol
    orders, positions, checked, groups = book.orders, book.positions, book.risk, book.groups
    filled = book.filled
    if is_execution:
        positions = positions.set(symbol, evolve_position(positions.get(symbol), event))
    before = orders.get(order_id)
    known = filled.get(order_id) if before is None else before
    # Of an order that it had forgotten, the book knows what the event says: whether it works again, or may.
    after = outline_of(event) if known is None or known.outline is not None else evolved(known, event)
    # What can trade no more counts for nothing, whatever is pending.
    is_live = bool(event.leaves_qty or event.exposed_qty or event.leaves_cash)
    if is_live:
        orders = orders.set(order_id, after)
    elif before is not None:
        orders = orders.delete(order_id)
        if before.created.group is not None:
            groups = _without_leg(groups, before.created, has_traded=bool(event.cum_qty))
    if known is not None and (after.requests or known is not before):
        filled = _with_filled(filled, order_id, after, is_live=is_live)
    if checked.is_watching:
        qty_before = before.exposed_qty if before is not None else ZERO
        count_delta = is_live - (before is not None)
        checked = risk.with_exposure(checked, symbol, event.side, qty_before, after.exposed_qty, count_delta)
    event_type = type(event)
    if event_type is OrderCancelRequested or event_type is OrderReplaceRequested:
        checked = risk.with_message(checked, symbol, event.transact_time)
    elif event_type is OrderDenied:
        checked = risk.with_order_denied(checked, after.created)
    return Book(book.account, orders, positions, book.instruments, checked, groups, book.group_count, filled)


def _with_filled(
    filled: immutables.Map[str, Order], order_id: str, order: Order, *, is_live: bool
) -> immutables.Map[str, Order]:
    if not is_live and order.requests and not order.has_ended:
        return _latest(filled.set(order_id, order))
    return filled.delete(order_id) if order_id in filled else filled


def _latest(filled: immutables.Map[str, Order]) -> immutables.Map[str, Order]:
    """Without those that were placed first, if there are too many."""
    if len(filled) <= 2 * FILLED_MAX:
        return filled
    return immutables.Map(sorted(filled.items(), key=lambda item: item[1].placed)[-FILLED_MAX:])


def _book_created(book: Book, event: OrderBookCreated) -> Book:
    return Book(f"{event.user}/{event.exchange}/{event.broker}")


def _order_created(book: Book, event: OrderCreated) -> Book:
    order = Order(event, event.quantity, event.limit_price, event.stop_price)
    orders = book.orders.set(event.order_id, order)
    checked = book.risk
    if checked.is_watching:
        exposed_qty = order.exposed_qty if event.cash_quantity is not None else event.quantity
        checked = risk.with_order(risk.with_exposure(checked, event.symbol, event.side, ZERO, exposed_qty, 1), event)
    groups, group_count = book.groups, book.group_count
    if event.group is not None:
        group = groups.get(event.group.id)
        if group is None:
            group_count += 1
            group = Group(event.group.kind, event.order_id, group_count)
        groups = _bounded(
            groups.set(event.group.id, msgspec.structs.replace(group, legs=(*group.legs, event.order_id)))
        )
    return Book(book.account, orders, book.positions, book.instruments, checked, groups, group_count, book.filled)


def _without_leg(
    groups: immutables.Map[str, Group], created: OrderCreated, *, has_traded: bool
) -> immutables.Map[str, Group]:
    assert created.group is not None
    group = groups.get(created.group.id)
    if group is None:
        return groups
    legs = tuple(leg for leg in group.legs if leg != created.order_id)
    is_over = group.is_over or (created.order_id == group.entry_id and not has_traded)
    return groups.set(created.group.id, msgspec.structs.replace(group, legs=legs, is_over=is_over))


def _bounded(groups: immutables.Map[str, Group]) -> immutables.Map[str, Group]:
    """Without the oldest groups that have no open order, if there are too many."""
    if len(groups) <= 2 * GROUPS_MAX:
        return groups
    idle = sorted((group.number, name) for name, group in groups.items() if not group.legs)
    for _, name in idle[:-GROUPS_MAX]:
        groups = groups.delete(name)
    return groups


def _execution_booked(book: Book, event: BookedExecution) -> Book:
    return book.with_execution(event)


def _adjusted(book: Book, event: AccountAdjusted) -> Book:
    if event.symbol is None or event.quantity is None:
        return book
    positions = book.positions.set(event.symbol, evolve_position(book.positions.get(event.symbol), event))
    return msgspec.structs.replace(book, positions=positions)


def _reported(book: Book, event: UnmatchedExecutionRecorded | FillConflictDetected) -> Book:
    """A report that was not applied; an order that the book knows keeps one that may still be."""
    if event.order_id is None:
        return book
    order_id = event.order_id
    known = book.orders.get(order_id)
    if known is not None and not known.is_outline:
        return msgspec.structs.replace(book, orders=book.orders.set(order_id, evolved(known, event)))
    known = book.filled.get(order_id)
    if known is not None and not known.is_outline:
        return msgspec.structs.replace(book, filled=book.filled.set(order_id, evolved(known, event)))
    return book


def _instrument_defined(book: Book, event: InstrumentDefined) -> Book:
    return msgspec.structs.replace(book, instruments=book.instruments.set(event.symbol, defined_instrument(event)))


def _limits_set(book: Book, event: RiskLimitsSet) -> Book:
    return _with_risk(book, risk.with_limits(book.risk, event.symbol, event.limits))


def _state_changed(book: Book, event: TradingStateChanged) -> Book:
    return _with_risk(book, risk.with_state(book.risk, event.state))


def _price_recorded(book: Book, event: PriceRecorded) -> Book:
    time = event.counted_at or event.transact_time
    assert time is not None
    told = comparable(event.transact_time, event.counted_at)
    return _with_risk(book, risk.with_price(book.risk, event.symbol, event.price, time, told))


def _mismatch_detected(book: Book, event: PositionMismatchDetected) -> Book:
    return _with_risk(book, risk.with_mismatch(book.risk, event.symbol, Mismatch(event.expected, event.observed)))


def _mismatch_resolved(book: Book, event: PositionMismatchResolved) -> Book:
    return _with_risk(book, risk.with_mismatch(book.risk, event.symbol, None))


def _with_risk(book: Book, checked: Risk) -> Book:
    if checked.is_watching is not book.risk.is_watching:
        exposures: immutables.Map[str, risk.Exposure] = immutables.Map()
        checked = risk.with_exposures(checked, exposures)
        if checked.is_watching:
            for order in book.orders.values():
                created = order.created
                checked = risk.with_exposure(checked, created.symbol, created.side, ZERO, order.exposed_qty, 1)
    return msgspec.structs.replace(book, risk=checked)


_FOLDS: dict[type[Event], Callable[[Book, Any], Book]] = {
    OrderBookCreated: _book_created,
    OrderCreated: _order_created,
    UnmatchedExecutionRecorded: _reported,
    FillConflictDetected: _reported,
    ExecutionBooked: _execution_booked,
    ExecutionBusted: _execution_booked,
    ExecutionCorrected: _execution_booked,
    AccountAdjusted: _adjusted,
    PositionMismatchDetected: _mismatch_detected,
    PositionMismatchResolved: _mismatch_resolved,
    InstrumentDefined: _instrument_defined,
    RiskLimitsSet: _limits_set,
    TradingStateChanged: _state_changed,
    PriceRecorded: _price_recorded,
}


# -- recall ------------------------------------------------------------------------------------------------------


def forgotten(command: Command, book: Book) -> bool:
    """Is the command about an order that the book does not remember, or only in outline?"""
    if command.subject is None or book.account is None:
        return False
    order = book.orders.get(command.subject)
    return order is None or order.is_outline


def outlines_in(book: Book) -> list[str]:
    """The orders of which the book knows no more than what their latest event says."""
    return [order_id for order_id, order in (*book.orders.items(), *book.filled.items()) if order.is_outline]


def completed(book: Book, order_id: str, events: Iterable[Event]) -> Book:
    """The book, which knew the order in outline, with the order that these events make: all there are about it. If they
    lead to another state than the book knows, there are more by now, and it stays as it is."""
    order: Order | None = None
    for event in events:
        order = evolve_order(order, event)
    outline = book.orders.get(order_id) or book.filled.get(order_id)
    if order is None or outline is None or not outline.is_outline or state_of(order) != state_of(outline):
        return book
    if order_id in book.orders:
        return msgspec.structs.replace(book, orders=book.orders.set(order_id, order))
    return msgspec.structs.replace(book, filled=book.filled.set(order_id, order))


def recall(book: Book, events: Iterable[Event]) -> Book:
    """The book with the order, or the execution without one, that these events make: all there are about it."""
    order: Order | None = None
    foreign: list[BookedExecution] = []
    waiting: list[UnmatchedExecutionRecorded] = []
    for event in events:
        if isinstance(event, BookedExecution):
            foreign.append(event)
        elif order is not None or not isinstance(event, ReportedExecution):
            order = evolve_order(order, event)
        elif isinstance(event, UnmatchedExecutionRecorded):
            waiting.append(event)
    return msgspec.structs.replace(book, recalled=order, foreign=tuple(foreign), waiting=tuple(waiting))
