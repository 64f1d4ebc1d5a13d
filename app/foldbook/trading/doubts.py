"""Attempts to send something to the broker, and the doubts that come of them.

Before anything is sent, the attempt is a fact. If nobody learns what became of it, that is a fact, too: a doubt is a
state of the order, and never a guess. It ends when a report tells, when the request is sent again under the same id, or
when a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from foldbook.errors import Refusal
from foldbook.eventstore.events import Event
from foldbook.trading.checks import invalid
from foldbook.trading.commands import (
    RecordAttempt,
    RecordDoubt,
    RecordExecution,
    RecordHolding,
    ResolveDoubt,
)
from foldbook.trading.events import (
    Doubt,
    OrderCancelSubmitted,
    OrderDoubtResolved,
    OrderInDoubt,
    OrderReplaceSubmitted,
    OrderSubmitted,
    PositionMismatchDetected,
    PositionMismatchResolved,
)
from foldbook.trading.facts import Request
from foldbook.trading.order import Order
from foldbook.trading.order_events import event_about, evolved
from foldbook.trading.reports import apply_report
from foldbook.trading.requests import known_order
from foldbook.trading.state import SYMBOLS_MAX, Book
from foldbook.trading.values import (
    ZERO,
    DoubtOutcome,
    ExecType,
    OrdStatus,
    PendingRequest,
    RequestKind,
    TradingState,
    canonical,
)

DOUBTS_MAX = 32
"""Doubts of one order. A request that fails more often stays in doubt without another record."""

_DECISIONS = (DoubtOutcome.ACCEPTED, DoubtOutcome.REJECTED, DoubtOutcome.RESEND)


# -- attempts ----------------------------------------------------------------------------------------------------


def record_attempt(command: RecordAttempt, book: Book) -> Sequence[Event]:
    order = known_order(command, book)
    if command.request is RequestKind.SUBMIT:
        return _submit(command, order, book)
    if command.request is RequestKind.STATUS:
        raise invalid("request", "must be SUBMIT, CANCEL or REPLACE: a question needs no attempt")
    request = _outstanding(order, command.request, command.request_id)
    if request is None or order.has_ended or command.attempt != request.attempts + 1:
        return ()
    if command.request is RequestKind.REPLACE and not _may_leave(command, request, order, book):
        return ()
    if command.request is RequestKind.CANCEL:
        submitted: Event = event_about(
            order, OrderCancelSubmitted, request_id=command.request_id, attempt=command.attempt
        )
    else:
        submitted = event_about(
            order,
            OrderReplaceSubmitted,
            request_id=command.request_id,
            attempt=command.attempt,
            leg=command.leg,
            client_order_id=command.client_order_id,
        )
    return _with_resent(command, order, submitted)


def _may_leave(command: RecordAttempt, request: Request, order: Order, book: Book) -> bool:
    """A replace that is sent again must not undo a later one; the new leg that was made for it, while that is the
    present one, undoes none. A new leg is an order, and leaves as one does: not against a cancel, and not again from an
    account that was halted."""
    is_present_leg = command.leg is not None and request.leg == command.leg == order.leg
    if (
        request.attempts
        and not is_present_leg
        and any(
            later.number > request.number and later.attempts
            for later in order.requests
            if later.kind is PendingRequest.REPLACE
        )
    ):
        return False
    if request.attempts and order.is_superseded(request):
        return False
    if command.leg is None:
        return True
    if order.pending_request is PendingRequest.CANCEL:
        return False
    return request.leg != command.leg or book.risk.state is not TradingState.HALTED


def _submit(command: RecordAttempt, order: Order, book: Book) -> Sequence[Event]:
    if command.attempt != order.attempts + 1 or not _is_unanswered(order):
        return ()
    # A cancel of what never left is answered without the broker, and what may have left is not sent again against it.
    if order.pending_request is PendingRequest.CANCEL:
        return ()
    if order.attempts and book.risk.state is TradingState.HALTED:
        return ()
    submitted = event_about(
        order,
        OrderSubmitted,
        broker_order_id=order.broker_order_id,
        attempt=command.attempt,
        client_order_id=command.client_order_id,
    )
    return _with_resent(command, order, submitted)


def _with_resent(command: RecordAttempt, order: Order, submitted: Event) -> Sequence[Event]:
    """The attempt, and the end of the doubt about the one before."""
    events = [submitted]
    order = evolved(order, submitted)
    for doubt in order.doubts:
        if (doubt.request, doubt.request_id) == (command.request, command.request_id):
            events.append(_resolved(order, doubt, DoubtOutcome.RESENT))
            order = evolved(order, events[-1])
    return events


def _is_unanswered(order: Order) -> bool:
    """Has the broker said nothing about the order?"""
    return order.stage in (OrdStatus.CREATED, OrdStatus.PENDING_NEW) and order.final is None and order.cum_qty == ZERO


def _outstanding(order: Order, kind: RequestKind, request_id: str | None) -> Request | None:
    for request in order.requests:
        if request.request is kind and request.request_id == request_id:
            return request
    return None


# -- doubts ------------------------------------------------------------------------------------------------------


def record_doubt(command: RecordDoubt, book: Book) -> Sequence[Event]:
    order = known_order(command, book)
    if not _may_be_in_doubt(command, order):
        return ()
    doubt = Doubt(
        doubt_id=str(command.command_id),
        request=command.request,
        request_id=command.request_id,
        attempt=command.attempt,
        reason=command.reason,
        since=command.received_at,
    )
    return (event_about(order, OrderInDoubt, doubts=(*order.doubts, doubt)),)


def _may_be_in_doubt(command: RecordDoubt, order: Order) -> bool:
    if len(order.doubts) >= DOUBTS_MAX or order.is_in_doubt(command.request, command.request_id):
        return False
    if command.request is RequestKind.SUBMIT:
        return _is_unanswered(order) and 0 < command.attempt == order.attempts
    if command.request is RequestKind.STATUS:
        return order.is_live
    request = _outstanding(order, command.request, command.request_id)
    return request is not None and not order.has_ended and 0 < command.attempt == request.attempts


def answered_doubts(order: Order, events: Iterable[Event]) -> Sequence[Event]:
    """The ends of the doubts that a report's events have answered. ``order``: before them."""
    for event in events:
        if event.subject == order.created.order_id:
            order = evolved(order, event)
    resolved = []
    for doubt in order.doubts:
        if not _stands(doubt, order):
            resolved.append(_resolved(order, doubt, DoubtOutcome.ANSWERED))
            order = evolved(order, resolved[-1])
    return resolved


