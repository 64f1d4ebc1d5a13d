"""The facts of an order book. They are a permanent contract: a shape changes only together with an upcaster.

Each event about an order repeats what a reader would otherwise have to look up (strategy, symbol, side), so that a
row of the log explains itself. It also carries the order's state after it, as an execution report does (FIX 35=8), so
that the last event of an order says what the order is. What is absent is zero, nothing, or ``CREATED``.
``transact_time`` is business time (FIX 60): the broker's if the report has one, else when the command was received.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from foldbook.eventstore.events import Event, EventTypes
from foldbook.trading.values import (
    ZERO,
    ExecType,
    OrderType,
    OrdStatus,
    PendingRequest,
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
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce
    expire_at: datetime | None = None
    transact_time: datetime | None = None


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
    overfill_qty: Decimal = ZERO
    """By how much ``cum_qty`` exceeds ``quantity``."""
    fees: dict[str, Decimal] = msgspec.field(default_factory=dict)
    """Sum of the fees of the same fills, by currency."""
    broker_order_id: str | None = None
    reason: str | None = None
    """Why the order ended: what the broker said, or the code of the risk check that denied it."""


class OrderDenied(OrderUpdate, frozen=True, kw_only=True):
    """Our own risk checks denied the order: it never left. ``reason`` names the check."""

    limit: str
    observed: str


class OrderSubmitted(OrderUpdate, frozen=True, kw_only=True):
    """The order is on its way; the broker has not decided yet (ExecType PENDING_NEW)."""


class OrderAccepted(OrderUpdate, frozen=True, kw_only=True):
    """The broker accepted the order (ExecType NEW)."""


class OrderRejected(OrderUpdate, frozen=True, kw_only=True):
    """The broker rejected the order (ExecType REJECTED)."""


class OrderCanceled(OrderUpdate, frozen=True, kw_only=True):
    """The broker took the order off the market (ExecType CANCELED), after ``cum_qty`` had traded."""


class OrderExpired(OrderUpdate, frozen=True, kw_only=True):
    """The order's time was up (ExecType EXPIRED)."""


class OrderSuspended(OrderUpdate, frozen=True, kw_only=True):
    """The order rests but cannot trade (ExecType SUSPENDED), until it is restated."""

    text: str | None = None
    """What the broker said about it (FIX 58)."""
    transact_time: datetime | None = None


class OrderDoneForDay(OrderUpdate, frozen=True, kw_only=True):
    """The order does not trade any more today (ExecType DONE_FOR_DAY), until it is restated."""

    text: str | None = None
    transact_time: datetime | None = None


class OrderRestated(OrderUpdate, frozen=True, kw_only=True):
    """The order has these terms, without a request (ExecType RESTATED): a renewal, a reduction by the venue."""

    resumes: bool = True
    """The order works again if it was suspended or done for the day."""
    text: str | None = None
    transact_time: datetime | None = None


# -- requests ----------------------------------------------------------------------------------------------------


class OrderCancelRequested(OrderUpdate, frozen=True, kw_only=True):
    """A cancel was requested; the order works on until the broker answers."""

    transact_time: datetime | None = None


class OrderCancelPending(OrderUpdate, frozen=True, kw_only=True):
    """The broker has the request and has not decided yet (ExecType PENDING_CANCEL)."""


class OrderCancelRejected(OrderUpdate, frozen=True, kw_only=True):
    """The broker rejected the cancel: the order works on (FIX 35=9)."""

    text: str | None = None
    transact_time: datetime | None = None


class OrderReplaceRequested(OrderUpdate, frozen=True, kw_only=True):
    """The ``requested_`` terms were requested, unchanged ones included. The order works on until the broker answers."""

    transact_time: datetime | None = None


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


class OrderReplaced(OrderUpdate, frozen=True, kw_only=True):
    """The broker accepted the new terms (ExecType REPLACED). A quantity below CumQty was raised to CumQty."""

    answered_requests: int = 1
    """How many of the outstanding replaces this answers, the oldest first."""
    transact_time: datetime | None = None


class OrderReplaceRejected(OrderUpdate, frozen=True, kw_only=True):
    """The broker rejected the new terms: the order works on as before (FIX 35=9)."""

    text: str | None = None
    transact_time: datetime | None = None


# -- executions --------------------------------------------------------------------------------------------------


class ExecutionEvent(OrderUpdate, frozen=True, kw_only=True):
    """An event that changes an order's CumQty and the position. Absent ``multiplier``: 1; absent currency: unknown."""

    exec_id: str
    last_qty: Decimal
    last_px: Decimal
    fee: Decimal | None = None
    fee_currency: str | None = None
    multiplier: Decimal | None = None
    base_currency: str | None = None
    quote_currency: str | None = None
    transact_time: datetime | None = None


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
    previous_fee: Decimal | None = None
    previous_fee_currency: str | None = None
    is_reversal: bool = False
    text: str | None = None


class ReportedExecution(Event, frozen=True, kw_only=True):
    """An execution that was reported but not applied: somebody has to look at it."""

    order_id: str
    exec_type: ExecType
    exec_id: str | None = None
    exec_ref_id: str | None = None
    last_qty: Decimal | None = None
    last_px: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    reason: str | None = None
    broker_order_id: str | None = None
    transact_time: datetime | None = None

    @property
    def subject(self) -> str | None:
        return self.order_id


class FillConflictDetected(ReportedExecution, frozen=True, kw_only=True):
    """A known exec_id was reported with different content. The first report stands."""


class UnmatchedExecutionRecorded(ReportedExecution, frozen=True, kw_only=True):
    """The book does not know what this refers to: the order, or the execution that ``exec_ref_id`` names. In the second
    case it is applied when that execution arrives."""


# -- the account -------------------------------------------------------------------------------------------------


class InstrumentDefined(Event, frozen=True, kw_only=True):
    """The definition of a symbol, from now on."""

    symbol: str
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    multiplier: Decimal
    base_currency: str | None = None
    quote_currency: str | None = None


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
    transact_time: datetime


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
        OrderCancelPending,
        OrderCancelRejected,
        OrderReplaceRequested,
        OrderReplaceDenied,
        OrderReplacePending,
        OrderReplaced,
        OrderReplaceRejected,
        OrderFilled,
        FillBusted,
        FillCorrected,
        FillConflictDetected,
        UnmatchedExecutionRecorded,
        InstrumentDefined,
        RiskLimitsSet,
        TradingStateChanged,
        PriceRecorded,
    )
)
