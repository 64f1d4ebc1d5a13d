"""What is asked of a broker, as calls of the matching engine: a backtest and the port over it make the same ones."""

from __future__ import annotations

from decimal import Decimal

from foldbook.brokers.port import NewOrder
from foldbook.market.records import ns_of
from foldbook.trading.events import OrderCreated
from foldbook.venue.matching import Matching
from foldbook.venue.orders import VenueOrder, VenueReport


def submit(venue: Matching, order: OrderCreated | NewOrder, order_id: str, now_ns: int) -> list[VenueReport]:
    """The order arrives under ``order_id``."""
    return venue.submit(
        VenueOrder(
            order_id=order_id,
            symbol=order.symbol,
            side=order.side,
            order_type=order.order_type,
            quantity=order.quantity,
            limit_price=order.limit_price,
            stop_price=order.stop_price,
            time_in_force=order.time_in_force,
            expire_at_ns=None if order.expire_at is None else ns_of(order.expire_at),
            post_only=order.post_only,
            reduce_only=order.reduce_only,
            trailing_offset=order.trailing_offset,
        ),
        now_ns,
    )


def cancel(venue: Matching, order_id: str, now_ns: int, request_id: str | None) -> list[VenueReport]:
    return venue.cancel(order_id, now_ns, request_id)


def replace(
    venue: Matching,
    order_id: str,
    now_ns: int,
    request_id: str | None,
    quantity: Decimal,
    limit_price: Decimal | None,
    stop_price: Decimal | None,
) -> list[VenueReport]:
    """The terms are complete."""
    return venue.replace(
        order_id,
        now_ns,
        quantity=quantity,
        limit_price=limit_price,
        stop_price=stop_price,
        request_id=request_id,
    )