def _stands(doubt: Doubt, order: Order) -> bool:
    """Is it still not known what became of the request?"""
    if doubt.request is RequestKind.SUBMIT:
        return _is_unanswered(order)
    if doubt.request is RequestKind.STATUS:
        return order.is_live
    return not order.has_ended and _outstanding(order, doubt.request, doubt.request_id) is not None


def _resolved(order: Order, doubt: Doubt, outcome: DoubtOutcome, text: str | None = None) -> OrderDoubtResolved:
    return event_about(
        order,
        OrderDoubtResolved,
        doubt_id=doubt.doubt_id,
        request=doubt.request,
        request_id=doubt.request_id,
        attempt=doubt.attempt,
        outcome=outcome,
        text=text,
    )


# -- decisions ---------------------------------------------------------------------------------------------------


def resolve_doubt(command: ResolveDoubt, book: Book) -> Sequence[Event]:
    if command.outcome not in _DECISIONS:
        raise invalid("outcome", f"must be one of {', '.join(_DECISIONS)}")
    order = known_order(command, book)
    doubt = next((doubt for doubt in order.doubts if doubt.doubt_id == command.doubt_id), None)
    if doubt is None:
        raise Refusal("unknown-doubt", f"order {command.order_id} has no doubt {command.doubt_id}: it may be resolved")
    if command.outcome is DoubtOutcome.RESEND and doubt.request is RequestKind.STATUS:
        raise invalid("outcome", "RESEND is not allowed: the broker had the order")
    if command.outcome is DoubtOutcome.RESEND and not record_attempt(_again(command, order, doubt), book):
        raise Refusal("not-sent-again", f"the {doubt.request} would not be sent: {_why_not_again(order, book)}")
    resolved = _resolved(order, doubt, command.outcome, command.reason)
    events: list[Event] = [resolved]
    exec_type = _AS_REPORT.get((doubt.request, command.outcome))
    if exec_type is not None:
        request = _outstanding(order, doubt.request, doubt.request_id)
        order = evolved(order, resolved)
        events += _as_told(command, order, book, exec_type, doubt.request_id)
        if exec_type is ExecType.REPLACE_REJECTED and request is not None and request.leg is not None:
            # The old leg was canceled for the new one: nothing of the order is left at the broker.
            for event in events[1:]:
                order = evolved(order, event)
            events += _as_told(command, order, book, ExecType.CANCELED, None)
    return events


