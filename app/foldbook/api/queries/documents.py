"""The documents that answer queries.

The SQL functions ``query_*`` build them; these types describe them, for OpenAPI and for clients.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from foldbook.trading.values import (
    Broker,
    ExecType,
    OrderType,
    OrdStatus,
    PendingRequest,
    Rate,
    Side,
    TimeInForce,
    TradingState,
)

Figure = Annotated[str, Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="An exact decimal.", examples=["64250.1"])]


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
    """The terms that a pending replace asks for."""

    quantity: Figure
    limit_price: Figure | None
    stop_price: Figure | None


class Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``overfill_qty``: by how much ``cum_qty`` exceeds ``quantity``. ``fees``: the total per currency. ``reason``: why
    the order ended, in the broker's words, or the code of the risk check that denied it."""

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
    """An account with one page of its pending orders."""

    pending_orders: list[Order]
    next: int | None = None


class OrderPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    orders: list[Order]
    next: int | None = None


class RecordedEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event with its place in the log."""

    shard: int
    position: int
    aggregate_type: str
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
    raw_message: str | None
    payload: dict[str, Any]


class History(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    events: list[RecordedEvent]
    next: int | None = None


class EventPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of the log. ``head``: the last position of the shard. With ``next``, ``events`` may be short or empty."""

    events: list[RecordedEvent]
    head: int
    next: int | None = None


class Fill(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fill as last corrected. ``original_...``: what was first reported; null unless the fill was corrected.

    A busted fill does not count. ``changed_position``: the position of its bust or of its last correction.
    """

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
    is_busted: bool
    changed_position: int | None
    original_qty: Figure | None
    original_px: Figure | None
    original_fee: Figure | None
    original_fee_currency: str | None


class FillTotal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fills of a strategy, of a symbol, or of a strategy in a symbol. Busted fills do not count.

    ``bought_cost`` and ``sold_cost``: the sum of last_qty * last_px.
    """

    strategy_id: str | None
    symbol: str | None
    fill_count: int
    bought_qty: Figure
    bought_cost: Figure
    sold_qty: Figure
    sold_cost: Figure
    fees: dict[str, Figure]


class FillPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``fills``, or ``totals`` when they are grouped."""

    fills: list[Fill] | None = None
    totals: list[FillTotal] | None = None
    next: str | None = None


class ExecutionException(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An execution that was reported but not applied. ``type``: UnmatchedExecutionRecorded or FillConflictDetected.

    ``is_applied``: true for a bust or a correction that came before its fill, and was applied once the fill came.
    """

    shard: int
    position: int
    type: str
    account: str
    order_id: str
    exec_type: ExecType
    exec_id: str | None
    exec_ref_id: str | None
    last_qty: Figure | None
    last_px: Figure | None
    fee: Figure | None
    fee_currency: str | None
    reason: str | None
    broker_order_id: str | None
    is_applied: bool
    raw_message: str | None
    occurred_at: datetime
    recorded_at: datetime


class ExecutionExceptionPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    exceptions: list[ExecutionException]
    next: int | None = None


class RiskLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An absent member does not limit anything."""

    max_quantity: Figure | None = None
    max_notional: Figure | None = None
    price_collar: Figure | None = None
    max_position: Figure | None = None
    max_open_orders: int | None = None
    max_order_rate: Rate | None = None
    max_message_rate: Rate | None = None
    max_daily_loss: Figure | None = None
    reduce_only: bool = False
    allowed_symbols: list[str] | None = None
    duplicate_window_s: int | None = None
    price_age_max_s: int | None = None


class Risk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account may do. ``reason`` and ``changed_at`` belong to the trading state.

    ``limits``: the limits of the account. ``symbols``: the limits of single symbols. Both apply.
    """

    account: str
    state: TradingState
    reason: str | None
    changed_at: datetime | None
    limits: RiskLimits
    symbols: dict[str, RiskLimits]


class Instrument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The definition of a symbol. A null ``tick_size`` or ``lot_size``: any step is valid. A null currency: unknown."""

    account: str
    symbol: str
    tick_size: Figure | None
    lot_size: Figure | None
    multiplier: Figure
    base_currency: str | None
    quote_currency: str | None
    changed_at: datetime
    last_position: int


class InstrumentPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    instruments: list[Instrument]
    next: str | None = None


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last price of a symbol that the account recorded."""

    symbol: str
    price: Figure
    occurred_at: datetime
    recorded_at: datetime
    last_position: int


class PricePage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prices: list[Price]
    next: str | None = None


class Position(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A position at average cost; ``quantity`` and ``cost`` are negative while short.

    ``cost``: the exact sum of quantity * price * multiplier of what is held; ``avg_px`` is derived from it.
    ``realized_pnl`` excludes fees. It and ``fees``, per currency, cover the whole life of the account. ``cycle``: how
    many times the position was opened.
    """

    account: str
    symbol: str
    quantity: Figure
    avg_px: Figure
    cost: Figure
    realized_pnl: Figure
    fees: dict[str, Figure]
    cycle: int
    multiplier: Figure
    base_currency: str | None
    quote_currency: str | None
    updated_at: datetime
    last_position: int


class PositionPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    positions: list[Position]
    next: str | None = None


class PositionEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An execution, and the position after it: the members from ``quantity`` to ``cycle``.

    ``exec_ref_id``: the fill that a bust or a correction changes. ``is_reversal``: that fill is so old that the
    opposite fill was booked. Otherwise the position is as if the fill had never happened, or had been right at first.
    """

    position: int
    type: Literal["OrderFilled", "FillBusted", "FillCorrected"]
    order_id: str
    strategy_id: str
    side: Side
    exec_id: str
    exec_ref_id: str | None
    is_reversal: bool
    last_qty: Figure
    last_px: Figure
    fee: Figure | None
    fee_currency: str | None
    quantity: Figure
    avg_px: Figure
    cost: Figure
    realized_pnl: Figure
    fees: dict[str, Figure]
    cycle: int
    occurred_at: datetime
    recorded_at: datetime
    command_id: UUID
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    raw_message: str | None


class PositionHistory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    executions: list[PositionEntry]
    next: int | None = None
