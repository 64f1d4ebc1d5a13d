"""What the broker said happened to an order: execution reports (FIX 35=8, and 35=9 for the two rejections).

A report is a fact, and is never refused because of the order's state or type. In whatever sequence reports arrive, and
however often, the order ends in the same state. Of two reports that contradict each other, the later by the venue's
clock wins; if it told no time, the one that was received later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from foldbook.eventstore.events import Event
from foldbook.trading.checks import check_amount, check_not_negative, check_positive, invalid
from foldbook.trading.commands import RecordExecution
from foldbook.trading.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderDoneForDay,
    OrderEnd,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderSubmitted,
    OrderSuspended,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.executions import recorded, restated, revise, trade
from foldbook.trading.foreign import record_foreign
from foldbook.trading.groups import Cause, what_follows
from foldbook.trading.order import FINAL_STATES, Answer, Order, Request, waiting_key
from foldbook.trading.order_events import TERMS, answered_by, event_about, evolved, is_meant
from foldbook.trading.state import Book, evolve
from foldbook.trading.values import ExecType, OrdStatus, PendingRequest

_TRADE = ExecType.TRADE  # a member looked up on its class costs as much as an addition
_REVISIONS = (ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)
_TERMS = (ExecType.REPLACED, ExecType.RESTATED)


def record_execution(command: RecordExecution, book: Book) -> Sequence[Event]:
    is_trade = command.exec_type is _TRADE
    if is_trade:
        _check_trade(command)
    else:
        _check_report(command)
    if command.order_id is None:
        return record_foreign(command, book)
    order = book.find(command.order_id)
    if order is None:
        return wait(command, book.waiting)
    if is_trade and order.created.group is None:
        # Looking up a rule hashes an enum, which costs as much as the rest of this function.
        return trade(command, order, book)
    return apply_report(command, order, book)


def apply_report(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    """What a report does to an order that is known."""
    if command.broker_order_id in order.superseded and command.exec_type in _OF_ONE_LEG:
        return ()  # It is about a leg that a replace has superseded.
    events = _RULES[command.exec_type](command, order, book)
    if order.created.group is not None and events:
        return (*events, *what_follows(Cause(command.command_id, command.received_at), order, events, book))
    return events


def wait(command: RecordExecution, waiting: tuple[UnmatchedExecutionRecorded, ...]) -> Sequence[Event]:
    """The report waits for what it is about, unless it waits already."""
    report = recorded(UnmatchedExecutionRecorded, command)
    return () if any(is_same_report(report, known) for known in waiting) else (report,)


def is_same_report(a: UnmatchedExecutionRecorded, b: UnmatchedExecutionRecorded) -> bool:
    """Do they tell the same, whenever they were received?"""
    return msgspec.structs.replace(a, counted_at=None) == msgspec.structs.replace(b, counted_at=None)


# -- checks ------------------------------------------------------------------------------------------------------


def _check_trade(command: RecordExecution) -> None:
    if command.exec_id is None:
        raise invalid("exec_id", "is required for exec_type TRADE")
    if command.last_qty is None:
        raise invalid("last_qty", "is required for exec_type TRADE")
    if command.last_px is None and command.last_qty:
        raise invalid("last_px", "is required for exec_type TRADE")
    if (
        command.exec_ref_id is not None
        or command.quantity is not None
        or command.limit_price is not None
        or command.stop_price is not None
        or command.request_id is not None
    ):
        _check_absent(command, "exec_ref_id", *TERMS, "request_id")
    _check_amounts(command)


def _check_report(command: RecordExecution) -> None:
    exec_type = command.exec_type
    if exec_type in _REVISIONS:
        if command.exec_ref_id is None:
            raise invalid("exec_ref_id", f"is required for exec_type {exec_type}")
        # A fill is busted only once, so a bust needs no id.
        is_needed = exec_type is ExecType.TRADE_CORRECT and command.exec_id is None
        if is_needed or command.exec_id == command.exec_ref_id:
            raise invalid("exec_id", f"of exec_type {exec_type} must be a new id")
    else:
        _check_absent(command, "last_qty", "last_px", "gross_amount", "fee", "fee_currency", "exec_ref_id")
    if exec_type in _TERMS:
        if command.quantity is not None:
            check_not_negative("quantity", command.quantity)
        for name in ("limit_price", "stop_price"):
            price = getattr(command, name)
            if price is not None:
                check_amount(name, price)
    else:
        _check_absent(command, *TERMS)
    _check_amounts(command)


def _check_absent(command: RecordExecution, *names: str) -> None:
    for name in names:
        if getattr(command, name) is not None:
            raise invalid(name, f"is not allowed for exec_type {command.exec_type}")


def _check_amounts(command: RecordExecution) -> None:
    # Nothing may have traded: then it is only about a fee, or corrects a fill to nothing.
    last_qty = command.last_qty
    if last_qty is not None and (last_qty or (command.fee is None and command.exec_type is _TRADE)):
        check_positive("last_qty", last_qty)
    # A price of zero or below is a fact like any other.
    if command.last_px is not None:
        check_amount("last_px", command.last_px)
    if command.gross_amount is not None:
        check_amount("gross_amount", command.gross_amount)
    if command.fee is not None:
        check_amount("fee", command.fee)
    if (command.fee is None) != (command.fee_currency is None):
        raise invalid("fee_currency", "and fee must be given together")
    if command.kind is not None and command.order_id is not None:
        raise invalid("kind", "is only allowed without an order_id")


# -- the order's life --------------------------------------------------------------------------------------------


def _pending_new(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if order.stage is not OrdStatus.CREATED or order.final is not None:
        return ()
    return (event_about(order, OrderSubmitted, broker_order_id=command.broker_order_id or order.broker_order_id),)


def _new(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if order.stage is OrdStatus.NEW or order.final is not None:
        return ()
    return (event_about(order, OrderAccepted, broker_order_id=command.broker_order_id or order.broker_order_id),)


def _canceled(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return _end(command, order, OrdStatus.CANCELED, OrderCanceled)


def _expired(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return _end(command, order, OrdStatus.EXPIRED, OrderExpired)


def _rejected(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return _end(command, order, OrdStatus.REJECTED, OrderRejected)


def _end(command: RecordExecution, order: Order, state: OrdStatus, event_type: type[OrderEnd]) -> Sequence[Event]:
    if _is_of_unknown_leg(command.broker_order_id, order):
        return wait(command, tuple(order.held.values()))
    if not _ends(state, order):
        return ()
    return (event_about(order, event_type, reason=command.reason, ended_order_id=command.broker_order_id),)


def _is_of_unknown_leg(broker_order_id: str | None, order: Order) -> bool:
    """Is an end about a leg that the order may get, or may have had: neither its present one nor one that ended it?"""
    if broker_order_id is None:
        return False
    if order.ended_order_id is not None:
        return broker_order_id != order.ended_order_id
    return order.has_legs and broker_order_id != order.broker_order_id


def _ends(state: OrdStatus, order: Order) -> bool:
    """Has the order not ended yet, or only by a report that gives way to this one?"""
    if order.final is None:
        return True
    return order.final is not OrdStatus.DENIED and FINAL_STATES.index(state) < FINAL_STATES.index(order.final)


def _suspended(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if order.final is not None or order.is_suspended or _is_before(command, order.times.resume):
        return ()
    return (event_about(order, OrderSuspended, text=command.reason, **_time(command)),)


def _done_for_day(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if order.final is not None or order.is_done_for_day or _is_before(command, order.times.resume):
        return ()
    return (event_about(order, OrderDoneForDay, text=command.reason, **_time(command)),)


def _restate(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    terms = _terms(command, order, None)
    is_resting = order.is_suspended or order.is_done_for_day
    resumes = not _is_before(command, order.times.rest)
    time, resume_time = command.comparable_time, order.times.resume
    # It is recorded even if it changes nothing now, so that an older suspension reported later changes nothing then.
    is_news = order.final is None and time is not None and (resume_time is None or time > resume_time)
    if _is_same(terms, order) and not (is_resting and resumes) and not is_news:
        return ()
    return (restated(command, order, terms, command.reason, resumes=resumes),)


# -- answers to requests -----------------------------------------------------------------------------------------


def _pending_cancel(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if not _is_news(PendingRequest.CANCEL, command, order, order.cancel_answer):
        return ()
    return (event_about(order, OrderCancelPending, request_id=command.request_id),)


def _pending_replace(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if not _is_news(PendingRequest.REPLACE, command, order, order.replace_answer):
        return ()
    return (event_about(order, OrderReplacePending, request_id=command.request_id),)


def _is_news(kind: PendingRequest, command: RecordExecution, order: Order, answer: Answer | None) -> bool:
    """Does an acknowledgement say something that was not known or answered before?"""
    if command.request_id in order.answered:
        return False
    outstanding = [request for request in order.requests if is_meant(request, kind, command.request_id)]
    if outstanding:
        return not all(request.is_acknowledged for request in outstanding)
    if order.final is not None or any(request.kind is kind for request in order.requests):
        return False
    if answer is None:
        return True
    if command.comparable_time is not None and answer.time is not None:
        return command.comparable_time > answer.time
    return answer.was_acknowledged


def _cancel_rejected(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    answered = _answer(PendingRequest.CANCEL, command, order, order.cancel_answer)
    return () if answered is None else (event_about(order, OrderCancelRejected, text=command.reason, **answered),)


def _replace_rejected(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    answered = _answer(PendingRequest.REPLACE, command, order, order.replace_answer)
    return () if answered is None else (event_about(order, OrderReplaceRejected, text=command.reason, **answered),)


def _answer(
    kind: PendingRequest, command: RecordExecution, order: Order, answer: Answer | None
) -> dict[str, Any] | None:
    """Which request a rejection answers, and when; None: it says nothing new."""
    if command.request_id in order.answered:
        return None
    if any(is_meant(request, kind, command.request_id) for request in order.requests):
        return {"request_id": command.request_id, **_time(command)}
    is_later = answer is None or _is_after(command, answer.time)
    if order.final is None and is_later and not any(request.kind is kind for request in order.requests):
        return _time(command)
    return None


def _replaced(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if command.request_id in order.answered:
        return ()
    asked = order.pending_replaces()
    request: Request | None = None
    if any(is_meant(one, PendingRequest.REPLACE, command.request_id) for one in asked) and command.request_id:
        answers = 1
        request = next(one for one in asked if one.request_id == command.request_id)
    else:
        answers = answered_by(order.requests, command.quantity, command.limit_price)
        request = asked[answers - 1] if answers else None
    # A later request was accepted before: this one was overtaken.
    is_overtaken = request is not None and request.number < order.accepted_number
    terms = {} if is_overtaken else _terms(command, order, request)
    leg = _leg(command, order, is_overtaken=is_overtaken)
    is_news = answers > 0 or (leg["superseded_order_id"] or None) not in (None, *order.superseded)
    if not is_news and leg["broker_order_id"] == order.broker_order_id and _is_same(terms, order):
        return ()
    replaced = event_about(
        order,
        OrderReplaced,
        quantity=terms.get("quantity", order.quantity),
        limit_price=terms.get("limit_price", order.limit_price),
        stop_price=terms.get("stop_price", order.stop_price),
        stated=tuple(terms),
        answered_requests=answers,
        request_id=None if request is None else request.request_id if command.request_id else None,
        **leg,
        **_time(command),
    )
    return (replaced, *_waited_for_leg(evolved(order, replaced), evolve(book, replaced), command))


def _leg(command: RecordExecution, order: Order, *, is_overtaken: bool) -> dict[str, str | None]:
    """The order's id at the broker after a replace, and the one that is old from then on."""
    told, known = command.broker_order_id, order.broker_order_id
    if told is None or told == known:
        return {"broker_order_id": known, "superseded_order_id": None}
    if is_overtaken or told in order.superseded or _is_before(command, order.times.leg):
        return {"broker_order_id": known, "superseded_order_id": told}
    return {"broker_order_id": told, "superseded_order_id": known or ""}


