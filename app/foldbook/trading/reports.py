"""What the broker said happened to an order: execution reports (FIX 35=8, and 35=9 for the two rejections).

A report is a fact, and is never refused because of the order's state. In whatever sequence reports arrive, and however
often, the order ends in the same state. Of two reports that contradict each other, the later in business time wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from foldbook.eventstore.events import Event
from foldbook.trading.checks import LIMIT_TYPES, check_amount, check_positive, check_price, invalid
from foldbook.trading.commands import RecordExecution
from foldbook.trading.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderDoneForDay,
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
from foldbook.trading.order import FINAL_STATES, Answer, Order
from foldbook.trading.order_events import answered_by, event_about
from foldbook.trading.state import Book
from foldbook.trading.values import ExecType, OrderType, OrdStatus, PendingRequest

_TRADE = ExecType.TRADE  # a member looked up on its class costs as much as an addition
_REVISIONS = (ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)
_TERMS = (ExecType.REPLACED, ExecType.RESTATED)


def record_execution(command: RecordExecution, book: Book) -> Sequence[Event]:
    order = book.find(command.order_id)
    is_trade = command.exec_type is _TRADE
    if is_trade:
        _check_trade(command)
    else:
        _check_report(command, order)
    if order is None:
        return (recorded(UnmatchedExecutionRecorded, command),)
    # Looking up a rule hashes an enum, which costs as much as the rest of this function.
    return trade(command, order, book) if is_trade else _RULES[command.exec_type](command, order, book)


# -- checks ------------------------------------------------------------------------------------------------------


def _check_trade(command: RecordExecution) -> None:
    if command.exec_id is None:
        raise invalid("exec_id", "is required for exec_type TRADE")
    if command.last_qty is None:
        raise invalid("last_qty", "is required for exec_type TRADE")
    if command.last_px is None:
        raise invalid("last_px", "is required for exec_type TRADE")
    if command.exec_ref_id is not None or command.quantity is not None or command.limit_price is not None:
        for name in ("exec_ref_id", "quantity", "limit_price"):
            if getattr(command, name) is not None:
                raise invalid(name, "is not allowed for exec_type TRADE")
    _check_amounts(command)


def _check_report(command: RecordExecution, order: Order | None) -> None:
    exec_type = command.exec_type
    if exec_type in _REVISIONS:
        if command.exec_ref_id is None:
            raise invalid("exec_ref_id", f"is required for exec_type {exec_type}")
        # A fill is busted only once, so a bust needs no id.
        is_needed = exec_type is ExecType.TRADE_CORRECT and command.exec_id is None
        if is_needed or command.exec_id == command.exec_ref_id:
            raise invalid("exec_id", f"of exec_type {exec_type} must be a new id")
    else:
        for name in ("last_qty", "last_px", "fee", "fee_currency", "exec_ref_id"):
            if getattr(command, name) is not None:
                raise invalid(name, f"is not allowed for exec_type {exec_type}")
    if exec_type in _TERMS:
        if command.quantity is not None:
            check_positive("quantity", command.quantity)
        if command.limit_price is not None:
            order_type = order.created.order_type if order is not None else OrderType.LIMIT
            check_price("limit_price", command.limit_price, order_type, is_needed=order_type in LIMIT_TYPES)
    else:
        for name in ("quantity", "limit_price"):
            if getattr(command, name) is not None:
                raise invalid(name, f"is not allowed for exec_type {exec_type}")
    _check_amounts(command)


def _check_amounts(command: RecordExecution) -> None:
    if command.last_qty is not None:
        check_positive("last_qty", command.last_qty)
    if command.last_px is not None:
        check_positive("last_px", command.last_px)
    if command.fee is not None:
        check_amount("fee", command.fee)
    if (command.fee is None) != (command.fee_currency is None):
        raise invalid("fee_currency", "and fee must be given together")


# -- the order's life --------------------------------------------------------------------------------------------


def _pending_new(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if order.stage is not OrdStatus.CREATED or order.final is not None:
        return ()
    return (event_about(order, OrderSubmitted, broker_order_id=command.broker_order_id or order.broker_order_id),)


def _new(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if order.stage is OrdStatus.NEW or order.final is not None:
        return ()
    return (event_about(order, OrderAccepted, broker_order_id=command.broker_order_id or order.broker_order_id),)


def _ends(state: OrdStatus, order: Order) -> bool:
    """Has the order not ended yet, or only by a report that gives way to this one?"""
    if order.final is None:
        return True
    return order.final is not OrdStatus.DENIED and FINAL_STATES.index(state) < FINAL_STATES.index(order.final)


def _canceled(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return (event_about(order, OrderCanceled, reason=command.reason),) if _ends(OrdStatus.CANCELED, order) else ()


def _expired(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return (event_about(order, OrderExpired, reason=command.reason),) if _ends(OrdStatus.EXPIRED, order) else ()


def _rejected(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return (event_about(order, OrderRejected, reason=command.reason),) if _ends(OrdStatus.REJECTED, order) else ()


def _suspended(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if order.final is not None or order.is_suspended or _is_before(command, order.resume_time):
        return ()
    return (event_about(order, OrderSuspended, text=command.reason, transact_time=command.business_time),)


def _done_for_day(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if order.final is not None or order.is_done_for_day or _is_before(command, order.resume_time):
        return ()
    return (event_about(order, OrderDoneForDay, text=command.reason, transact_time=command.business_time),)


def _restate(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    quantity, limit_price = command.quantity, command.limit_price
    if _is_before(command, order.terms_time):
        quantity = limit_price = None  # Later terms arrived first.
    quantity = order.quantity if quantity is None else max(quantity, order.cum_qty)
    limit_price = order.limit_price if limit_price is None else limit_price
    is_same = quantity == order.quantity and limit_price == order.limit_price
    is_resting = order.is_suspended or order.is_done_for_day
    resumes = not _is_before(command, order.rest_time)
    # It is recorded even if it changes nothing now, so that an older suspension reported later changes nothing then.
    is_dated = command.transact_time is not None
    is_news = order.final is None and is_dated and (order.resume_time is None or _is_after(command, order.resume_time))
    if is_same and not (is_resting and resumes) and not is_news:
        return ()
    return (restated(order, quantity, limit_price, command.business_time, command.reason, resumes=resumes),)


# -- answers to requests -----------------------------------------------------------------------------------------


def _pending_cancel(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if not _is_news(PendingRequest.CANCEL, command, order, order.cancel_answer):
        return ()
    return (event_about(order, OrderCancelPending),)


def _pending_replace(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if not _is_news(PendingRequest.REPLACE, command, order, order.replace_answer):
        return ()
    return (event_about(order, OrderReplacePending),)


def _is_news(kind: PendingRequest, command: RecordExecution, order: Order, answer: Answer | None) -> bool:
    """Does an acknowledgement say something that was not known or answered before?"""
    outstanding = [request for request in order.requests if request.kind is kind]
    if outstanding:
        return not all(request.is_acknowledged for request in outstanding)
    if order.final is not None:
        return False
    if answer is None:
        return True
    if command.transact_time is not None and answer.time is not None:
        return command.transact_time > answer.time
    return answer.was_acknowledged


def _cancel_rejected(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if not _is_answer(PendingRequest.CANCEL, command, order, order.cancel_answer):
        return ()
    return (event_about(order, OrderCancelRejected, text=command.reason, transact_time=command.business_time),)


def _replace_rejected(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if not _is_answer(PendingRequest.REPLACE, command, order, order.replace_answer):
        return ()
    return (event_about(order, OrderReplaceRejected, text=command.reason, transact_time=command.business_time),)


def _is_answer(kind: PendingRequest, command: RecordExecution, order: Order, answer: Answer | None) -> bool:
    if any(request.kind is kind for request in order.requests):
        return True
    return order.final is None and (answer is None or _is_after(command, answer.time))


def _replaced(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    quantity, limit_price = command.quantity, command.limit_price
    has_terms = quantity is not None or limit_price is not None
    answers = answered_by(order.requests, quantity, limit_price)
    if answers == 0 and not has_terms:
        return ()
    asked = [request for request in order.requests if request.kind is PendingRequest.REPLACE]
    request = asked[answers - 1] if answers else None
    stop_price = order.stop_price
    if _is_before(command, order.terms_time):
        quantity, limit_price = order.quantity, order.limit_price  # Later terms arrived first.
    elif request is not None:
        quantity = request.quantity if quantity is None else quantity
        limit_price = request.limit_price if limit_price is None else limit_price
        stop_price = request.stop_price or stop_price
    quantity = max(order.quantity if quantity is None else quantity, order.cum_qty)
    limit_price = order.limit_price if limit_price is None else limit_price
    if answers == 0 and quantity == order.quantity and limit_price == order.limit_price:
        return ()
    return (
        event_about(
            order,
            OrderReplaced,
            quantity=quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            answered_requests=answers,
            broker_order_id=command.broker_order_id or order.broker_order_id,
            transact_time=command.business_time,
        ),
    )


def _is_before(command: RecordExecution, time: datetime | None) -> bool:
    """Does the report say that it is earlier than ``time``?"""
    return time is not None and command.transact_time is not None and command.transact_time < time


def _is_after(command: RecordExecution, time: datetime | None) -> bool:
    """Does the report say that it is later than ``time``?"""
    return time is not None and command.transact_time is not None and command.transact_time > time


_RULES: dict[ExecType, Callable[[RecordExecution, Order, Book], Sequence[Event]]] = {
    ExecType.PENDING_NEW: _pending_new,
    ExecType.NEW: _new,
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
