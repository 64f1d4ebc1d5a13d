"""What is asked about orders, and answered, whichever way it came: over HTTP, or in a session."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from foldbook.trading.values import amount
from foldbook.venue.messages import Cancel, Replace, Submit
from foldbook.venue.records import Answer, Order
from foldbook.venue.server.bodies import CancelBody, OrderBody, ReplaceBody, ns_in
from foldbook.venue.server.documents import OrderDocument, order_document
from foldbook.venue.server.problems import VenueProblem
from foldbook.venue.server.venue import Venue


def submit(venue: Venue, asked: OrderBody) -> OrderDocument:
    """The order as it is now. It may be told when it is on disk. Raises ``VenueProblem``, as all of these."""
    answer = venue.submit(
        Submit(
            venue.now_ns(),
            asked.account,
            asked.client_order_id,
            asked.symbol,
            asked.side,
            asked.order_type,
            amount(asked.quantity),
            _amount(asked.limit_price),
            _amount(asked.stop_price),
            asked.time_in_force,
            _ns(asked.expire_at),
            asked.post_only,
            asked.reduce_only,
            _amount(asked.trailing_offset),
            venue.options.deduplicates,
        )
    )
    return order_document(_order_of(answer), is_duplicate=answer.is_duplicate)


def cancel(venue: Venue, client_order_id: str, asked: CancelBody) -> OrderDocument:
    answer = venue.apply(Cancel(venue.now_ns(), asked.account, client_order_id, asked.request_id))
    return order_document(_order_of(answer))


def replace(venue: Venue, client_order_id: str, asked: ReplaceBody) -> OrderDocument:
    if not venue.options.replaces:
        raise VenueProblem("unsupported", "this venue replaces no orders: cancel it, and submit another")
    answer = venue.apply(
        Replace(
            venue.now_ns(),
            asked.account,
            client_order_id,
            asked.request_id,
            _amount(asked.quantity),
            _amount(asked.limit_price),
            _amount(asked.stop_price),
            venue.options.replace_moves_id,
        )
    )
    return order_document(_order_of(answer))


def _order_of(answer: Answer) -> Order:
    """The order that is answered with. Raises ``VenueProblem`` for a refusal."""
    order = answer.order
    if answer.refusal is not None:
        details = {} if order is None else {"order_status": order.status, "order": order_document(order)}
        raise VenueProblem(answer.refusal, answer.reason or answer.refusal, **details)
    assert order is not None
    return order


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else amount(text)


def _ns(time: datetime | None) -> int | None:
    return None if time is None else ns_in(time)
