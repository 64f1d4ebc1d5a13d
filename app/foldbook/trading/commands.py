"""The commands of an order book. Each is declared here, once: its fields, who may send it, and how.

A field's type says which values it may have and how they travel (``values``); ``declaration`` says the rest
(``foldbook.eventstore.declaration``). The docstrings are the documentation of the calls.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from foldbook.eventstore.declaration import FLAT, Call, Declaration
from foldbook.eventstore.events import Command
from foldbook.trading import clock
from foldbook.trading.events import foreign_subject
from foldbook.trading.values import (
    ONE,
    AccountName,
    AdjustmentKind,
    Amount,
    Count,
    Currency,
    DoubtOutcome,
    ExecType,
    ExecutionKind,
    InstrumentKind,
    Name,
    OrderGroup,
    OrderId,
    OrderType,
    Reason,
    RequestKind,
    RiskLimits,
    Side,
    Symbol,
    Text,
    TimeInForce,
    TradingState,
)

OF_ACCOUNT = "/accounts/{account}"
OF_ORDER = f"{OF_ACCOUNT}/orders/{{order_id}}"


class BookCommand(Command, frozen=True, kw_only=True):
    """A command to the order book of ``account`` (``user/exchange/broker``)."""

    aggregate_type = "order_book"

    account: AccountName

    @property
    def aggregate_id(self) -> str:
        return self.account


class OpenAccount(BookCommand, frozen=True, kw_only=True):
    """Open the order book of an account."""

    declaration: ClassVar = Declaration(
        role="operator",
        calls=(Call(method="POST", path="/accounts", creates=OF_ACCOUNT),),
        refusals=("already-exists",),
    )


class OrderCommand(BookCommand, frozen=True, kw_only=True):
    order_id: OrderId

    @property
    def subject(self) -> str | None:
        return self.order_id


class PlaceOrder(BookCommand, frozen=True, kw_only=True):
    """Place an order.

    If our own risk checks deny it, that is recorded: the answer has the events `OrderCreated` and `OrderDenied`.
    """

    declaration: ClassVar = Declaration(
        role="trader",
        calls=(Call(method="POST", path=f"{OF_ACCOUNT}/orders", creates=OF_ORDER),),
        refusals=("unknown-account", "duplicate-order"),
    )
    creates_subject = True

    order_id: OrderId | None = None
    """Absent: the command's id."""
    strategy_id: Name
    symbol: Symbol
    side: Side
    order_type: OrderType
    quantity: Amount | None = None
    """Required, unless `cash_quantity` is given."""
    limit_price: Amount | None = None
    stop_price: Amount | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    """FIX 59: absent means DAY."""
    expire_at: datetime | None = None
    post_only: bool = False
    """Reject it rather than let it take (FIX ExecInst 6)."""
    reduce_only: bool = False
    """It may only make the position smaller (FIX ExecInst E)."""
    trailing_offset: Amount | None = None
    """The stop follows the market at this distance."""
    display_quantity: Amount | None = None
    """What the market may see of it (FIX 1138)."""
    cash_quantity: Amount | None = None
    """The money to trade for, in the quote currency, in place of a quantity (FIX 152)."""
    group: OrderGroup | None = None
    """The orders that it belongs to."""

    def __post_init__(self) -> None:
        if self.order_id is None:
            msgspec.structs.force_setattr(self, "order_id", str(self.command_id))

    @property
    def subject(self) -> str | None:
        return self.order_id


class RequestCancel(OrderCommand, frozen=True, kw_only=True):
    """Request a cancel."""

    declaration: ClassVar = Declaration(
        role="trader",
        calls=(Call(method="POST", path=f"{OF_ORDER}/cancel", may_be_empty=True),),
        refusals=("unknown-account", "unknown-order", "order-closed"),
    )


class RequestReplace(OrderCommand, frozen=True, kw_only=True):
    """Request a new quantity or new prices. What is absent does not change.

    If our own risk checks deny it, the answer has the event `OrderReplaceDenied`.
    """

    declaration: ClassVar = Declaration(
        role="trader",
        calls=(Call(method="POST", path=f"{OF_ORDER}/replace"),),
        refusals=("unknown-account", "unknown-order", "order-closed", "too-many-requests"),
    )

    quantity: Amount | None = None
    limit_price: Amount | None = None
    stop_price: Amount | None = None


