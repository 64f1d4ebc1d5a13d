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
    CollarSide,
    ExecType,
    ExecutionKind,
    InstrumentKind,
    OrderGroup,
    OrderType,
    OrdStatus,
    PendingRequest,
    Rate,
    RequestKind,
    Side,
    TimeInForce,
    TradingState,
)

Figure = Annotated[str, Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="An exact decimal.", examples=["64250.1"])]

Booking = Literal[
    "FOREIGN_ORDER",
    "LIQUIDATION",
    "ASSIGNMENT",
    "EXERCISE",
    "SETTLEMENT",
    "OPENING",
    "TRANSFER",
    "SPLIT",
    "FUNDING",
    "DIVIDEND",
    "FEE",
    "CASH",
]
"""An ``ExecutionKind`` or an ``AdjustmentKind``: msgspec does not know a union of two enums."""


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


class Denial(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which limit our own risk checks found exceeded, and what they found."""

    limit: str
    observed: str


class OrderDoubt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request about the order of which nobody knows what became of it. ``request_id``: of a cancel or a replace.
    ``attempt``: which sending of it."""

    doubt_id: str
    request: RequestKind
    request_id: str | None
    attempt: int
    reason: str | None
    since: datetime | None


class Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``overfill_qty``: by how much ``cum_qty`` exceeds ``quantity``. ``fees``: the total per currency. ``reason``: why
    the order ended, in the broker's words, or the code of the risk check that denied it.

    ``quantity`` is 0 while only the money is known that the order is to trade for, ``cash_quantity``; then
    ``leaves_cash`` is what is left of it. ``trailing_offset``: the distance at which the stop follows the market.
    """

    order_id: str
    account: str
    strategy_id: str
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    expire_at: datetime | None
    post_only: bool
    reduce_only: bool
    trailing_offset: Figure | None
    display_quantity: Figure | None
    cash_quantity: Figure | None
    group: OrderGroup | None
    quantity: Figure
    limit_price: Figure | None
    stop_price: Figure | None
    status: OrdStatus
    pending_request: PendingRequest
    requested: Terms | None
    cum_qty: Figure
    leaves_qty: Figure
    leaves_cash: Figure
    avg_px: Figure
    overfill_qty: Figure
    fees: dict[str, Figure]
    broker_order_id: str | None
    reason: str | None
    doubts: list[OrderDoubt]
    denial: Denial | None
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
    on_behalf_of: str | None
    correlation_id: str | None
    causation_id: str | None
    raw_message: str | None
    payload: dict[str, Any]


class History(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    events: list[RecordedEvent]
    next: int | None = None


class Sealed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reader can keep of a log, to notice later that it is another one. ``commit`` wrote ``position``; ``hash``
    seals it and all before it."""

    log_id: str
    position: int
    commit: int
    hash: str


class EventPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of the log. ``head``: the last position of the shard. With ``next``, ``events`` may be short or empty.
    ``sealed``: where the last event of the page was written; without events, the position after which was asked."""

    events: list[RecordedEvent]
    head: int
    sealed: Sealed
    next: int | None = None


class Fill(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fill as last corrected. ``original_...``: what was first reported; null unless the fill was corrected.

    ``kind``: what traded, if it was no order of ours; the order and the strategy are then null. ``money``: what was
    paid or received in ``currency``, which is null if it is not known: the ``gross_amount`` that the broker told, else
    last_qty * last_px * multiplier, for an INVERSE contract last_qty * multiplier / last_px. A busted fill does not
    count. ``changed_position``: the position of its bust or of its last correction.
    """

    shard: int
    position: int
    account: str
    order_id: str | None
    strategy_id: str | None
    kind: ExecutionKind | None
    symbol: str
    side: Side
    exec_id: str
    instrument_kind: InstrumentKind
    multiplier: Figure
    currency: str | None
    last_qty: Figure
    last_px: Figure
    gross_amount: Figure | None
    money: Figure
    fee: Figure | None
    fee_currency: str | None
    occurred_at: datetime
    recorded_at: datetime
    is_busted: bool
    changed_position: int | None
    original_qty: Figure | None
    original_px: Figure | None
    original_gross_amount: Figure | None
    original_fee: Figure | None
    original_fee_currency: str | None


class FillTotal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fills of a strategy, of a symbol, or of a strategy in a symbol, paid in one currency. Busted fills do not
    count.

    ``strategy_id`` is null for fills without an order of ours, too, ``currency`` if it is not known. ``bought_cost``
    and ``sold_cost``: the sum of the fills' money.
    """

    strategy_id: str | None
    symbol: str | None
    currency: str | None
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
    """A report for somebody to look at. ``type``: the type of its event.

    ``problem``: ``unmatched``, what it refers to is not known; ``conflict``, it contradicts an earlier report;
    ``time-ahead``, it told a time too far ahead of its receipt, ``transact_time``, and ``counted_at`` counts instead.
    ``exec_type`` is null for what is no execution report. ``quantity``, ``limit_price`` and ``stop_price``: the terms
    that it told. ``is_applied``: true once what it refers to came, and it was applied.
    """

    shard: int
    position: int
    type: str
    problem: Literal["unmatched", "conflict", "time-ahead"]
    account: str
    order_id: str | None
    exec_type: ExecType | None
    kind: Booking | None
    symbol: str | None
    side: Side | None
    exec_id: str | None
    exec_ref_id: str | None
    last_qty: Figure | None
    last_px: Figure | None
    gross_amount: Figure | None
    fee: Figure | None
    fee_currency: str | None
    quantity: Figure | None
    limit_price: Figure | None
    stop_price: Figure | None
    request_id: str | None
    reason: str | None
    broker_order_id: str | None
    is_applied: bool
    raw_message: str | None
    transact_time: datetime | None
    counted_at: datetime | None
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
    price_collar_side: CollarSide = CollarSide.HARMFUL
    max_position: Figure | None = None
    max_open_orders: int | None = None
    max_order_rate: Rate | None = None
    max_message_rate: Rate | None = None
    max_daily_loss: Figure | None = None
    max_unrealized_loss: Figure | None = None
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
    kind: InstrumentKind
    tick_size: Figure | None
    lot_size: Figure | None
    multiplier: Figure
    base_currency: str | None
    quote_currency: str | None
    expiry: datetime | None
    allows_negative_prices: bool
    changed_at: datetime
    last_position: int


class InstrumentPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    instruments: list[Instrument]
    next: str | None = None


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last price of a symbol that the account recorded. ``counted_at``: the time that counts, which is not
    ``occurred_at`` if that was too far ahead of the price's receipt."""

    symbol: str
    price: Figure
    occurred_at: datetime
    counted_at: datetime
    recorded_at: datetime
    last_position: int


class PricePage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prices: list[Price]
    next: str | None = None


class Position(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A position at average cost; ``quantity`` and ``cost`` are negative while short.

    ``cost``: the exact sum of quantity * price * multiplier of what is held; ``avg_px`` is derived from it.
    ``realized_pnl`` excludes fees. It and ``fees``, per currency, cover the whole life of the account. ``cycle``: how
    many times the position was opened. ``market_value`` and ``unrealized_pnl`` are at the ``last_price``, which is null
    if none was recorded, and for a position of the past. Money is in the ``settlement_currency``, which is null if it
    is not known.
    """

    account: str
    symbol: str
    kind: InstrumentKind
    quantity: Figure
    avg_px: Figure
    cost: Figure
    realized_pnl: Figure
    fees: dict[str, Figure]
    cycle: int
    multiplier: Figure
    base_currency: str | None
    quote_currency: str | None
    settlement_currency: str | None
    last_price: Figure | None
    market_value: Figure | None
    unrealized_pnl: Figure | None
    updated_at: datetime
    last_position: int


class PositionPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    positions: list[Position]
    next: str | None = None


class StrategyPosition(Position, frozen=True, kw_only=True):
    """What a strategy traded of a symbol, as if it was alone. ``strategy_id`` is null for what no strategy ordered."""

    strategy_id: str | None


class StrategyPositionPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    positions: list[StrategyPosition]
    next: str | None = None


class Cycle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A position from flat to flat, or to now: ``closed_position`` is then null. ``realized_pnl`` excludes fees."""

    cycle: int
    side: Literal["LONG", "SHORT"]
    opened_position: int | None
    opened_at: datetime | None
    closed_position: int | None
    closed_at: datetime | None
    fill_count: int
    realized_pnl: Figure
    fees: dict[str, Figure]


class CyclePage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cycles: list[Cycle]
    next: int | None = None


class PositionEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An execution or an adjustment, and the position after it: the members from ``quantity`` to ``cycle``.

    ``exec_ref_id``: the fill that a bust or a correction changes. ``is_reversal``: that fill is so old that the
    opposite fill was booked. Otherwise the position is as if the fill had never happened, or had been right at first.
    ``kind``: what was booked without an order of ours. An adjustment has a ``reference``, and what it added:
    ``adjusted_quantity`` and, unless it was a split, ``adjusted_value``.
    """

    position: int
    type: Literal[
        "OrderFilled",
        "FillBusted",
        "FillCorrected",
        "ExecutionBooked",
        "ExecutionBusted",
        "ExecutionCorrected",
        "AccountAdjusted",
    ]
    order_id: str | None
    strategy_id: str | None
    side: Side | None
    exec_id: str | None
    exec_ref_id: str | None
    is_reversal: bool
    kind: Booking | None
    last_qty: Figure | None
    last_px: Figure | None
    gross_amount: Figure | None
    fee: Figure | None
    fee_currency: str | None
    reference: str | None
    adjusted_quantity: Figure | None
    adjusted_value: Figure | None
    split_to: int | None
    split_from: int | None
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


class Lot(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a fill opened, and what is left of it: the first that was opened is closed first.

    ``quantity``, ``remaining`` and ``cost``, what remains has cost, are negative if short. ``unit_cost``: what one unit
    has cost, price * multiplier of an ordinary fill. ``realized_pnl`` is of what was closed of it, and excludes fees.
    ``order_id``, ``exec_id`` and ``price`` are null if no order of ours opened it, or no fill did.
    """

    account: str
    symbol: str
    opened_position: int
    opened_leg: int
    order_id: str | None
    exec_id: str | None
    quantity: Figure
    price: Figure | None
    unit_cost: Figure
    remaining: Figure
    cost: Figure
    realized_pnl: Figure
    opened_at: datetime
    is_open: bool
    closed_position: int | None
    closed_at: datetime | None


class LotPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    lots: list[Lot]
    next: str | None = None


class LedgerAmounts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount for each ledger account; they sum to zero.

    ``position`` and ``cash``: what the account received (positive) or gave. The others are where it came from or went:
    ``exchange`` for trades, ``fees``, ``capital`` for openings, transfers, splits and corrections of the cash,
    ``income`` for funding and dividends.
    """

    position: Figure
    cash: Figure
    exchange: Figure
    fees: Figure
    capital: Figure
    income: Figure


class LedgerEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one event moved in one currency. Entries are never changed: a bust or a correction posts the opposite.

    ``currency`` is the symbol itself, or ``<symbol>|quote`` for money, while the currency is not known.
    """

    log_position: int
    entry: int
    type: str
    kind: Booking | None
    symbol: str | None
    order_id: str | None
    exec_id: str | None
    reference: str | None
    currency: str
    amounts: LedgerAmounts
    occurred_at: datetime
    recorded_at: datetime


class LedgerPage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    entries: list[LedgerEntry]
    next: str | None = None


class Balance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sum of the ledger of an account in one currency."""

    account: str
    currency: str
    amounts: LedgerAmounts


class BalancePage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    balances: list[Balance]
    next: str | None = None
