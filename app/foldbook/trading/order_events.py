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
from foldbook.trading.facts import Answer, End, Execution, Request, Rest, Source
from foldbook.trading.order import REMEMBERED_MAX, Order, as_told, names_of, state_of, waiting_key
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
    return replace(_known_as(order, event.broker_order_id), stage=stage, attempts=event.attempt)


def _accepted(order: Order, event: OrderAccepted) -> Order:
    return replace(_known_as(order, event.broker_order_id), stage=OrdStatus.NEW)


def _known_as(order: Order, leg_id: str | None) -> Order:
    """The order with the id that its acceptance told; a replace knows better."""
    if order.has_legs or leg_id is None:
        return order
    return replace(order, broker_order_id=leg_id, leg_id=leg_id)


def _filled(order: Order, event: OrderFilled) -> Order:
    executions, counted_at = order.executions, event.counted_at
    execution = Execution(
        _TRADE,
        event.last_qty,
        event.last_px,
        event.fee,
        event.fee_currency,
        None,
        counted_at or event.transact_time,
        event.multiplier,
        event.base_currency,
        event.quote_currency,
        event.gross_amount,
        event.instrument_kind,
        event.transact_time if counted_at is None else None,
        len(executions),
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
        executions.set(event.exec_id, execution),
        order.revised,
        order.held,
        order.cancel_answer,
        order.replace_answer,
        order.request_count,
        order.answered,
        order.superseded,
        order.leg_id,
        order.has_legs,
        order.told,
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
    return _with_end(order, End(None, OrdStatus.DENIED, event.reason))


def _ended(state: OrdStatus) -> Callable[[Order, Any], Order]:
    def end(order: Order, event: OrderEnd) -> Order:
        leg_id = event.ended_order_id
        return replace(
            _with_end(order, End(leg_id, state, event.reason)),
            broker_order_id=event.broker_order_id,
            held=_without(order.held, f"{_END_REPORTS[state]}:{leg_id}"),
        )

    return end


def _with_end(order: Order, end: End) -> Order:
    return as_told(order, replace(order.told, ends=(*order.told.ends, end)))


_END_REPORTS = {
    OrdStatus.CANCELED: ExecType.CANCELED,
    OrdStatus.EXPIRED: ExecType.EXPIRED,
    OrdStatus.REJECTED: ExecType.REJECTED,
}


def _suspended(order: Order, event: OrderSuspended) -> Order:
    return as_told(order, replace(order.told, suspended=_rest(event)))


def _done_for_day(order: Order, event: OrderDoneForDay) -> Order:
    return as_told(order, replace(order.told, done_for_day=_rest(event)))


def _rest(event: OrderSuspended | OrderDoneForDay) -> Rest:
    return Rest(event.rested_order_id, comparable(event.transact_time, event.counted_at))


def _restated(order: Order, event: OrderRestated) -> Order:
    restated = _with_terms(order, event, 0)
    if not event.resumes:
        return restated
    told, lasting = restated.told, event.lasting
    told = replace(
        told,
        suspended=told.suspended if OrdStatus.SUSPENDED in lasting else None,
        done_for_day=told.done_for_day if OrdStatus.DONE_FOR_DAY in lasting else None,
        resumed=latest(told.resumed, comparable(event.transact_time, event.counted_at)),
    )
    return as_told(restated, told)


def _with_terms(order: Order, event: OrderRestated | OrderReplaced, number: int) -> Order:
    """The order with the terms that the report stated, and where they are from. ``number``: of the request that it
    answered."""
    time, told = comparable(event.transact_time, event.counted_at), order.told
    changed = {name: _source(getattr(told, name), time, number) for name in event.stated}
    if "quantity" in changed:
        stated = event.quantity if event.stated_quantity is None else event.stated_quantity
        changed["quantity"] = replace(changed["quantity"], quantity=stated, executions=len(order.executions))
    return replace(
        order,
        quantity=event.quantity,
        limit_price=event.limit_price,
        stop_price=event.stop_price,
        told=replace(told, **changed),
    )


def _source(former: Source | None, time: datetime | None, number: int) -> Source:
    return Source(time if former is None else latest(former.time, time), number)


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
    old, leg_id = event.superseded_order_id, event.broker_order_id
    replaced = replace(
        _with_terms(order, event, number),
        broker_order_id=leg_id,
        stage=OrdStatus.NEW,
        requests=left,
        replace_answer=answer,
        answered=_remembered(order.answered, event.request_id),
        superseded=_remembered(order.superseded, old or None),
    )
    if old is None:
        return replaced
    told = replaced.told
    if leg_id != order.leg_id:
        told = replace(told, leg=_source(told.leg, comparable(event.transact_time, event.counted_at), number))
    if leg_id is not None:
        # Nothing brings an old leg back.
        told = replace(told, ends=tuple(end for end in told.ends if end.leg_id is None or end.leg_id != old))
        replaced = replace(replaced, leg_id=leg_id, has_legs=True)
    return as_told(replaced, told)


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