def _waited_for_leg(order: Order, book: Book, command: RecordExecution) -> list[Event]:
    """What was told of the leg before the replace that made it."""
    events: list[Event] = []
    for report in sorted(order.held.values(), key=waiting_key):
        if report.exec_type in _ENDS and report.broker_order_id == order.broker_order_id is not None:
            for event in _RULES[report.exec_type](told_again(report, command), order, book):
                events.append(event)
                order = evolved(order, event)
    return events


def told_again(report: UnmatchedExecutionRecorded, command: Any) -> RecordExecution:
    """A report that waited, as the command that it was. ``command``: what it waited for."""
    fields = {name: getattr(report, name) for name in report.__struct_fields__ if name != "counted_at"}
    return RecordExecution(
        **fields,
        command_id=command.command_id,
        received_at=report.counted_at or report.transact_time or command.received_at,
        account=command.account,
    )


# -- terms and times ---------------------------------------------------------------------------------------------


def _terms(command: RecordExecution, order: Order, request: Request | None) -> dict[str, Any]:
    """The terms that a report states itself, or by the request that it answers: without those of which a later report
    was heard first. A quantity below CumQty is CumQty."""
    terms: dict[str, Any] = {}
    for name in TERMS:
        value = getattr(command, name)
        if value is None and request is not None and name in request.asked:
            value = getattr(request, name)
        if value is not None and not _is_before(command, getattr(order.times, name)):
            terms[name] = max(value, order.cum_qty) if name == "quantity" else value
    return terms


