"""What the broker answers to a cancel or a replace, whoever asked for it.

An answer that names its request is to that one, or to none of ours. One that names none is to the oldest of its kind,
or, if it states the terms of a later replace, to all up to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foldbook.eventstore.events import Event
from foldbook.trading.commands import RecordExecution
from foldbook.trading.events import (
    OrderCancelPending,
    OrderCancelRejected,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
)
from foldbook.trading.facts import Answer, Request
from foldbook.trading.order import Order
from foldbook.trading.order_events import answered_by, event_about, is_meant
from foldbook.trading.state import Book
from foldbook.trading.terms import are_news, as_stated, is_after, is_older, terms_of, times_of
from foldbook.trading.values import PendingRequest


def pending_cancel(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if not _is_news(PendingRequest.CANCEL, command, order, order.cancel_answer):
        return ()
    return (event_about(order, OrderCancelPending, request_id=command.request_id),)


def pending_replace(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if not _is_news(PendingRequest.REPLACE, command, order, order.replace_answer):
        return ()
    return (event_about(order, OrderReplacePending, request_id=command.request_id),)


def _is_news(kind: PendingRequest, command: RecordExecution, order: Order, answer: Answer | None) -> bool:
    """Does an acknowledgement say something that was not known or answered before?"""
    if command.request_id in order.answered:
        return False
    outstanding = _meant(kind, command, order)
    if outstanding:
        return not all(request.is_acknowledged for request in outstanding)
    if order.final is not None or any(request.kind is kind for request in order.requests):
        return False
    if answer is None:
        return True
    if command.comparable_time is not None and answer.time is not None:
        return command.comparable_time > answer.time
    return answer.was_acknowledged


def cancel_rejected(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    answered = _answer(PendingRequest.CANCEL, command, order, order.cancel_answer)
    return () if answered is None else (event_about(order, OrderCancelRejected, text=command.reason, **answered),)


def replace_rejected(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    answered = _answer(PendingRequest.REPLACE, command, order, order.replace_answer)
    return () if answered is None else (event_about(order, OrderReplaceRejected, text=command.reason, **answered),)


def _answer(
    kind: PendingRequest, command: RecordExecution, order: Order, answer: Answer | None
) -> dict[str, Any] | None:
    """Which request a rejection answers, and when; None: it says nothing new."""
    request_id = command.request_id
    if request_id in order.answered:
        return None
    if _meant(kind, command, order):
        return {"request_id": request_id, **times_of(command)}
    is_later = answer is None or (answer.time is not None and is_after(command, answer.time))
    if order.final is None and is_later and not any(request.kind is kind for request in order.requests):
        return {"request_id": request_id, **times_of(command)}
    return None


def _meant(kind: PendingRequest, command: RecordExecution, order: Order) -> list[Request]:
    """The outstanding requests that an answer may be to. When the order has ended nothing is pending; but a replace may
    undo that, so one that names its request is heard even then."""
    if order.final is not None and command.request_id is None:
        return []
    return [request for request in order.requests if is_meant(request, kind, command.request_id)]


def replaced(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    if command.request_id in order.answered:
        return ()
    asked, request = _asked(command, order)
    terms = terms_of(command, order, request)
    leg = _leg(command, order, request)
    is_new_leg = leg["superseded_order_id"] not in (None, *order.superseded)
    if not asked and not is_new_leg and not are_news(terms, command, order):
        return ()
    event = event_about(
        order,
        OrderReplaced,
        **as_stated(terms, command, order),
        answered_requests=asked,
        request_id=command.request_id,
        **leg,
        **times_of(command),
    )
    return (event,)


def _asked(command: RecordExecution, order: Order) -> tuple[int, Request | None]:
    """How many of the outstanding replaces the report answers, and the last of them, which it accepts."""
    asked = [request for request in order.requests if request.kind is PendingRequest.REPLACE]
    if command.request_id is not None:
        named = next((request for request in asked if request.request_id == command.request_id), None)
        return (0 if named is None else 1), named
    answers = answered_by(order.requests, command.quantity, command.limit_price)
    return answers, asked[answers - 1] if answers else None


def _leg(command: RecordExecution, order: Order, request: Request | None) -> dict[str, str | None]:
    """The order's id at the broker after a replace, and the one that is old from then on."""
    told, known = command.broker_order_id, order.broker_order_id
    if told is None or told == order.leg_id:
        return {"broker_order_id": known, "superseded_order_id": None}
    if told in order.superseded or is_older(command, order.told.leg, request):
        return {"broker_order_id": known, "superseded_order_id": told}
    return {"broker_order_id": told, "superseded_order_id": order.leg_id or ""}