class RecordExecution(BookCommand, frozen=True, kw_only=True):
    """Record an execution report (FIX 35=8): what the broker said happened to an order.

    A report is a fact: it is not refused because its order is closed or unknown. A report that refers to nothing known,
    or contradicts what is known, is recorded and listed by `GET .../exceptions`, so that somebody can look at it. What
    is told before its order is applied when the order is placed.

    Without `order_id` it is about something that traded without an order of ours, a liquidation, say: then `symbol` and
    `side` are required, and `exec_ref_id` names the first report of the fill.
    """

    declaration: ClassVar = Declaration(
        role="broker",
        calls=(Call(method="POST", path=f"{OF_ACCOUNT}/execution-reports"),),
        refusals=("unknown-account",),
        carries_raw_message=True,
    )

    order_id: OrderId | None = None
    exec_type: ExecType
    exec_id: Text | None = None
    exec_ref_id: Text | None = None
    """The execution that a TRADE_CANCEL or TRADE_CORRECT refers to: the original, or its latest correction."""
    kind: ExecutionKind | None = None
    """Why something traded without an order of ours; absent: FOREIGN_ORDER."""
    symbol: Symbol | None = None
    side: Side | None = None
    last_qty: Amount | None = None
    """0 for an execution that only carries a fee; it needs no price."""
    last_px: Amount | None = None
    gross_amount: Amount | None = None
    """The money of the fill as the broker rounded it (FIX 381)."""
    fee: Amount | None = None
    fee_currency: Currency | None = None
    quantity: Amount | None = None
    """OrderQty of a REPLACED or RESTATED order; likewise the prices."""
    limit_price: Amount | None = None
    stop_price: Amount | None = None
    request_id: Text | None = None
    """The request that it answers: the id of the command. Absent: the oldest of its kind."""
    reason: Reason | None = None
    broker_order_id: Text | None = None
    transact_time: datetime | None = msgspec.field(default=None, name="occurred_at")

    @property
    def subject(self) -> str | None:
        if self.order_id is not None:
            return self.order_id
        exec_id = self.exec_ref_id or self.exec_id
        return None if exec_id is None else foreign_subject(exec_id)

    @property
    def business_time(self) -> datetime:
        return self.transact_time or self.received_at

    @property
    def counted_at(self) -> datetime | None:
        """The time that decides, if that is not ``transact_time``."""
        return clock.counted_at(self.transact_time, self.received_at)

    @property
    def comparable_time(self) -> datetime | None:
        """The time with which other reports about the order may be compared."""
        return clock.comparable(self.transact_time, self.counted_at)


class RecordAttempt(OrderCommand, frozen=True, kw_only=True):
    """Record that something is about to be sent to the broker, before it is.

    It has events only if it is the next attempt of something that is still wanted: whoever gets none must not send.
    """

    declaration: ClassVar = Declaration(role="broker", calls=(), refusals=("unknown-account", "unknown-order"))

    request: RequestKind
    """SUBMIT, CANCEL or REPLACE."""
    request_id: Text | None = None
    """The cancel or replace."""
    attempt: Count = 1
    """Which sending of it this is: one more than there were."""
    leg: Count | None = None
    """Of a replace that is made by a new order: which of the order's legs that is."""
    client_order_id: Text | None = None


class RecordDoubt(OrderCommand, frozen=True, kw_only=True):
    """Record that nobody knows what became of an attempt.

    Of an attempt that was answered, or is in doubt already, it changes nothing.
    """

    declaration: ClassVar = Declaration(role="broker", calls=(), refusals=("unknown-account", "unknown-order"))

    request: RequestKind
    request_id: Text | None = None
    attempt: Count = 1
    reason: Reason


class ResolveDoubt(OrderCommand, frozen=True, kw_only=True):
    """Resolve a doubt by a decision.

    | outcome | the request |
    |---|---|
    | ACCEPTED | was done: the order works, is canceled, has the new terms |
    | REJECTED | was not done, and will not be: the order never arrived, works on as before |
    | RESEND | is to be sent again, if nothing stands against it: a pending cancel, a halted account, a later replace |
    """

    declaration: ClassVar = Declaration(
        role="operator", calls=(), refusals=("unknown-account", "unknown-order", "unknown-doubt", "not-sent-again")
    )

    doubt_id: Text
    outcome: DoubtOutcome
    reason: Reason | None = None


class RecordHolding(BookCommand, frozen=True, kw_only=True):
    """Record what the broker says that is held of a symbol.

    Where the book says otherwise, the two must be brought to agree before an order may make the position larger.
    """

    declaration: ClassVar = Declaration(role="broker", calls=(), refusals=("unknown-account", "too-many-symbols"))

    symbol: Symbol
    quantity: Amount


class AdjustAccount(BookCommand, frozen=True, kw_only=True):
    """Adjust a position or the cash without a trade, as a document says: a statement, a confirmation, a notice.

    | kind | takes |
    |---|---|
    | OPENING, TRANSFER | `symbol` and `quantity` (negative: a short position, or out of the account), and `price` for what is added; or `currency` and `amount` |
    | SPLIT | `symbol`, `split_to` and `split_from`: two new ones for one old one is 2 and 1 |
    | FUNDING, DIVIDEND, CASH | `currency` and `amount` (negative: paid); FUNDING and DIVIDEND may name their `symbol` |
    | FEE | `currency` and `amount` (negative: refunded) |

    What a TRANSFER takes out leaves at its average cost. It cannot be undone, only adjusted back.
    """  # noqa: E501 - a row of a table is a line

    declaration: ClassVar = Declaration(
        role="broker",
        calls=(Call(method="POST", path=f"{OF_ACCOUNT}/adjustments"),),
        refusals=("unknown-account", "no-position", "too-many-symbols"),
        carries_raw_message=True,
    )

    kind: AdjustmentKind
    reference: Text
    """The document that says so."""
    symbol: Symbol | None = None
    quantity: Amount | None = None
    price: Amount | None = None
    split_to: Count | None = None
    split_from: Count | None = None
    currency: Currency | None = None
    amount: Amount | None = None
    reason: Reason | None = None
    transact_time: datetime | None = msgspec.field(default=None, name="occurred_at")

    @property
    def business_time(self) -> datetime:
        return self.transact_time or self.received_at

    @property
    def counted_at(self) -> datetime | None:
        """The time that decides, if that is not ``transact_time``."""
        return clock.counted_at(self.transact_time, self.received_at)


