"""The facts of an order book. They are a permanent contract: a shape changes only together with an upcaster.

Each event about an order repeats what a reader would otherwise have to look up (strategy, symbol, side), so that a
row of the log explains itself. It also carries the order's state after it, as an execution report does (FIX 35=8):
the last event of an order says what the order is. What is absent is zero, nothing, or ``CREATED``.
``transact_time`` is business time as it was told (FIX 60). ``counted_at`` is the time that decides, if that is not
``transact_time``: when the report was received, because no time was told, or one too far ahead of that (``clock``).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from foldbook.eventstore.events import Event, EventTypes
from foldbook.trading.values import (
    ZERO,
    AdjustmentKind,
    DoubtOutcome,
    ExecType,
    ExecutionKind,
    InstrumentKind,
    OrderGroup,
    OrderType,
    OrdStatus,
    PendingRequest,
    RequestKind,
    RiskLimits,
    Side,
    TimeInForce,
    TradingState,
)


class OrderBookCreated(Event, frozen=True, kw_only=True):
    user: str
    exchange: str
    broker: str


# -- one order ---------------------------------------------------------------------------------------------------


class OrderEvent(Event, frozen=True, kw_only=True):
    """The fields that all events about one order begin with."""

    order_id: str
    strategy_id: str
    symbol: str
    side: Side

    @property
    def subject(self) -> str | None:
        return self.order_id


class OrderCreated(OrderEvent, frozen=True, kw_only=True):
    """The order as placed. The state after it is always the same: ``CREATED``, with all of its quantity left."""

    order_type: OrderType
    quantity: Decimal
    """0 for an order of ``cash_quantity``: how much that is, the broker tells."""
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce
    expire_at: datetime | None = None
    post_only: bool = False
    reduce_only: bool = False
    trailing_offset: Decimal | None = None
    """The stop follows the market at this distance; where it is, the broker tells."""
    display_quantity: Decimal | None = None
    cash_quantity: Decimal | None = None
    """The money to trade for, in the quote currency (FIX 152)."""
    estimated_quantity: Decimal | None = None
    """What ``cash_quantity`` trades at the limit price, else at the last price then: what the risk checks count."""
    group: OrderGroup | None = None
    transact_time: datetime | None = None


class Doubt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request of which nobody knows what became of it."""

    doubt_id: str
    """The id of the command that recorded it."""
    request: RequestKind
    request_id: str | None = None
    """Of a cancel or a replace: the request that is in doubt."""
    attempt: int = 1
    """Which sending of it is."""
    reason: str | None = None
    """Why it is in doubt."""
    since: datetime | None = None


class OrderUpdate(OrderEvent, frozen=True, kw_only=True):
    """An event about an existing order, with the order's state after it."""

    quantity: Decimal = ZERO
    """OrderQty; like the prices, it is the current one, not what a pending replace requests."""
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    working_state: OrdStatus = OrdStatus.CREATED
    """OrdStatus without what is pending."""
    pending_request: PendingRequest = PendingRequest.NONE
    requested_quantity: Decimal | None = None
    """Like the prices, what the latest pending replace requests. None: no replace is pending, or its terms are not
    known."""
    requested_limit_price: Decimal | None = None
    requested_stop_price: Decimal | None = None
    cum_qty: Decimal = ZERO
    cum_cost: Decimal = ZERO
    """Exact sum of last_qty * last_px of the fills, busts and corrections applied. AvgPx is ``cum_cost / cum_qty``."""
    leaves_qty: Decimal = ZERO
    """``quantity - cum_qty`` while the order may trade, else 0."""
    leaves_cash: Decimal = ZERO
    """Of an order of ``cash_quantity`` whose quantity the broker has not told: the money left while it may trade."""
    exposed_qty: Decimal | None = None
    """What the risk checks count as open: more than ``leaves_qty`` while a replace that asks for more is pending, an
    estimate while there is ``leaves_cash``. Absent: ``leaves_qty``."""
    overfill_qty: Decimal = ZERO
    """By how much ``cum_qty`` exceeds ``quantity``."""
    fees: dict[str, Decimal] = msgspec.field(default_factory=dict)
    """Sum of the fees of the same fills, by currency."""
    broker_order_id: str | None = None
    reason: str | None = None
    """Why the order ended: what the broker said, or the code of the risk check that denied it."""
    doubts: tuple[Doubt, ...] = ()
    """The requests about it that are in doubt, the oldest first."""


