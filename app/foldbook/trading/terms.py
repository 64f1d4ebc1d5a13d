"""The terms that a report states, and which of two reports decides.

Of two answers to requests of ours, the one to the later request; of other reports the later by the venue's clock. If
one of them told no time, the one that was received later.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from foldbook.trading.commands import RecordExecution
from foldbook.trading.facts import Request, Source
from foldbook.trading.order import Order, traded_before
from foldbook.trading.order_events import TERMS


def terms_of(command: RecordExecution, order: Order, request: Request | None) -> dict[str, Decimal]:
    """The terms that a report states itself, or by the request that it answers: without those that a later report, or
    the answer to a later request, has stated."""
    terms: dict[str, Decimal] = {}
    for name in TERMS:
        value = getattr(command, name)
        if value is None and request is not None and name in request.asked:
            value = getattr(request, name)
        if value is not None and not is_older(command, getattr(order.told, name), request):
            terms[name] = value
    return terms


def are_news(terms: dict[str, Decimal], command: RecordExecution, order: Order) -> bool:
    """Do they differ, or are they confirmed at a later time, after which an earlier one says nothing?"""
    for name, value in terms.items():
        source: Source | None = getattr(order.told, name)
        known = getattr(order, name) if source is None or name != "quantity" else source.quantity
        if known != value or is_after(command, None if source is None else source.time):
            return True
    return False


def is_older(command: RecordExecution, source: Source | None, request: Request | None = None) -> bool:
    """Is the report older than the one that something is from? The answers to two requests of ours are in the order of
    the requests; other reports in that of the venue's clock."""
    if source is None:
        return False
    if request is not None and source.number:
        return request.number < source.number
    return is_before(command, source.time)


def as_stated(terms: Mapping[str, Decimal], command: RecordExecution, order: Order) -> dict[str, Any]:
    """The terms after a report that states these. A quantity below what had traded by then is that."""
    quantity = stated = terms.get("quantity")
    if stated is not None and stated < order.cum_qty:
        source = Source(command.comparable_time, quantity=stated, executions=len(order.executions))
        quantity = max(stated, traded_before(order, source))
    return {
        "quantity": order.quantity if quantity is None else quantity,
        "limit_price": terms.get("limit_price", order.limit_price),
        "stop_price": terms.get("stop_price", order.stop_price),
        "stated": tuple(terms),
        "stated_quantity": None if quantity == stated else stated,
    }


def is_before(command: RecordExecution, time: datetime | None) -> bool:
    """Does the venue's clock say that the report is earlier than ``time``?"""
    own = command.comparable_time
    return time is not None and own is not None and own < time


def is_after(command: RecordExecution, time: datetime | None) -> bool:
    """Does the venue's clock say that the report is later than ``time``, or when nothing is known of that?"""
    own = command.comparable_time
    return own is not None and (time is None or own > time)


def times_of(command: RecordExecution) -> dict[str, datetime | None]:
    return {"transact_time": command.transact_time, "counted_at": command.counted_at}
