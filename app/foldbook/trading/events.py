"""The facts of an order book. A permanent contract: a shape changes only together with an upcaster.

Each event about an order repeats what a reader would otherwise have to look up (strategy, symbol, side), so that a
row of the log reads by itself. ``cum_qty``, ``leaves_qty`` and ``pending_request`` are always those after the event.
``transact_time`` is business time (FIX 60): the broker's if it told one, else when the command was received.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from foldbook.eventstore.events import Event, EventTypes
from foldbook.trading.values import ExecType, OrderType, PendingRequest, RiskLimits, Side, TimeInForce, TradingState


class OrderBookCreated(Event, frozen=True, kw_only=True):
    user: str
    exchange: str
    broker: str


# -- one order ---------------------------------------------------------------------------------------------------


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
    transact_time: datetime | None = None


class OrderDenied(OrderEvent, frozen=True, kw_only=True):
    """Our own risk checks refused the order: it never left. ``code`` names the check."""

    code: str
    limit: str
    observed: str


class OrderSubmitted(OrderEvent, frozen=True, kw_only=True):
    """The order is on its way, the broker has not decided yet (ExecType PENDING_NEW)."""

    broker_order_id: str | None = None


class OrderAccepted(OrderEvent, frozen=True, kw_only=True):
    """The broker took the order (ExecType NEW)."""

    broker_order_id: str | None = None


class OrderRejected(OrderEvent, frozen=True, kw_only=True):
    """The broker refused the order (ExecType REJECTED)."""

    reason: str | None = None


class OrderCanceled(OrderEvent, frozen=True, kw_only=True):
    """The broker took the order off the market (ExecType CANCELED). ``cum_qty`` had traded by then."""

    cum_qty: Decimal
    reason: str | None = None


class OrderExpired(OrderEvent, frozen=True, kw_only=True):
    """The order's time was up (ExecType EXPIRED)."""

    cum_qty: Decimal
    reason: str | None = None


class OrderSuspended(OrderEvent, frozen=True, kw_only=True):
    """The order rests but cannot trade (ExecType SUSPENDED), until it is restated."""

    reason: str | None = None
    transact_time: datetime | None = None


class OrderDoneForDay(OrderEvent, frozen=True, kw_only=True):
    """The order trades no more today (ExecType DONE_FOR_DAY), until it is restated."""

    reason: str | None = None
    transact_time: datetime | None = None


class OrderRestated(OrderEvent, frozen=True, kw_only=True):
    """The order's terms are these, unasked (ExecType RESTATED): a renewal, a reduction by the venue."""

    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    cum_qty: Decimal
    leaves_qty: Decimal
    resumes: bool = True
    """The order works again if it was suspended or done for the day."""
    reason: str | None = None
    transact_time: datetime | None = None


class OrderReopened(OrderEvent, frozen=True, kw_only=True):
    """An order that the book had forgotten works again: a bust took back what had filled it. Or it may work again: the
    next event asks for more."""

    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce
    expire_at: datetime | None = None
    cum_qty: Decimal
    leaves_qty: Decimal


# -- requests ----------------------------------------------------------------------------------------------------


class OrderCancelRequested(OrderEvent, frozen=True, kw_only=True):
    """Asked for; the order works on until the broker answers."""

    pending_request: PendingRequest = PendingRequest.CANCEL
    transact_time: datetime | None = None


class OrderCancelPending(OrderEvent, frozen=True, kw_only=True):
    """The broker has the request and has not decided yet (ExecType PENDING_CANCEL)."""

    pending_request: PendingRequest = PendingRequest.CANCEL


class OrderCancelRejected(OrderEvent, frozen=True, kw_only=True):
    """The broker refused to cancel: the order works on (FIX 35=9)."""

    reason: str | None = None
    pending_request: PendingRequest = PendingRequest.NONE
    transact_time: datetime | None = None


