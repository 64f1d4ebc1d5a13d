"""What an order book remembers, and how each event changes it.

The book remembers its open orders only. A closed order lives on in the log; a command about one is decided on a book
into which that order was recalled.
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
from foldbook.trading.events import (
    ExecutionEvent,
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
    PriceRecorded,
    RiskLimitsSet,
    TradingStateChanged,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.instrument import Instrument, defined_instrument, instrument_of
from foldbook.trading.order import Order, outline_of
from foldbook.trading.order_events import evolve_order, evolved
from foldbook.trading.position import Position, evolve_position
from foldbook.trading.risk import Risk
from foldbook.trading.values import EXACT, ZERO


class Book(msgspec.Struct, frozen=True, gc=False):
    """``orders``: the open ones, by order id. ``recalled``: the order that the command at hand is about, with all its
    events, if the book had forgotten it."""

    account: str | None = None
    orders: immutables.Map[str, Order] = immutables.Map()
    positions: immutables.Map[str, Position] = immutables.Map()
    instruments: immutables.Map[str, Instrument] = immutables.Map()
    risk: Risk = Risk()
    recalled: Order | None = None

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

    def position_qty(self, symbol: str) -> Decimal:
        position = self.positions.get(symbol)
        return ZERO if position is None else position.quantity

    def realized_today(self, currency: str | None, now: datetime) -> Decimal:
        """Of the account, today, in one quote currency, less fees in it."""
        lost = ZERO
        for symbol, position in self.positions.items():
            if self.instrument(symbol).quote_currency == currency:
                lost = EXACT.add(lost, position.loss_today(now.date()))
        return EXACT.minus(lost)

    def symbol_realized_today(self, symbol: str, now: datetime) -> Decimal:
        position = self.positions.get(symbol)
        return ZERO if position is None else EXACT.minus(position.loss_today(now.date()))

    def with_execution(self, event: ExecutionEvent) -> Book:
        """The book with what ``event`` does to the position."""
        symbol = event.symbol
        positions = self.positions.set(symbol, evolve_position(self.positions.get(symbol), event))
        return Book(self.account, self.orders, positions, self.instruments, self.risk)


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


def _evolve_order(book: Book, event: Any, is_execution: bool) -> Book:
    order_id: str = event.order_id
    symbol: str = event.symbol
    orders, positions, checked = book.orders, book.positions, book.risk
    if is_execution:
        positions = positions.set(symbol, evolve_position(positions.get(symbol), event))
    before = orders.get(order_id)
    # Of an order that it had forgotten, the book knows what the event says: whether it works again, or may.
    after = outline_of(event) if before is None or before.is_outline else evolved(before, event)
    is_live = bool(event.leaves_qty) or after.is_live
    if is_live:
        orders = orders.set(order_id, after)
    elif before is not None:
        orders = orders.delete(order_id)
    if checked.is_watching:
        qty_before = before.exposed_qty if before is not None else ZERO
        count_delta = is_live - (before is not None)
        checked = risk.with_exposure(checked, symbol, event.side, qty_before, after.exposed_qty, count_delta)
    event_type = type(event)
    if event_type is OrderCancelRequested or event_type is OrderReplaceRequested:
        checked = risk.with_message(checked, symbol, event.transact_time)
    elif event_type is OrderDenied:
        checked = risk.with_order_denied(checked, after.created)
    return Book(book.account, orders, positions, book.instruments, checked)


def _book_created(book: Book, event: OrderBookCreated) -> Book:
    return Book(f"{event.user}/{event.exchange}/{event.broker}")


def _order_created(book: Book, event: OrderCreated) -> Book:
    orders = book.orders.set(event.order_id, Order(event, event.quantity, event.limit_price, event.stop_price))
    checked = book.risk
    if checked.is_watching:
        checked = risk.with_order(risk.with_exposure(checked, event.symbol, event.side, ZERO, event.quantity, 1), event)
    return Book(book.account, orders, book.positions, book.instruments, checked)


def _reported(book: Book, event: UnmatchedExecutionRecorded | FillConflictDetected) -> Book:
    """A report that was not applied; an order that the book knows keeps one that may still be."""
    known = book.orders.get(event.order_id)
    if known is None or known.is_outline:
        return book
    order = evolved(known, event)
    return Book(book.account, book.orders.set(event.order_id, order), book.positions, book.instruments, book.risk)


def _instrument_defined(book: Book, event: InstrumentDefined) -> Book:
    instruments = book.instruments.set(event.symbol, defined_instrument(event))
    return Book(book.account, book.orders, book.positions, instruments, book.risk)


def _limits_set(book: Book, event: RiskLimitsSet) -> Book:
    return _with_risk(book, risk.with_limits(book.risk, event.symbol, event.limits))


def _state_changed(book: Book, event: TradingStateChanged) -> Book:
    return _with_risk(book, risk.with_state(book.risk, event.state))


def _price_recorded(book: Book, event: PriceRecorded) -> Book:
    return _with_risk(book, risk.with_price(book.risk, event.symbol, event.price, event.transact_time))


def _with_risk(book: Book, checked: Risk) -> Book:
    if checked.is_watching is not book.risk.is_watching:
        exposures: immutables.Map[str, risk.Exposure] = immutables.Map()
        checked = risk.with_exposures(checked, exposures)
        if checked.is_watching:
            for order in book.orders.values():
                created = order.created
                checked = risk.with_exposure(checked, created.symbol, created.side, ZERO, order.exposed_qty, 1)
    return Book(book.account, book.orders, book.positions, book.instruments, checked)


_FOLDS: dict[type[Event], Callable[[Book, Any], Book]] = {
    OrderBookCreated: _book_created,
    OrderCreated: _order_created,
    UnmatchedExecutionRecorded: _reported,
    FillConflictDetected: _reported,
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


def recall(book: Book, events: Iterable[Event]) -> Book:
    """The book with the order that these events, all there are about it, make."""
    order: Order | None = None
    for event in events:
        order = evolve_order(order, event)
    return Book(book.account, book.orders, book.positions, book.instruments, book.risk, order)
