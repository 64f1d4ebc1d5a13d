"""What each event does to an order, and how an event comes to say what the order is after it.

The sums and the terms are taken from the event, which is the authority. The rest follows from what happened: the
working state alone does not say whether a filled order was suspended before.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import immutables
import msgspec

from foldbook.trading.events import (
    FillBusted,
    FillConflictDetected,
    FillCorrected,
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderCreated,
    OrderDenied,
    OrderDoneForDay,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderReplaceDenied,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReplaceRequested,
    OrderRestated,
    OrderSubmitted,
    OrderSuspended,
    OrderUpdate,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.order import Answer, Execution, Order, Request, names_of, state_of
from foldbook.trading.values import ExecType, OrdStatus, PendingRequest

U = TypeVar("U", bound=OrderUpdate)

replace = msgspec.structs.replace

_TRADE, _NEW = ExecType.TRADE, OrdStatus.NEW  # looked up on their class they cost as much as an addition


def event_about(order: Order, event_type: type[U], **facts: Any) -> U:
    """The event of these facts, with the order's state after it. New terms, sums and the like are facts, too."""
    event = event_type(**names_of(order), **facts)
    return replace(event, **state_of(evolved(order, event)))


def evolved(order: Order | None, event: Any) -> Order:
    """The order after an event about one that exists."""
    after = evolve_order(order, event)
    assert after is not None
    return after


def evolve_order(order: Order | None, event: Any) -> Order | None:
    """The order after ``event``. None: there is no order yet, only reports about one."""
    event_type = type(event)
    if event_type is OrderCreated:
        return Order(event, event.quantity, event.limit_price, event.stop_price)
    if order is None:
        if event_type is UnmatchedExecutionRecorded:
            return None
        raise ValueError(f"{event_type.__name__} for order {event.order_id!r}, which was never created")
    return _FOLDS[event_type](order, event)


def _submitted(order: Order, event: OrderSubmitted) -> Order:
    stage = OrdStatus.PENDING_NEW if order.stage is OrdStatus.CREATED else order.stage
    return replace(order, stage=stage, broker_order_id=event.broker_order_id)


def _accepted(order: Order, event: OrderAccepted) -> Order:
    return replace(order, stage=OrdStatus.NEW, broker_order_id=event.broker_order_id)


def _filled(order: Order, event: OrderFilled) -> Order:
    execution = Execution(
        _TRADE,
        event.last_qty,
        event.last_px,
        event.fee,
        event.fee_currency,
        None,
        event.transact_time,
        event.multiplier,
        event.base_currency,
        event.quote_currency,
    )
    return Order(
        order.created,
        order.quantity,
        order.limit_price,
        order.stop_price,
        event.cum_qty,
        event.cum_cost,
        event.fees,
        event.broker_order_id,
        _NEW,
        order.final,
        order.reason,
        order.is_suspended,
        order.is_done_for_day,
        order.requests,
        order.executions.set(event.exec_id, execution),
        order.revised,
        order.held,
        order.cancel_answer,
        order.replace_answer,
        order.terms_time,
        order.rest_time,
        order.resume_time,
        order.is_outline,
    )


def _busted(order: Order, event: FillBusted) -> Order:
    return _revised(order, event, ExecType.TRADE_CANCEL)


def _corrected(order: Order, event: FillCorrected) -> Order:
    return _revised(order, event, ExecType.TRADE_CORRECT)


def _revised(order: Order, event: FillBusted | FillCorrected, exec_type: ExecType) -> Order:
    execution = Execution(
        exec_type,
        event.last_qty,
        event.last_px,
        event.fee,
        event.fee_currency,
        event.exec_ref_id,
        event.transact_time,
        event.multiplier,
        event.base_currency,
        event.quote_currency,
    )
    return replace(
        order,
        cum_qty=event.cum_qty,
        cum_cost=event.cum_cost,
        fees=event.fees,
        executions=order.executions.set(event.exec_id, execution),
        revised=order.revised.set(event.exec_ref_id, execution),
        held=_without(order.held, event.exec_id),
    )


def _without(
    held: immutables.Map[str, UnmatchedExecutionRecorded], exec_id: str
) -> immutables.Map[str, UnmatchedExecutionRecorded]:
    return held.delete(exec_id) if exec_id in held else held


def _held(order: Order, event: UnmatchedExecutionRecorded) -> Order:
    return replace(order, held=order.held.set(event.exec_id or "", event))


def _conflicting(order: Order, event: FillConflictDetected) -> Order:
    return replace(order, held=_without(order.held, event.exec_id or ""))


def _ended(state: OrdStatus) -> Callable[[Order, Any], Order]:
    def end(order: Order, event: Any) -> Order:
        return replace(order, final=state, reason=event.reason, requests=())

    return end


def _suspended(order: Order, event: OrderSuspended) -> Order:
    return replace(order, is_suspended=True, rest_time=_later(order.rest_time, event.transact_time))


def _done_for_day(order: Order, event: OrderDoneForDay) -> Order:
    return replace(order, is_done_for_day=True, rest_time=_later(order.rest_time, event.transact_time))


def _later(a: datetime | None, b: datetime | None) -> datetime | None:
    return max(a, b) if a is not None and b is not None else a or b


