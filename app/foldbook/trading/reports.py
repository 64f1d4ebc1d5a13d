"""What the broker said happened to an order: execution reports (FIX 35=8, and 35=9 for the two rejections).

A report is a fact, and is never refused because of the order's state or type. In whatever sequence reports arrive, and
however often, the order ends in the same state. Of two reports that contradict each other, the later by the venue's
clock wins; if it told no time, the one that was received later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from foldbook.eventstore.events import Event
from foldbook.trading import answers
from foldbook.trading.checks import check_amount, check_not_negative, check_positive, invalid
from foldbook.trading.commands import RecordExecution
from foldbook.trading.events import (
    OrderAccepted,
    OrderCanceled,
    OrderDoneForDay,
    OrderEnd,
    OrderExpired,
    OrderRejected,
    OrderRestated,
    OrderSubmitted,
    OrderSuspended,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.executions import recorded, revise, trade
from foldbook.trading.facts import Rest
from foldbook.trading.foreign import record_foreign
from foldbook.trading.groups import Cause, what_follows
from foldbook.trading.order import FINAL_STATES, Order, waiting_key
from foldbook.trading.order_events import TERMS, event_about, evolved
from foldbook.trading.state import Book, evolve
from foldbook.trading.terms import are_news, as_stated, is_after, is_before, is_older, terms_of, times_of
from foldbook.trading.values import ExecType, OrdStatus

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
    if command.broker_order_id in order.superseded and _is_of_leg_alone(command, order):
        return ()
    events = _RULES[command.exec_type](command, order, book)
    if command.exec_type is ExecType.REPLACED:
        events = (*events, *_waited_for_leg(command, order, events, book))
    if order.created.group is not None and events:
        return (*events, *what_follows(Cause(command.command_id, command.received_at), order, events, book))
    return events


def _is_of_leg_alone(command: RecordExecution, order: Order) -> bool:
    """Does a report about an old leg say nothing of the order? Terms of before the replace may still be in force."""
    if command.exec_type is ExecType.RESTATED:
        return order.told.leg is None or not is_older(command, order.told.leg)
    return command.exec_type in _OF_ONE_LEG


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
    told = command.broker_order_id
    is_news = order.stage is not OrdStatus.NEW and order.final is None
    # A fill may have told the id of a later leg, and an end no id at all.
    names_leg = order.leg_id is None and told not in (None, order.broker_order_id)
    if not is_news and not names_leg:
        return ()
    return (event_about(order, OrderAccepted, broker_order_id=told or order.broker_order_id),)


def _canceled(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return _end(command, order, OrdStatus.CANCELED, OrderCanceled)


def _expired(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return _end(command, order, OrdStatus.EXPIRED, OrderExpired)


def _rejected(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return _end(command, order, OrdStatus.REJECTED, OrderRejected)


def _end(command: RecordExecution, order: Order, state: OrdStatus, event_type: type[OrderEnd]) -> Sequence[Event]:
    told = command.broker_order_id
    if any(end.leg_id in (None, told) and not _gives_way(end.state, state) for end in order.told.ends):
        return ()
    may_count = not order.has_legs or told in (None, order.leg_id)
    if not may_count or not (order.final is None or _gives_way(order.final, state)):
        # It may be the end of a leg that the order gets by a replace that has not been told yet.
        return wait(command, tuple(order.held.values()))
    broker_order_id = order.broker_order_id or told
    return (
        event_about(order, event_type, broker_order_id=broker_order_id, reason=command.reason, ended_order_id=told),
    )


def _gives_way(known: OrdStatus, state: OrdStatus) -> bool:
    """Of two ends, does the one that is known give way to the other?"""
    return FINAL_STATES.index(state) < FINAL_STATES.index(known)


def _suspended(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return _rested(command, order, order.told.suspended, OrderSuspended)


def _done_for_day(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    return _rested(command, order, order.told.done_for_day, OrderDoneForDay)


def _rested(
    command: RecordExecution, order: Order, known: Rest | None, event_type: type[OrderSuspended | OrderDoneForDay]
) -> Sequence[Event]:
    is_news = known is None or (known.time is not None and is_after(command, known.time))
    if not is_news or is_before(command, order.told.resumed):
        return ()
    rested_order_id = command.broker_order_id
    return (event_about(order, event_type, text=command.reason, rested_order_id=rested_order_id, **times_of(command)),)


def _restate(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    terms, told = terms_of(command, order, None), order.told
    rests = {OrdStatus.SUSPENDED: told.suspended, OrdStatus.DONE_FOR_DAY: told.done_for_day}
    resting = {state: rest for state, rest in rests.items() if rest is not None}
    lasting = tuple(state for state, rest in resting.items() if is_before(command, rest.time))
    # It is recorded even if it changes nothing now, so that an older suspension reported later changes nothing then.
    is_news = is_after(command, told.resumed)
    if not are_news(terms, command, order) and len(lasting) == len(resting) and not is_news:
        return ()
    restated = event_about(
        order,
        OrderRestated,
        **as_stated(terms, command, order),
        lasting=lasting,
        text=command.reason,
        **times_of(command),
    )
    return (restated,)


# -- what waited -------------------------------------------------------------------------------------------------


def _waited_for_leg(command: RecordExecution, order: Order, events: Sequence[Event], book: Book) -> list[Event]:
    """What was told of the leg before the replace that made it."""
    for event in events:
        order, book = evolved(order, event), evolve(book, event)
    told: list[Event] = []
    for report in sorted(order.held.values(), key=waiting_key):
        if report.exec_type in _ENDS and report.broker_order_id in (None, order.leg_id):
            for event in _RULES[report.exec_type](told_again(report, command), order, book):
                told.append(event)
                order = evolved(order, event)
    return told


def told_again(report: UnmatchedExecutionRecorded, command: Any) -> RecordExecution:
    """A report that waited, as the command that it was. ``command``: what it waited for."""
    fields = {name: getattr(report, name) for name in report.__struct_fields__ if name != "counted_at"}
    return RecordExecution(
        **fields,
        command_id=command.command_id,
        received_at=report.counted_at or report.transact_time or command.received_at,
        account=command.account,
    )


_RULES: dict[ExecType, Callable[[RecordExecution, Order, Book], Sequence[Event]]] = {
    ExecType.PENDING_NEW: _pending_new,
    ExecType.NEW: _new,
    ExecType.TRADE: trade,
    ExecType.TRADE_CANCEL: revise,
    ExecType.TRADE_CORRECT: revise,
    ExecType.PENDING_CANCEL: answers.pending_cancel,
    ExecType.CANCELED: _canceled,
    ExecType.CANCEL_REJECTED: answers.cancel_rejected,
    ExecType.PENDING_REPLACE: answers.pending_replace,
    ExecType.REPLACED: answers.replaced,
    ExecType.REPLACE_REJECTED: answers.replace_rejected,
    ExecType.REJECTED: _rejected,
    ExecType.EXPIRED: _expired,
    ExecType.DONE_FOR_DAY: _done_for_day,
    ExecType.SUSPENDED: _suspended,
    ExecType.RESTATED: _restate,
}

_ENDS = (ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED)

_OF_ONE_LEG = (*_ENDS, ExecType.NEW, ExecType.PENDING_NEW, ExecType.DONE_FOR_DAY, ExecType.SUSPENDED, ExecType.RESTATED)
"""Reports that say nothing of the order if they are about an old leg of it."""