def _is_same(terms: dict[str, Any], order: Order) -> bool:
    return all(getattr(order, name) == value for name, value in terms.items())


def _time(command: RecordExecution) -> dict[str, datetime | None]:
    return {"transact_time": command.transact_time, "counted_at": command.counted_at}


def _is_before(command: RecordExecution, time: datetime | None) -> bool:
    """Does the venue's clock say that the report is earlier than ``time``?"""
    own = command.comparable_time
    return time is not None and own is not None and own < time


def _is_after(command: RecordExecution, time: datetime | None) -> bool:
    """Does the venue's clock say that the report is later than ``time``?"""
    own = command.comparable_time
    return time is not None and own is not None and own > time


_RULES: dict[ExecType, Callable[[RecordExecution, Order, Book], Sequence[Event]]] = {
    ExecType.PENDING_NEW: _pending_new,
    ExecType.NEW: _new,
    ExecType.TRADE: trade,
    ExecType.TRADE_CANCEL: revise,
    ExecType.TRADE_CORRECT: revise,
    ExecType.PENDING_CANCEL: _pending_cancel,
    ExecType.CANCELED: _canceled,
    ExecType.CANCEL_REJECTED: _cancel_rejected,
    ExecType.PENDING_REPLACE: _pending_replace,
    ExecType.REPLACED: _replaced,
    ExecType.REPLACE_REJECTED: _replace_rejected,
    ExecType.REJECTED: _rejected,
    ExecType.EXPIRED: _expired,
    ExecType.DONE_FOR_DAY: _done_for_day,
    ExecType.SUSPENDED: _suspended,
    ExecType.RESTATED: _restate,
}

_ENDS = (ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED)

_OF_ONE_LEG = (*_ENDS, ExecType.NEW, ExecType.PENDING_NEW, ExecType.DONE_FOR_DAY, ExecType.SUSPENDED, ExecType.RESTATED)
"""Reports that say nothing of the order if they are about an old leg of it."""