class OrderReplaceRequested(OrderEvent, frozen=True, kw_only=True):
    """Asked for; the order works on as it was until the broker answers. All terms are told, the unchanged ones too."""

    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    pending_request: PendingRequest = PendingRequest.REPLACE
    transact_time: datetime | None = None


class OrderReplaceDenied(OrderEvent, frozen=True, kw_only=True):
    """Our own risk checks refused the replace: it never left."""

    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    code: str
    limit: str
    observed: str


class OrderReplacePending(OrderEvent, frozen=True, kw_only=True):
    """The broker has the request and has not decided yet (ExecType PENDING_REPLACE)."""

    pending_request: PendingRequest = PendingRequest.REPLACE


class OrderReplaced(OrderEvent, frozen=True, kw_only=True):
    """The broker took the new terms (ExecType REPLACED). A quantity below what had traded became that quantity."""

    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    cum_qty: Decimal
    leaves_qty: Decimal
    answers: int = 1
    """How many of the outstanding requests this answers, the oldest first."""
    broker_order_id: str | None = None
    pending_request: PendingRequest = PendingRequest.NONE
    transact_time: datetime | None = None


class OrderReplaceRejected(OrderEvent, frozen=True, kw_only=True):
    """The broker refused the new terms: the order works on as it was (FIX 35=9)."""

    reason: str | None = None
    pending_request: PendingRequest = PendingRequest.NONE
    transact_time: datetime | None = None


# -- executions --------------------------------------------------------------------------------------------------


class ExecutionEvent(OrderEvent, frozen=True, kw_only=True):
    """What changes an order's CumQty and the position. ``multiplier`` absent: 1; a currency absent: not known."""

    exec_id: str
    last_qty: Decimal
    last_px: Decimal
    fee: Decimal | None = None
    fee_currency: str | None = None
    cum_qty: Decimal
    leaves_qty: Decimal
    overfill_qty: Decimal | None = None
    """How far ``cum_qty`` exceeds the order's quantity."""
    multiplier: Decimal | None = None
    base_currency: str | None = None
    quote_currency: str | None = None
    transact_time: datetime | None = None


class OrderFilled(ExecutionEvent, frozen=True, kw_only=True):
    """Part or all of the order traded (ExecType TRADE)."""

    broker_order_id: str | None = None


class FillBusted(ExecutionEvent, frozen=True, kw_only=True):
    """A fill never was (ExecType TRADE_CANCEL). ``last_qty``, ``last_px``, ``fee`` are what is taken out.

    ``exec_ref_id`` is the exec_id of the fill's OrderFilled, whatever the broker named. ``is_reversal``: the fill is
    older than the position's window, so that the position books the opposite fill now, instead of forgetting it.
    """

    exec_ref_id: str
    is_reversal: bool = False
    reason: str | None = None


class FillCorrected(ExecutionEvent, frozen=True, kw_only=True):
    """A fill was another one (ExecType TRADE_CORRECT): ``last_qty``, ``last_px``, ``fee`` instead of ``previous_...``.

    ``exec_ref_id`` and ``is_reversal`` as in ``FillBusted``.
    """

    exec_ref_id: str
    previous_qty: Decimal
    previous_px: Decimal
    previous_fee: Decimal | None = None
    previous_fee_currency: str | None = None
    is_reversal: bool = False
    reason: str | None = None


class ReportedExecution(Event, frozen=True, kw_only=True):
    """An execution that was reported and not applied, for somebody to look at."""

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
    """An exec_id that was reported before came with other content. What was reported first stands."""


class UnmatchedExecutionRecorded(ReportedExecution, frozen=True, kw_only=True):
    """The book does not know what this is about: the order, or the execution that ``exec_ref_id`` names. In the second
    case it is applied when that execution arrives."""


# -- the account -------------------------------------------------------------------------------------------------


class InstrumentDefined(Event, frozen=True, kw_only=True):
    """What a symbol is, from now on."""

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
        OrderReopened,
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