def _again(command: ResolveDoubt, order: Order, doubt: Doubt) -> RecordAttempt:
    """What follows from the decision, so that a doubt does not end with nothing."""
    request = _outstanding(order, doubt.request, doubt.request_id)
    return RecordAttempt(
        command_id=command.command_id,
        received_at=command.received_at,
        account=command.account,
        order_id=command.order_id,
        request=doubt.request,
        request_id=doubt.request_id,
        attempt=(order.attempts if request is None else request.attempts) + 1,
        leg=None if request is None else request.leg,
    )


def _why_not_again(order: Order, book: Book) -> str:
    if order.pending_request is PendingRequest.CANCEL:
        return "a cancel of the order is pending"
    return "the account is halted" if book.risk.state is TradingState.HALTED else "a later replace was sent"


def _as_told(
    command: ResolveDoubt, order: Order, book: Book, exec_type: ExecType, request_id: str | None
) -> Sequence[Event]:
    """What a report would have done that tells what the person says."""
    report = RecordExecution(
        command_id=command.command_id,
        received_at=command.received_at,
        account=command.account,
        order_id=command.order_id,
        exec_type=exec_type,
        request_id=request_id,
        reason=command.reason if exec_type not in (ExecType.NEW, ExecType.REPLACED) else None,
    )
    told = apply_report(report, order, book)
    return (*told, *answered_doubts(order, told))


_AS_REPORT = {
    (RequestKind.SUBMIT, DoubtOutcome.ACCEPTED): ExecType.NEW,
    (RequestKind.SUBMIT, DoubtOutcome.REJECTED): ExecType.REJECTED,
    (RequestKind.CANCEL, DoubtOutcome.ACCEPTED): ExecType.CANCELED,
    (RequestKind.CANCEL, DoubtOutcome.REJECTED): ExecType.CANCEL_REJECTED,
    (RequestKind.REPLACE, DoubtOutcome.ACCEPTED): ExecType.REPLACED,
    (RequestKind.REPLACE, DoubtOutcome.REJECTED): ExecType.REPLACE_REJECTED,
    (RequestKind.STATUS, DoubtOutcome.REJECTED): ExecType.CANCELED,
}
"""What a decision says, as the report that never came. A STATUS that is ACCEPTED changes nothing: the order works."""


# -- what is held ------------------------------------------------------------------------------------------------


def record_holding(command: RecordHolding, book: Book) -> Sequence[Event]:
    symbol, observed = command.symbol, canonical(command.quantity)
    expected = canonical(book.position_qty(symbol))
    known = book.risk.mismatches.get(symbol)
    if observed == expected:
        if known is None:
            return ()
        return (PositionMismatchResolved(symbol=symbol, quantity=observed, transact_time=command.received_at),)
    if known is not None and (known.expected, known.observed) == (expected, observed):
        return ()
    if known is None and len(book.risk.mismatches) >= SYMBOLS_MAX:
        raise Refusal("too-many-symbols", f"an account may have at most {SYMBOLS_MAX} symbols")
    return (
        PositionMismatchDetected(
            symbol=symbol, expected=expected, observed=observed, transact_time=command.received_at
        ),
    )