class OrderDenied(OrderUpdate, frozen=True, kw_only=True):
    """Our own risk checks denied the order: it never left. ``reason`` names the check."""

    limit: str
    observed: str


class OrderSubmitted(OrderUpdate, frozen=True, kw_only=True):
    """The order is about to be sent, or on its way; the broker has not decided yet (ExecType PENDING_NEW)."""

    attempt: int = 1
    """How many times it will have been sent, always under the same id."""
    client_order_id: str | None = None
    """What the broker knows it by (FIX 11)."""


class OrderAccepted(OrderUpdate, frozen=True, kw_only=True):
    """The broker accepted the order (ExecType NEW)."""


class OrderEnd(OrderUpdate, frozen=True, kw_only=True):
    """The broker ended the order."""

    ended_order_id: str | None = None
    """The id at the broker that the report named. A replace that moves the order to another id undoes the end: only the
    old leg had ended. Of several ends the first of CANCELED, EXPIRED, REJECTED stands."""


class OrderRejected(OrderEnd, frozen=True, kw_only=True):
    """The broker rejected the order (ExecType REJECTED)."""


class OrderCanceled(OrderEnd, frozen=True, kw_only=True):
    """The broker took the order off the market (ExecType CANCELED), after ``cum_qty`` had traded."""


class OrderExpired(OrderEnd, frozen=True, kw_only=True):
    """The order's time was up (ExecType EXPIRED)."""


class OrderSuspended(OrderUpdate, frozen=True, kw_only=True):
    """The order rests but cannot trade (ExecType SUSPENDED), until it is restated."""

    rested_order_id: str | None = None
    """The id at the broker that the report named: it says nothing of the order once that is an old leg."""
    text: str | None = None
    """What the broker said about it (FIX 58)."""
    transact_time: datetime | None = None
    counted_at: datetime | None = None


class OrderDoneForDay(OrderUpdate, frozen=True, kw_only=True):
    """The order does not trade any more today (ExecType DONE_FOR_DAY), until it is restated."""

    rested_order_id: str | None = None
    text: str | None = None
    transact_time: datetime | None = None
    counted_at: datetime | None = None


class OrderRestated(OrderUpdate, frozen=True, kw_only=True):
    """The order has these terms, without a request (ExecType RESTATED): a renewal, a reduction by the venue."""

    resumes: bool = True
    """The order works again if it was suspended or done for the day."""
    lasting: tuple[OrdStatus, ...] = ()
    """``SUSPENDED``, ``DONE_FOR_DAY``: that was told of a later time, and lasts."""
    stated: tuple[str, ...] = ()
    """The terms that are from this report: ``quantity``, ``limit_price``, ``stop_price``."""
    stated_quantity: Decimal | None = None
    """What the report states, if more had traded by then: that is the ``quantity``."""
    text: str | None = None
    transact_time: datetime | None = None
    counted_at: datetime | None = None


# -- requests ----------------------------------------------------------------------------------------------------


class OrderCancelRequested(OrderUpdate, frozen=True, kw_only=True):
    """A cancel was requested; the order works on until the broker answers."""

    request_id: str | None = None
    """The id of the command that requested it; the broker's answer may name it."""
    transact_time: datetime | None = None


class OrderCancelSubmitted(OrderUpdate, frozen=True, kw_only=True):
    """The requested cancel is about to be sent, or on its way."""

    request_id: str | None = None
    attempt: int = 1
    """How many times it will have been sent."""


class OrderCancelPending(OrderUpdate, frozen=True, kw_only=True):
    """The broker has the request and has not decided yet (ExecType PENDING_CANCEL)."""

    request_id: str | None = None


class OrderCancelRejected(OrderUpdate, frozen=True, kw_only=True):
    """The broker rejected the cancel: the order works on (FIX 35=9)."""

    request_id: str | None = None
    """The request that it answers; absent: the oldest of its kind."""
    text: str | None = None
    transact_time: datetime | None = None
    counted_at: datetime | None = None


