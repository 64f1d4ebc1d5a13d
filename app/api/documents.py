"""What HTTP answers: results of commands, and the documents that queries give.

The documents of queries are made by the SQL functions ``query_*``; these types say what they look like.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from app.api.schemas import Broker
from app.trading.values import OrderType, OrdStatus, PendingRequest, Side, TimeInForce

Figure = Annotated[str, Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="An exact decimal.", examples=["64250.1"])]


class CommandAnswer(Struct, frozen=True):
    """The result of a command: the position and the sequence of its last event."""

    account: str
    shard: int
    position: int
    sequence: int
    events: tuple[str, ...]
    command_id: UUID
    replayed: bool


class Account(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: str
    user: str
    exchange: str
    broker: Broker
    opened_at: datetime
    open_orders: int
    last_position: int
    sequence: int


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pending replace asks for."""

    quantity: Figure
    limit_price: Figure | None
    stop_price: Figure | None


class Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``overfill_qty``: how far ``cum_qty`` exceeds ``quantity``. ``fees``: their sum by currency. ``reason``: why it
    ended, in the broker's words, or the code of the risk check that denied it."""

    order_id: str
    account: str
    strategy_id: str
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    expire_at: datetime | None
    quantity: Figure
    limit_price: Figure | None
    stop_price: Figure | None
    status: OrdStatus
    pending_request: PendingRequest
    requested: Terms | None
    cum_qty: Figure
    leaves_qty: Figure
    avg_px: Figure
    overfill_qty: Figure
    fees: dict[str, Figure]
    broker_order_id: str | None
    reason: str | None
    created_at: datetime
    updated_at: datetime
    last_position: int
    sequence: int


class Book(Account, frozen=True, kw_only=True):
    """An account with its pending orders, a page of them."""

    pending_orders: list[Order]
    next: str | None = None


class OrderPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    orders: list[Order]
    next: int | None = None


class RecordedEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event with its place in the log."""

    shard: int
    position: int
    aggregate_id: str
    sequence: int
    type: str
    schema_version: int
    subject: str | None
    occurred_at: datetime
    recorded_at: datetime
    command_id: UUID
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    payload: dict[str, Any]


class History(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    events: list[RecordedEvent]
    next: int | None = None


class EventPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    events: list[RecordedEvent]
    head: int
    next: int | None = None


class Fill(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    shard: int
    position: int
    account: str
    order_id: str
    strategy_id: str
    symbol: str
    side: Side
    exec_id: str
    last_qty: Figure
    last_px: Figure
    fee: Figure | None
    fee_currency: str | None
    occurred_at: datetime
    recorded_at: datetime


class FillTotal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fills of one strategy, one symbol, or one of each. ``cost`` is the sum of last_qty * last_px."""

    strategy_id: str | None
    symbol: str | None
    fill_count: int
    bought_qty: Figure
    bought_cost: Figure
    sold_qty: Figure
    sold_cost: Figure
    fees: dict[str, Figure]


class FillPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``fills``; or, when grouped, ``totals``."""

    fills: list[Fill] | None = None
    totals: list[FillTotal] | None = None
    next: str | None = None