def _restated(order: Order, event: OrderRestated) -> Order:
    return replace(
        order,
        quantity=event.quantity,
        limit_price=event.limit_price,
        stop_price=event.stop_price,
        is_suspended=order.is_suspended and not event.resumes,
        is_done_for_day=order.is_done_for_day and not event.resumes,
        resume_time=_later(order.resume_time, event.transact_time) if event.resumes else order.resume_time,
        terms_time=_later(order.terms_time, event.transact_time),
    )


# -- requests ----------------------------------------------------------------------------------------------------


def _cancel_requested(order: Order, event: OrderCancelRequested) -> Order:
    return replace(order, requests=(*order.requests, Request(PendingRequest.CANCEL)))


def _cancel_pending(order: Order, event: OrderCancelPending) -> Order:
    return _acknowledged(order, PendingRequest.CANCEL)


def _cancel_rejected(order: Order, event: OrderCancelRejected) -> Order:
    requests, answer = _answered(order, PendingRequest.CANCEL, 1, event.transact_time)
    return replace(order, requests=requests, cancel_answer=answer)


def _replace_requested(order: Order, event: OrderReplaceRequested) -> Order:
    request = Request(
        PendingRequest.REPLACE, event.requested_quantity, event.requested_limit_price, event.requested_stop_price
    )
    return replace(order, requests=(*order.requests, request))


def _replace_denied(order: Order, event: OrderReplaceDenied) -> Order:
    return order


def _replace_pending(order: Order, event: OrderReplacePending) -> Order:
    return _acknowledged(order, PendingRequest.REPLACE)


def _replaced(order: Order, event: OrderReplaced) -> Order:
    requests, answer = _answered(order, PendingRequest.REPLACE, event.answered_requests, event.transact_time)
    return replace(
        order,
        quantity=event.quantity,
        limit_price=event.limit_price,
        stop_price=event.stop_price,
        broker_order_id=event.broker_order_id,
        stage=OrdStatus.NEW,
        requests=requests,
        replace_answer=answer,
        terms_time=_later(order.terms_time, event.transact_time),
    )


def _replace_rejected(order: Order, event: OrderReplaceRejected) -> Order:
    requests, answer = _answered(order, PendingRequest.REPLACE, 1, event.transact_time)
    return replace(order, requests=requests, replace_answer=answer)


def _acknowledged(order: Order, kind: PendingRequest) -> Order:
    """The oldest request of that kind that was not acknowledged is now; if there is none, one was made elsewhere."""
    for i, request in enumerate(order.requests):
        if request.kind is kind and not request.is_acknowledged:
            acknowledged = replace(request, is_acknowledged=True)
            return replace(order, requests=(*order.requests[:i], acknowledged, *order.requests[i + 1 :]))
    return replace(order, requests=(*order.requests, Request(kind, is_acknowledged=True)))


def _answered(
    order: Order, kind: PendingRequest, count: int, time: datetime | None
) -> tuple[tuple[Request, ...], Answer]:
    """The requests without the oldest ``count`` of that kind, and the answer to them."""
    answered: list[Request] = []
    left: list[Request] = []
    for request in order.requests:
        (answered if request.kind is kind and len(answered) < count else left).append(request)
    return tuple(left), Answer(time, bool(answered) and answered[-1].is_acknowledged)


def answered_by(requests: tuple[Request, ...], quantity: Decimal | None, limit_price: Decimal | None) -> int:
    """How many of the outstanding replaces, the oldest first, a report answers that states these terms.

    A chain of replaces may be answered at once, by the terms of a later one; terms that nobody asked for answer the
    oldest (FIX 4.4 volume 4, appendix D, section D: the broker answers in order).
    """
    replaces = [request for request in requests if request.kind is PendingRequest.REPLACE]
    for i, request in enumerate(replaces):
        is_quantity = quantity is None or request.quantity == quantity
        is_price = limit_price is None or request.limit_price == limit_price
        if is_quantity and is_price:
            return i + 1
    return min(len(replaces), 1)


_FOLDS: dict[type, Callable[[Order, Any], Order]] = {
    OrderDenied: _ended(OrdStatus.DENIED),
    OrderSubmitted: _submitted,
    OrderAccepted: _accepted,
    OrderRejected: _ended(OrdStatus.REJECTED),
    OrderCanceled: _ended(OrdStatus.CANCELED),
    OrderExpired: _ended(OrdStatus.EXPIRED),
    OrderSuspended: _suspended,
    OrderDoneForDay: _done_for_day,
    OrderRestated: _restated,
    OrderCancelRequested: _cancel_requested,
    OrderCancelPending: _cancel_pending,
    OrderCancelRejected: _cancel_rejected,
    OrderReplaceRequested: _replace_requested,
    OrderReplaceDenied: _replace_denied,
    OrderReplacePending: _replace_pending,
    OrderReplaced: _replaced,
    OrderReplaceRejected: _replace_rejected,
    OrderFilled: _filled,
    FillBusted: _busted,
    FillCorrected: _corrected,
    FillConflictDetected: _conflicting,
    UnmatchedExecutionRecorded: _held,
}