class OrderReplaceRequested(OrderUpdate, frozen=True, kw_only=True):
    """The ``requested_`` terms were requested, unchanged ones included. The order works on until the broker answers."""

    request_id: str | None = None
    """The id of the command that requested it; the broker's answer may name it."""
    transact_time: datetime | None = None


class OrderReplaceSubmitted(OrderUpdate, frozen=True, kw_only=True):
    """The requested replace is about to be sent, or on its way.

    Where the broker cannot replace, it is sent as a cancel and then, as another attempt, as a new order: the order's
    next leg.
    """

    request_id: str | None = None
    attempt: int = 1
    """How many times something of it will have been sent."""
    leg: int | None = None
    """The leg that is sent. Absent: the replace itself, or the cancel of the present leg."""
    client_order_id: str | None = None
    """What the broker knows the new leg by."""


class OrderReplaceDenied(OrderUpdate, frozen=True, kw_only=True):
    """Our own risk checks denied the replace: it never left. ``denied_reason`` names the check."""

    denied_quantity: Decimal
    denied_limit_price: Decimal | None = None
    denied_stop_price: Decimal | None = None
    denied_reason: str
    limit: str
    observed: str


class OrderReplacePending(OrderUpdate, frozen=True, kw_only=True):
    """The broker has the request and has not decided yet (ExecType PENDING_REPLACE)."""

    request_id: str | None = None


class OrderReplaced(OrderUpdate, frozen=True, kw_only=True):
    """The broker accepted the new terms (ExecType REPLACED)."""

    answered_requests: int = 1
    """How many of the outstanding replaces this answers, the oldest first."""
    stated: tuple[str, ...] = ()
    """The terms that are from this report or its request: ``quantity``, ``limit_price``, ``stop_price``."""
    stated_quantity: Decimal | None = None
    """What it states, if more had traded by then: that is the ``quantity``."""
    request_id: str | None = None
    """The one request that it answers."""
    superseded_order_id: str | None = None
    """The order moved to another id at the broker, and this one is old: what is told about that leg does not end the
    order. Empty: the order had an id that nobody told."""
    transact_time: datetime | None = None
    counted_at: datetime | None = None


class OrderReplaceRejected(OrderUpdate, frozen=True, kw_only=True):
    """The broker rejected the new terms: the order works on as before (FIX 35=9)."""

    request_id: str | None = None
    """The request that it answers; absent: the oldest of its kind."""
    text: str | None = None
    transact_time: datetime | None = None
    counted_at: datetime | None = None


class OrderInDoubt(OrderUpdate, frozen=True, kw_only=True):
    """A request was sent, and nobody knows what became of it. The last of ``doubts`` is the new one."""


class OrderDoubtResolved(OrderUpdate, frozen=True, kw_only=True):
    """What became of a request that was in doubt is known, or decided."""

    doubt_id: str
    request: RequestKind
    request_id: str | None = None
    attempt: int = 1
    outcome: DoubtOutcome
    text: str | None = None


# -- executions --------------------------------------------------------------------------------------------------


class ExecutionEvent(OrderUpdate, frozen=True, kw_only=True):
    """An event that changes an order's CumQty and the position. Absent ``multiplier``: 1; absent currency: unknown."""

    exec_id: str
    last_qty: Decimal
    last_px: Decimal
    gross_amount: Decimal | None = None
    """The money of the fill as the broker rounded it (FIX 381). Absent: ``last_qty * last_px * multiplier``."""
    fee: Decimal | None = None
    fee_currency: str | None = None
    instrument_kind: InstrumentKind = InstrumentKind.SPOT
    multiplier: Decimal | None = None
    base_currency: str | None = None
    quote_currency: str | None = None
    transact_time: datetime | None = None
    counted_at: datetime | None = None

    @property
    def occurred_at(self) -> datetime | None:
        return self.transact_time or self.counted_at


class OrderFilled(ExecutionEvent, frozen=True, kw_only=True):
    """Part or all of the order traded (ExecType TRADE)."""


