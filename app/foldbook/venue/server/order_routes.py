"""Orders: submit, cancel, replace, and the questions about them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from litestar import Response, get, post
from litestar.params import Parameter
from msgspec import Struct

from foldbook.market.records import ns_of
from foldbook.trading.values import amount
from foldbook.venue.messages import Cancel, Replace, Submit
from foldbook.venue.records import Answer, Order
from foldbook.venue.server.bodies import CancelBody, OrderBody, ReplaceBody
from foldbook.venue.server.documents import OrderDocument, order_document, time_text
from foldbook.venue.server.problems import VenueProblem, problem_responses
from foldbook.venue.server.venue import Venue

PAGE_MAX = 1_000
Limit = Annotated[int, Parameter(ge=1, le=PAGE_MAX)]


class Orders(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``next``: where the next page begins; absent: this is the last one. ``time``: when it was so."""

    orders: list[OrderDocument]
    time: str
    next: int | None = None


@post("/orders", status_code=201, responses=problem_responses("malformed", "invalid-request", "order-rejected"))
async def submit_order(data: OrderBody, venue: Venue) -> Response[OrderDocument]:
    """Submit an order. A client order id that the account has used is the same order, which is answered with 200."""
    answer = await venue.submit(
        Submit(
            venue.now_ns(),
            data.account,
            data.client_order_id,
            data.symbol,
            data.side,
            data.order_type,
            amount(data.quantity),
            _amount(data.limit_price),
            _amount(data.stop_price),
            data.time_in_force,
            _ns(data.expire_at),
            data.post_only,
            data.reduce_only,
            _amount(data.trailing_offset),
            venue.options.deduplicates,
        )
    )
    order = _order_of(answer)
    return Response(
        order_document(order, is_duplicate=answer.is_duplicate), status_code=200 if answer.is_duplicate else 201
    )


@post(
    "/orders/{client_order_id:str}/cancel",
    status_code=200,
    responses=problem_responses("malformed", "unknown-order", "order-not-open"),
)
async def cancel_order(client_order_id: str, data: CancelBody, venue: Venue) -> OrderDocument:
    """Cancel an order."""
    answer = await venue.do(Cancel(venue.now_ns(), data.account, client_order_id, data.request_id))
    return order_document(_order_of(answer))


@post(
    "/orders/{client_order_id:str}/replace",
    status_code=200,
    responses=problem_responses("malformed", "unknown-order", "order-not-open", "replace-rejected", "unsupported"),
)
async def replace_order(client_order_id: str, data: ReplaceBody, venue: Venue) -> OrderDocument:
    """Change an order's quantity or prices."""
    if not venue.options.replaces:
        raise VenueProblem("unsupported", "this venue replaces no orders: cancel it, and submit another")
    answer = await venue.do(
        Replace(
            venue.now_ns(),
            data.account,
            client_order_id,
            data.request_id,
            _amount(data.quantity),
            _amount(data.limit_price),
            _amount(data.stop_price),
            venue.options.replace_moves_id,
        )
    )
    return order_document(_order_of(answer))


@get("/orders")
async def get_orders(
    venue: Venue,
    account: str | None = None,
    client_order_id: str | None = None,
    status: Literal["open", "all"] = "all",
    symbol: str | None = None,
    after: int = 0,
    limit: Limit = PAGE_MAX,
) -> Orders:
    """Orders in order of arrival, rejected ones included."""
    time = time_text(venue.now_ns())
    found: list[OrderDocument] = []
    next_after: int | None = None
    last = after
    for order in _candidates(venue, account, client_order_id, status == "open"):
        if order.number <= after or (symbol is not None and order.symbol != symbol):
            continue
        if len(found) == limit:
            next_after = last
            break
        found.append(order_document(order))
        last = order.number
    await venue.durable()
    return Orders(orders=found, time=time, next=next_after)


def _candidates(venue: Venue, account_name: str | None, client_order_id: str | None, is_open: bool) -> list[Order]:
    exchange = venue.exchange
    if account_name is None:
        orders = list(exchange.orders.values())
    else:
        account = exchange.accounts.get(account_name)
        if account is None:
            return []
        if client_order_id is not None:
            orders = account.by_client_id.get(client_order_id, [])
        else:
            orders = list((account.open_orders if is_open else account.orders).values())
    return [
        order
        for order in orders
        if (not is_open or order.is_open) and (client_order_id is None or order.client_order_id == client_order_id)
    ]


@get("/orders/{venue_order_id:str}", responses=problem_responses("unknown-order"))
async def get_order(venue_order_id: str, venue: Venue) -> OrderDocument:
    """An order by its venue order id, or one that it had before."""
    order = venue.exchange.order_of(venue_order_id)
    if order is None:
        raise VenueProblem("unknown-order", f"there is no order {venue_order_id}")
    document = order_document(order)
    await venue.durable()
    return document


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
    return None if time is None else ns_of(time)


ROUTES = (submit_order, cancel_order, replace_order, get_orders, get_order)
