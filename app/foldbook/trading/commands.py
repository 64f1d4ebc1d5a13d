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
from foldbook.trading.values import (
    ONE,
    AccountName,
    Amount,
    ExecType,
    Name,
    OrderId,
    OrderType,
    Reason,
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


class PlaceOrder(OrderCommand, frozen=True, kw_only=True):
    """Place an order."""

    declaration: ClassVar = Declaration(
        role="trader",
        calls=(Call(method="POST", path=f"{OF_ACCOUNT}/orders", creates=OF_ORDER),),
        refusals=("unknown-account", "duplicate-order"),
    )
    creates_subject = True

    strategy_id: Name
    symbol: Name
    side: Side
    order_type: OrderType
    quantity: Amount
    limit_price: Amount | None = None
    stop_price: Amount | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    """FIX 59: absent means DAY."""
    expire_at: datetime | None = None


class RequestCancel(OrderCommand, frozen=True, kw_only=True):
    """Request a cancel."""

    declaration: ClassVar = Declaration(
        role="trader",
        calls=(Call(method="POST", path=f"{OF_ORDER}/cancel", may_be_empty=True),),
        refusals=("unknown-account", "unknown-order", "order-closed", "too-many-requests"),
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


class RecordExecution(OrderCommand, frozen=True, kw_only=True):
    """Record an execution report (FIX 35=8): what the broker said happened to an order.

    A report is a fact: it is not refused because its order is closed or unknown. A report that refers to nothing known,
    or contradicts what is known, is recorded and listed by `GET .../exceptions`, so that somebody can look at it.
    """

    declaration: ClassVar = Declaration(
        role="broker",
        calls=(Call(method="POST", path=f"{OF_ACCOUNT}/execution-reports"),),
        refusals=("unknown-account",),
        carries_raw_message=True,
    )

    exec_type: ExecType
    exec_id: Text | None = None
    exec_ref_id: Text | None = None
    """The execution that a TRADE_CANCEL or TRADE_CORRECT refers to: the original, or its latest correction."""
    last_qty: Amount | None = None
    last_px: Amount | None = None
    fee: Amount | None = None
    fee_currency: Name | None = None
    quantity: Amount | None = None
    """OrderQty of a REPLACED or RESTATED order."""
    limit_price: Amount | None = None
    reason: Reason | None = None
    broker_order_id: Text | None = None
    transact_time: datetime | None = msgspec.field(default=None, name="occurred_at")

    @property
    def business_time(self) -> datetime:
        return self.transact_time or self.received_at


class DefineInstrument(BookCommand, frozen=True, kw_only=True):
    """Define a symbol in this account, or change its definition.

    If absent: prices and quantities may have any step, the multiplier is 1, the currencies are unknown. The multiplier
    and the currencies cannot change while the account has a position or an open order in the symbol.
    """

    declaration: ClassVar = Declaration(
        role="broker",
        calls=(Call(method="PUT", path=f"{OF_ACCOUNT}/instruments/{{symbol}}"),),
        refusals=("unknown-account", "instrument-in-use", "too-many-symbols"),
    )

    symbol: Symbol
    tick_size: Amount | None = None
    """Prices are multiples of it."""
    lot_size: Amount | None = None
    """Quantities are multiples of it."""
    multiplier: Amount = ONE
    """Units of the quote currency for one unit of quantity at a price of 1."""
    base_currency: Name | None = None
    quote_currency: Name | None = None


class SetRiskLimits(BookCommand, frozen=True, kw_only=True):
    """Replace all limits of the account, or those of one symbol in it. Both apply.

    A limit that is absent is removed.
    """

    declaration: ClassVar = Declaration(
        role="risk",
        calls=(Call(method="PUT", path=f"{OF_ACCOUNT}/risk"),),
        refusals=("unknown-account", "too-many-symbols"),
    )

    symbol: Name | None = None
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
    """Record the last price of a symbol. A price older than the known one changes nothing."""

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


COMMANDS: tuple[type[Command], ...] = (
    OpenAccount,
    PlaceOrder,
    RequestCancel,
    RequestReplace,
    RecordExecution,
    DefineInstrument,
    RecordPrice,
    SetRiskLimits,
    SetTradingState,
)
