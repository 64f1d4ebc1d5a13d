"""Groups of orders: what happens to one leg asks something of the others.

The book decides it, in the same commit as the report: so it is the same with every broker, and in a backtest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from foldbook.eventstore.events import Event
from foldbook.trading.events import OrderCancelRequested, OrderReplaceRequested
from foldbook.trading.order import REQUESTS_MAX, Order
from foldbook.trading.order_events import event_about, evolved, requested_terms
from foldbook.trading.state import Book
from foldbook.trading.values import ZERO, GroupKind, PendingRequest, subtract


class Cause(NamedTuple):
    """The command that told what happened to a leg."""

    command_id: UUID
    received_at: datetime

    def request_id(self, order: Order) -> str:
        """A name for the next request about the order: one command may cause several."""
        return f"{self.command_id}:{order.request_count + 1}"


def what_follows(cause: Cause, order: Order, events: Iterable[Event], book: Book) -> Sequence[Event]:
    """What the events about a leg of a group ask of its other legs."""
    after = order
    for event in events:
        after = evolved(after, event)
    group = book.group_of(order.created)
    if group is None:
        return ()
    order_id = order.created.order_id
    others = [book.orders[leg] for leg in group.legs if leg != order_id and leg in book.orders]
    traded = subtract(after.cum_qty, order.cum_qty)
    if group.kind is GroupKind.OCO:
        return _canceled(cause, others) if traded > ZERO else ()
    if order_id != group.entry_id:
        exits = [other for other in others if other.created.order_id != group.entry_id]
        return _reduced(cause, exits, traded) if traded > ZERO else ()
    if after.final is None or order.final is not None:
        return ()
    if not after.cum_qty:
        return _canceled(cause, others)
    # The entry ended early: there is less to close.
    return [
        event
        for other in others
        for event in _reduced(cause, [other], subtract(requested_terms(other)[0], after.cum_qty))
    ]


def _canceled(cause: Cause, orders: Iterable[Order]) -> Sequence[Event]:
    return [
        event_about(order, OrderCancelRequested, request_id=cause.request_id(order), transact_time=cause.received_at)
        for order in orders
        if order.is_live and order.pending_request is not PendingRequest.CANCEL
    ]


def _reduced(cause: Cause, orders: Iterable[Order], by: Decimal) -> Sequence[Event]:
    """The exits that close as much less, each; those that have nothing more to close are canceled."""
    events: list[Event] = []
    for order in orders:
        quantity, limit_price, stop_price = requested_terms(order)
        left = subtract(quantity, by)
        if not order.is_live or by <= ZERO or order.pending_request is PendingRequest.CANCEL:
            continue
        if left <= order.cum_qty or len(order.requests) >= REQUESTS_MAX:
            events += _canceled(cause, [order])
        else:
            events.append(
                event_about(
                    order,
                    OrderReplaceRequested,
                    request_id=cause.request_id(order),
                    requested_quantity=left,
                    requested_limit_price=limit_price,
                    requested_stop_price=stop_price,
                    transact_time=cause.received_at,
                )
            )
    return events
