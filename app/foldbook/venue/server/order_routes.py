"""Orders: submit, cancel, replace, and the questions about them."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import Response, get, post
from litestar.params import Parameter
from msgspec import Struct

from foldbook.venue.records import Order
from foldbook.venue.server import orders
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
    order = await venue.durably(lambda: orders.submit(venue, data))
    return Response(order, status_code=200 if order.duplicate else 201)


@post(
    "/orders/{client_order_id:str}/cancel",
    status_code=200,
    responses=problem_responses("malformed", "unknown-order", "order-not-open"),
)
async def cancel_order(client_order_id: str, data: CancelBody, venue: Venue) -> OrderDocument:
    """Cancel an order."""
    return await venue.durably(lambda: orders.cancel(venue, client_order_id, data))


@post(
    "/orders/{client_order_id:str}/replace",
    status_code=200,
    responses=problem_responses("malformed", "unknown-order", "order-not-open", "replace-rejected", "unsupported"),
)
async def replace_order(client_order_id: str, data: ReplaceBody, venue: Venue) -> OrderDocument:
    """Change an order's quantity or prices."""
    return await venue.durably(lambda: orders.replace(venue, client_order_id, data))


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


ROUTES = (submit_order, cancel_order, replace_order, get_orders, get_order)
