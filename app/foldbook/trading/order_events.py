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

from foldbook.trading.clock import comparable, latest
from foldbook.trading.events import (
    FillBusted,
    FillConflictDetected,
    FillCorrected,
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderCancelSubmitted,
    OrderCreated,
    OrderDenied,
    OrderDoneForDay,
    OrderDoubtResolved,
    OrderEnd,
    OrderExpired,
    OrderFilled,
    OrderInDoubt,
    OrderRejected,
    OrderReplaced,
    OrderReplaceDenied,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReplaceRequested,
    OrderReplaceSubmitted,
    OrderRestated,
    OrderSubmitted,
    OrderSuspended,
    OrderUpdate,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.order import (
    REMEMBERED_MAX,
    Answer,
    Execution,
    Order,
    Request,
    Times,
    names_of,
    state_of,
    waiting_key,
)
from foldbook.trading.values import ExecType, OrdStatus, PendingRequest

U = TypeVar("U", bound=OrderUpdate)

TERMS = ("quantity", "limit_price", "stop_price")

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
    return replace(order, stage=stage, broker_order_id=event.broker_order_id, attempts=event.attempt)


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
        event.counted_at or event.transact_time,
        event.multiplier,
        event.base_currency,
        event.quote_currency,
        event.gross_amount,
        event.instrument_kind,
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
        order.request_count,
        order.accepted_number,
        order.answered,
        order.superseded,
        order.has_legs,
        order.ended_order_id,
        order.times,
        order.outline,
        order.attempts,
        order.leg,
        order.doubts,
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
        event.counted_at or event.transact_time,
        event.multiplier,
        event.base_currency,
        event.quote_currency,
        event.gross_amount,
        event.instrument_kind,
        comparable(event.transact_time, event.counted_at),
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
    return replace(order, held=order.held.set(waiting_key(event), event))


def _conflicting(order: Order, event: FillConflictDetected) -> Order:
    return replace(order, held=_without(order.held, event.exec_id or ""))


def _denied(order: Order, event: OrderDenied) -> Order:
    return replace(order, final=OrdStatus.DENIED, reason=event.reason, requests=())


def _ended(state: OrdStatus) -> Callable[[Order, Any], Order]:
    def end(order: Order, event: OrderEnd) -> Order:
        return replace(
            order,
            final=state,
            reason=event.reason,
            requests=(),
            ended_order_id=event.ended_order_id,
            held=_without(order.held, f"{_END_REPORTS[state]}:{event.ended_order_id}"),
        )

    return end


_END_REPORTS = {
    OrdStatus.CANCELED: ExecType.CANCELED,
    OrdStatus.EXPIRED: ExecType.EXPIRED,
    OrdStatus.REJECTED: ExecType.REJECTED,
}


def _suspended(order: Order, event: OrderSuspended) -> Order:
    return replace(order, is_suspended=True, times=_rested(order, event))


def _done_for_day(order: Order, event: OrderDoneForDay) -> Order:
    return replace(order, is_done_for_day=True, times=_rested(order, event))


def _rested(order: Order, event: OrderSuspended | OrderDoneForDay) -> Times:
    return replace(order.times, rest=latest(order.times.rest, comparable(event.transact_time, event.counted_at)))


def _restated(order: Order, event: OrderRestated) -> Order:
    time = comparable(event.transact_time, event.counted_at)
    times = _with_terms(order, event, time)
    return replace(
        order,
        quantity=event.quantity,
        limit_price=event.limit_price,
        stop_price=event.stop_price,
        is_suspended=order.is_suspended and not event.resumes,
        is_done_for_day=order.is_done_for_day and not event.resumes,
        times=replace(times, resume=latest(times.resume, time)) if event.resumes else times,
    )


def _with_terms(order: Order, event: OrderRestated | OrderReplaced, time: datetime | None) -> Times:
    """The times of the terms: those that the report stated are from it, if no later report stated them."""
    times = order.times
    stated = event.stated
    return replace(
        times,
        quantity=latest(times.quantity, time) if "quantity" in stated else times.quantity,
        limit_price=latest(times.limit_price, time) if "limit_price" in stated else times.limit_price,
        stop_price=latest(times.stop_price, time) if "stop_price" in stated else times.stop_price,
    )


# -- requests ----------------------------------------------------------------------------------------------------


def _cancel_requested(order: Order, event: OrderCancelRequested) -> Order:
    return _requested(order, Request(PendingRequest.CANCEL, request_id=event.request_id))


def _replace_requested(order: Order, event: OrderReplaceRequested) -> Order:
    terms = event.requested_quantity, event.requested_limit_price, event.requested_stop_price
    asked = tuple(name for name, old, new in zip(TERMS, requested_terms(order), terms, strict=True) if old != new)
    return _requested(order, Request(PendingRequest.REPLACE, *terms, asked=asked, request_id=event.request_id))


def requested_terms(order: Order) -> tuple[Decimal, Decimal | None, Decimal | None]:
    """What the next replace changes: in a chain of replaces, what the one before requests."""
    for request in reversed(order.requests):
        if request.kind is PendingRequest.REPLACE:
            if request.quantity is not None:
                return request.quantity, request.limit_price, request.stop_price
            break
    return order.quantity, order.limit_price, order.stop_price


def _requested(order: Order, request: Request) -> Order:
    number = order.request_count + 1
    return replace(order, requests=(*order.requests, replace(request, number=number)), request_count=number)


def _request_submitted(order: Order, event: OrderCancelSubmitted | OrderReplaceSubmitted) -> Order:
    kind = PendingRequest.CANCEL if isinstance(event, OrderCancelSubmitted) else PendingRequest.REPLACE
    leg = event.leg if isinstance(event, OrderReplaceSubmitted) else None
    requests = tuple(
        replace(request, attempts=event.attempt, leg=leg)
        if request.kind is kind and request.request_id == event.request_id
        else request
        for request in order.requests
    )
    return replace(order, requests=requests, leg=order.leg if leg is None else leg)


def _in_doubt(order: Order, event: OrderInDoubt) -> Order:
    return replace(order, doubts=event.doubts)


def _doubt_resolved(order: Order, event: OrderDoubtResolved) -> Order:
    return replace(order, doubts=tuple(doubt for doubt in order.doubts if doubt.doubt_id != event.doubt_id))


def _cancel_pending(order: Order, event: OrderCancelPending) -> Order:
    return _acknowledged(order, PendingRequest.CANCEL, event.request_id)


def _replace_pending(order: Order, event: OrderReplacePending) -> Order:
    return _acknowledged(order, PendingRequest.REPLACE, event.request_id)


def _replace_denied(order: Order, event: OrderReplaceDenied) -> Order:
    return order


def _cancel_rejected(order: Order, event: OrderCancelRejected) -> Order:
    left, answer, _ = _answered(order, PendingRequest.CANCEL, 1, event)
    return replace(order, requests=left, cancel_answer=answer, answered=_remembered(order.answered, event.request_id))


def _replace_rejected(order: Order, event: OrderReplaceRejected) -> Order:
    left, answer, _ = _answered(order, PendingRequest.REPLACE, 1, event)
    return replace(order, requests=left, replace_answer=answer, answered=_remembered(order.answered, event.request_id))


def _replaced(order: Order, event: OrderReplaced) -> Order:
    left, answer, number = _answered(order, PendingRequest.REPLACE, event.answered_requests, event)
    time = comparable(event.transact_time, event.counted_at)
    times = _with_terms(order, event, time)
    has_moved = event.superseded_order_id is not None
    if event.broker_order_id != order.broker_order_id:
        times = replace(times, leg=latest(times.leg, time))
    # Only an old leg had ended.
    is_revived = has_moved and order.ended_order_id not in (None, event.broker_order_id)
    return replace(
        order,
        quantity=event.quantity,
        limit_price=event.limit_price,
        stop_price=event.stop_price,
        broker_order_id=event.broker_order_id,
        stage=OrdStatus.NEW,
        final=None if is_revived else order.final,
        reason=None if is_revived else order.reason,
        ended_order_id=None if is_revived else order.ended_order_id,
        requests=left,
        replace_answer=answer,
        accepted_number=max(order.accepted_number, number),
        answered=_remembered(order.answered, event.request_id),
        superseded=_remembered(order.superseded, event.superseded_order_id or None),
        has_legs=order.has_legs or has_moved,
        times=times,
    )


def _remembered(known: tuple[str, ...], text: str | None) -> tuple[str, ...]:
    return known if text is None else (*known[-(REMEMBERED_MAX - 1) :], text)


def _acknowledged(order: Order, kind: PendingRequest, request_id: str | None) -> Order:
    """The named request, or the oldest of that kind that was not acknowledged, is now; if there is none, one was made
    elsewhere."""
    for i, request in enumerate(order.requests):
        if is_meant(request, kind, request_id) and not request.is_acknowledged:
            acknowledged = replace(request, is_acknowledged=True)
            return replace(order, requests=(*order.requests[:i], acknowledged, *order.requests[i + 1 :]))
    return _requested(order, Request(kind, is_acknowledged=True, request_id=request_id))


def is_meant(request: Request, kind: PendingRequest, request_id: str | None) -> bool:
    """Is it a request of that kind, and the named one if one is named?"""
    return request.kind is kind and (request_id is None or request.request_id == request_id)


def _answered(
    order: Order, kind: PendingRequest, count: int, event: OrderReplaced | OrderReplaceRejected | OrderCancelRejected
) -> tuple[tuple[Request, ...], Answer, int]:
    """The requests without the named one, or without the oldest ``count`` of that kind; the answer to them; the number
    of the latest of them."""
    answered: list[Request] = []
    left: list[Request] = []
    for request in order.requests:
        is_answered = len(answered) < count and is_meant(request, kind, event.request_id)
        (answered if is_answered else left).append(request)
    answer = Answer(comparable(event.transact_time, event.counted_at), bool(answered) and answered[-1].is_acknowledged)
    return tuple(left), answer, answered[-1].number if answered else 0


def answered_by(requests: tuple[Request, ...], quantity: Decimal | None, limit_price: Decimal | None) -> int:
    """How many of the outstanding replaces, the oldest first, a report answers that names none and states these terms.

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
    OrderDenied: _denied,
    OrderSubmitted: _submitted,
    OrderAccepted: _accepted,
    OrderRejected: _ended(OrdStatus.REJECTED),
    OrderCanceled: _ended(OrdStatus.CANCELED),
    OrderExpired: _ended(OrdStatus.EXPIRED),
    OrderSuspended: _suspended,
    OrderDoneForDay: _done_for_day,
    OrderRestated: _restated,
    OrderCancelRequested: _cancel_requested,
    OrderCancelSubmitted: _request_submitted,
    OrderCancelPending: _cancel_pending,
    OrderCancelRejected: _cancel_rejected,
    OrderReplaceRequested: _replace_requested,
    OrderReplaceSubmitted: _request_submitted,
    OrderReplaceDenied: _replace_denied,
    OrderReplacePending: _replace_pending,
    OrderReplaced: _replaced,
    OrderReplaceRejected: _replace_rejected,
    OrderInDoubt: _in_doubt,
    OrderDoubtResolved: _doubt_resolved,
    OrderFilled: _filled,
    FillBusted: _busted,
    FillCorrected: _corrected,
    FillConflictDetected: _conflicting,
    UnmatchedExecutionRecorded: _held,
}
