"""The facts of an order book. A permanent contract: a shape changes only together with an upcaster.

Each event about an order repeats what a reader would otherwise have to look up (strategy, symbol, side), so that a
row of the log reads by itself.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from app.eventstore.events import Event, EventTypes
from app.trading.values import OrderType, Side, TimeInForce


class OrderBookCreated(Event, frozen=True, kw_only=True):
    user: str
    exchange: str
    broker: str


class OrderEvent(Event, frozen=True, kw_only=True):
    """What all events about one order say first."""

    order_id: str
    strategy_id: str
    symbol: str
    side: Side

    @property
    def subject(self) -> str | None:
        return self.order_id


class OrderCreated(OrderEvent, frozen=True, kw_only=True):
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce
    expire_at: datetime | None = None


class OrderAccepted(OrderEvent, frozen=True, kw_only=True):
    """The broker took the order (ExecType NEW)."""

    broker_order_id: str | None = None


class OrderFilled(OrderEvent, frozen=True, kw_only=True):
    """Part or all of the order traded (ExecType TRADE). ``cum_qty`` and ``leaves_qty`` are after this fill;
    ``overfill_qty`` is how far ``cum_qty`` exceeds the order's quantity."""

    exec_id: str
    last_qty: Decimal
    last_px: Decimal
    cum_qty: Decimal
    leaves_qty: Decimal
    overfill_qty: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    broker_order_id: str | None = None


class OrderCancelRequested(OrderEvent, frozen=True, kw_only=True):
    """Asked for; the order works on until the broker answers."""


class OrderCanceled(OrderEvent, frozen=True, kw_only=True):
    """The broker took the order off the market (ExecType CANCELED). ``cum_qty`` had traded by then."""

    cum_qty: Decimal
    reason: str | None = None


class OrderRejected(OrderEvent, frozen=True, kw_only=True):
    """The broker refused the order (ExecType REJECTED)."""

    reason: str | None = None


EVENT_TYPES = EventTypes(
    (
        OrderBookCreated,
        OrderCreated,
        OrderAccepted,
        OrderFilled,
        OrderCancelRequested,
        OrderCanceled,
        OrderRejected,
    )
)
