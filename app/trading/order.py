"""One order: its state on two axes, and what each event does to it.

What works at the broker (``working_state``) and what was asked of it (``pending_request``) are two things: a fill
while a cancel is pending changes the first and leaves the second (FIX 4.4 volume 4, appendix D).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import immutables
import msgspec

from app.trading.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelRequested,
    OrderCreated,
    OrderEvent,
    OrderFilled,
    OrderRejected,
)
from app.trading.values import ZERO, OrdStatus, PendingRequest

OPEN_STATES = (OrdStatus.CREATED, OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED)


class Order(msgspec.Struct, frozen=True, gc=False):
    """An order as the fold of its events."""

    created: OrderCreated
    working_state: OrdStatus = OrdStatus.CREATED
    pending_request: PendingRequest = PendingRequest.NONE
    cum_qty: Decimal = ZERO
    executions: immutables.Map[str, OrderFilled] = immutables.Map()
    """The fills, by the broker's exec_id."""

    @property
    def is_open(self) -> bool:
        return self.working_state in OPEN_STATES

    @property
    def status(self) -> OrdStatus:
        """The one status that FIX reports: what is pending takes precedence while the order works."""
        if self.is_open and self.pending_request is PendingRequest.CANCEL:
            return OrdStatus.PENDING_CANCEL
        return self.working_state


def evolve_order(order: Order | None, event: OrderEvent) -> Order:
    """The order after ``event``. The first event of an order is its ``OrderCreated``."""
    if type(event) is OrderCreated:
        return Order(event)
    if order is None:
        raise ValueError(f"{type(event).__name__} for order {event.order_id!r}, which was never created")
    return _FOLDS[type(event)](order, event)


def _accepted(order: Order, event: OrderAccepted) -> Order:
    is_first = order.working_state is OrdStatus.CREATED
    return msgspec.structs.replace(order, working_state=OrdStatus.NEW) if is_first else order


def _filled(order: Order, event: OrderFilled) -> Order:
    is_filled = event.cum_qty >= order.created.quantity
    working_state = order.working_state
    if order.is_open:
        working_state = OrdStatus.FILLED if is_filled else OrdStatus.PARTIALLY_FILLED
    return Order(
        order.created,
        working_state,
        PendingRequest.NONE if is_filled else order.pending_request,
        event.cum_qty,
        order.executions.set(event.exec_id, event),
    )


def _cancel_requested(order: Order, event: OrderCancelRequested) -> Order:
    return msgspec.structs.replace(order, pending_request=PendingRequest.CANCEL)


def _canceled(order: Order, event: OrderCanceled) -> Order:
    return _closed(order, OrdStatus.CANCELED)


def _rejected(order: Order, event: OrderRejected) -> Order:
    return _closed(order, OrdStatus.REJECTED)


def _closed(order: Order, state: OrdStatus) -> Order:
    return msgspec.structs.replace(order, working_state=state, pending_request=PendingRequest.NONE)


_FOLDS: dict[type[OrderEvent], Callable[[Order, Any], Order]] = {
    OrderAccepted: _accepted,
    OrderFilled: _filled,
    OrderCancelRequested: _cancel_requested,
    OrderCanceled: _canceled,
    OrderRejected: _rejected,
}