class DefineInstrument(BookCommand, frozen=True, kw_only=True):
    """Define a symbol in this account, or change its definition.

    If absent: it is SPOT, prices and quantities may have any step, the multiplier is 1, the currencies are unknown. The
    kind, the multiplier and the currencies cannot change while the account has a position or an open order in the
    symbol; but a currency that is unknown can always be put right.
    """

    declaration: ClassVar = Declaration(
        role="broker",
        calls=(Call(method="PUT", path=f"{OF_ACCOUNT}/instruments/{{symbol}}"),),
        refusals=("unknown-account", "instrument-in-use", "too-many-symbols"),
    )

    symbol: Symbol
    kind: InstrumentKind = InstrumentKind.SPOT
    tick_size: Amount | None = None
    """Prices are multiples of it."""
    lot_size: Amount | None = None
    """Quantities are multiples of it."""
    multiplier: Amount = ONE
    """Units of the quote currency for one unit of quantity at a price of 1."""
    base_currency: Currency | None = None
    quote_currency: Currency | None = None
    expiry: datetime | None = None
    """From then on, orders are denied."""
    allows_negative_prices: bool = False
    """Orders may have prices of zero and below. Reports always may."""


class SetRiskLimits(BookCommand, frozen=True, kw_only=True):
    """Replace all limits of the account, or those of one symbol in it. Both apply.

    A limit that is absent is removed.
    """

    declaration: ClassVar = Declaration(
        role="risk",
        calls=(Call(method="PUT", path=f"{OF_ACCOUNT}/risk"),),
        refusals=("unknown-account", "too-many-symbols"),
    )

    symbol: Symbol | None = None
    limits: Annotated[RiskLimits, FLAT]


class SetTradingState(BookCommand, frozen=True, kw_only=True):
    """Halt, restrict or resume trading. With `cancel_open_orders` it is the kill switch."""

    declaration: ClassVar = Declaration(
        role="risk",
        calls=(
            Call(
                name="HaltTrading",
                method="POST",
                path=f"{OF_ACCOUNT}/halt",
                description="The kill switch: no order leaves any more, and a cancel of every open order is requested.",
                fixed={"state": TradingState.HALTED},
                defaults={"cancel_open_orders": True},
                may_be_empty=True,
            ),
            Call(
                name="ReduceTrading",
                method="POST",
                path=f"{OF_ACCOUNT}/reduce",
                description="Only let the account make its positions smaller.",
                fixed={"state": TradingState.REDUCING, "cancel_open_orders": False},
                may_be_empty=True,
            ),
            Call(
                name="ResumeTrading",
                method="POST",
                path=f"{OF_ACCOUNT}/resume",
                description="Let the account trade again.",
                fixed={"state": TradingState.ACTIVE, "cancel_open_orders": False},
                may_be_empty=True,
            ),
        ),
        refusals=("unknown-account",),
    )

    state: TradingState
    reason: Reason | None = None
    cancel_open_orders: bool = False


class RecordPrice(BookCommand, frozen=True, kw_only=True):
    """Record the last price of a symbol. A price older than the known one, by the same clock, changes nothing."""

    declaration: ClassVar = Declaration(
        role="broker",
        calls=(Call(method="PUT", path=f"{OF_ACCOUNT}/prices/{{symbol}}"),),
        refusals=("unknown-account", "too-many-symbols"),
    )

    symbol: Symbol
    price: Amount
    transact_time: datetime | None = msgspec.field(default=None, name="occurred_at")

    @property
    def business_time(self) -> datetime:
        return self.transact_time or self.received_at

    @property
    def counted_at(self) -> datetime | None:
        """The time that decides, if that is not ``transact_time``."""
        return clock.counted_at(self.transact_time, self.received_at)


COMMANDS: tuple[type[Command], ...] = (
    OpenAccount,
    PlaceOrder,
    RequestCancel,
    RequestReplace,
    RecordExecution,
    RecordAttempt,
    RecordDoubt,
    ResolveDoubt,
    RecordHolding,
    AdjustAccount,
    DefineInstrument,
    RecordPrice,
    SetRiskLimits,
    SetTradingState,
)