class FillBusted(ExecutionEvent, frozen=True, kw_only=True):
    """A fill never happened (ExecType TRADE_CANCEL). ``last_qty``, ``last_px``, ``fee`` are what is removed.

    ``exec_ref_id`` is the exec_id of the fill's OrderFilled, even if the broker named a correction. ``is_reversal``:
    the fill is older than the position's window, so the position books the opposite fill now instead of removing it.
    """

    exec_ref_id: str
    is_reversal: bool = False
    text: str | None = None


class FillCorrected(ExecutionEvent, frozen=True, kw_only=True):
    """A fill was different (ExecType TRADE_CORRECT): ``last_qty``, ``last_px``, ``fee`` instead of ``previous_...``.

    ``exec_ref_id`` and ``is_reversal`` as in ``FillBusted``.
    """

    exec_ref_id: str
    previous_qty: Decimal
    previous_px: Decimal
    previous_gross_amount: Decimal | None = None
    previous_fee: Decimal | None = None
    previous_fee_currency: str | None = None
    is_reversal: bool = False
    text: str | None = None


# -- executions without an order of ours ---------------------------------------------------------------------------


class BookedExecution(Event, frozen=True, kw_only=True):
    """An event that changes the position, and no order of ours. The fields are those of ``ExecutionEvent``."""

    kind: ExecutionKind
    symbol: str
    side: Side
    exec_id: str
    last_qty: Decimal
    last_px: Decimal
    gross_amount: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    instrument_kind: InstrumentKind = InstrumentKind.SPOT
    multiplier: Decimal | None = None
    base_currency: str | None = None
    quote_currency: str | None = None
    broker_order_id: str | None = None
    text: str | None = None
    transact_time: datetime | None = None
    counted_at: datetime | None = None

    @property
    def occurred_at(self) -> datetime | None:
        return self.transact_time or self.counted_at

    @property
    def order_id(self) -> str:
        """What the positions know it by: an id that no order of ours can have."""
        return foreign_subject(self.exec_id)

    @property
    def subject(self) -> str | None:
        return self.order_id


def foreign_subject(exec_id: str) -> str:
    """The subject of what is told about an execution without an order of ours. It is no valid order id."""
    return f"~{exec_id}"


class ExecutionBooked(BookedExecution, frozen=True, kw_only=True):
    """Something traded for the account without an order of ours: a liquidation, an assignment, a hand at the broker."""


class ExecutionBusted(BookedExecution, frozen=True, kw_only=True):
    """Such an execution never happened. The fields are as in ``FillBusted``."""

    exec_ref_id: str
    is_reversal: bool = False

    @property
    def order_id(self) -> str:
        return foreign_subject(self.exec_ref_id)


class ExecutionCorrected(BookedExecution, frozen=True, kw_only=True):
    """Such an execution was different. The fields are as in ``FillCorrected``."""

    exec_ref_id: str
    previous_qty: Decimal
    previous_px: Decimal
    previous_gross_amount: Decimal | None = None
    previous_fee: Decimal | None = None
    previous_fee_currency: str | None = None
    is_reversal: bool = False

    @property
    def order_id(self) -> str:
        return foreign_subject(self.exec_ref_id)


# -- what was told and not applied -------------------------------------------------------------------------------


class ReportedExecution(Event, frozen=True, kw_only=True):
    """A report that was not applied: somebody has to look at it. The fields are those of the report."""

    order_id: str | None = None
    exec_type: ExecType
    exec_id: str | None = None
    exec_ref_id: str | None = None
    kind: ExecutionKind | None = None
    symbol: str | None = None
    side: Side | None = None
    last_qty: Decimal | None = None
    last_px: Decimal | None = None
    gross_amount: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    request_id: str | None = None
    reason: str | None = None
    broker_order_id: str | None = None
    transact_time: datetime | None = None
    counted_at: datetime | None = None

    @property
    def occurred_at(self) -> datetime | None:
        return self.transact_time or self.counted_at

    @property
    def subject(self) -> str | None:
        if self.order_id is not None:
            return self.order_id
        return foreign_subject(self.exec_ref_id or self.exec_id or "")


class FillConflictDetected(ReportedExecution, frozen=True, kw_only=True):
    """A known exec_id was reported with different content. The first report stands."""


class UnmatchedExecutionRecorded(ReportedExecution, frozen=True, kw_only=True):
    """The book does not know what this refers to: the order, the execution ``exec_ref_id``, or the order's leg
    ``broker_order_id``. It is applied when that becomes known."""


# -- the account -------------------------------------------------------------------------------------------------


class AccountAdjusted(Event, frozen=True, kw_only=True):
    """A position or the cash of the account changed without a trade.

    A position changes by ``quantity`` (signed) and ``value``, which is the cost of that quantity; after a SPLIT it has
    ``split_to`` units for each ``split_from``, at the same cost, and ``quantity`` is the difference. Cash changes by
    ``amount`` of ``currency``; a FEE charges ``amount``.
    """

    kind: AdjustmentKind
    reference: str
    """The document that says so: a statement, a confirmation, a notice."""
    symbol: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    value: Decimal | None = None
    split_to: int | None = None
    split_from: int | None = None
    currency: str | None = None
    amount: Decimal | None = None
    instrument_kind: InstrumentKind = InstrumentKind.SPOT
    multiplier: Decimal | None = None
    base_currency: str | None = None
    quote_currency: str | None = None
    text: str | None = None
    transact_time: datetime | None = None
    counted_at: datetime | None = None

    @property
    def occurred_at(self) -> datetime | None:
        return self.transact_time or self.counted_at


class PositionMismatchDetected(Event, frozen=True, kw_only=True):
    """The broker holds something else than the book says. Until that is resolved, no order may make the position
    larger."""

    symbol: str
    expected: Decimal
    """The quantity in the book."""
    observed: Decimal
    """The quantity at the broker."""
    transact_time: datetime | None = None


class PositionMismatchResolved(Event, frozen=True, kw_only=True):
    """Broker and book agree again about the symbol."""

    symbol: str
    quantity: Decimal
    transact_time: datetime | None = None


class InstrumentDefined(Event, frozen=True, kw_only=True):
    """The definition of a symbol, from now on."""

    symbol: str
    kind: InstrumentKind = InstrumentKind.SPOT
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    multiplier: Decimal
    base_currency: str | None = None
    quote_currency: str | None = None
    expiry: datetime | None = None
    allows_negative_prices: bool = False
    put_right: tuple[str, ...] = ()
    """``base_currency``, ``quote_currency``: what was unknown while the symbol was traded. What was booked in the
    unknown unit is booked over into the currency."""


class RiskLimitsSet(Event, frozen=True, kw_only=True):
    """The limits of the account, or of one symbol in it, from now on."""

    symbol: str | None = None
    limits: RiskLimits


class TradingStateChanged(Event, frozen=True, kw_only=True):
    state: TradingState
    reason: str | None = None


class PriceRecorded(Event, frozen=True, kw_only=True):
    """The last price of a symbol."""

    symbol: str
    price: Decimal
    transact_time: datetime | None = None
    counted_at: datetime | None = None


EVENT_TYPES = EventTypes(
    (
        OrderBookCreated,
        OrderCreated,
        OrderDenied,
        OrderSubmitted,
        OrderAccepted,
        OrderRejected,
        OrderCanceled,
        OrderExpired,
        OrderSuspended,
        OrderDoneForDay,
        OrderRestated,
        OrderCancelRequested,
        OrderCancelSubmitted,
        OrderCancelPending,
        OrderCancelRejected,
        OrderReplaceRequested,
        OrderReplaceSubmitted,
        OrderReplaceDenied,
        OrderReplacePending,
        OrderReplaced,
        OrderReplaceRejected,
        OrderInDoubt,
        OrderDoubtResolved,
        OrderFilled,
        FillBusted,
        FillCorrected,
        ExecutionBooked,
        ExecutionBusted,
        ExecutionCorrected,
        FillConflictDetected,
        UnmatchedExecutionRecorded,
        AccountAdjusted,
        PositionMismatchDetected,
        PositionMismatchResolved,
        InstrumentDefined,
        RiskLimitsSet,
        TradingStateChanged,
        PriceRecorded,
    )
)
