"""What can be asked of an order book."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from foldbook.eventstore.events import Command
from foldbook.trading.values import ONE, ExecType, OrderType, RiskLimits, Side, TimeInForce, TradingState


class BookCommand(Command, frozen=True, kw_only=True):
    """A command to the order book of ``account`` (``user/exchange/broker``)."""

    aggregate_type = "order_book"

    account: str

    @property
    def aggregate_id(self) -> str:
        return self.account


class OpenAccount(BookCommand, frozen=True, kw_only=True):
    """Opens the order book."""


class OrderCommand(BookCommand, frozen=True, kw_only=True):
    order_id: str

    @property
    def subject(self) -> str | None:
        return self.order_id


class PlaceOrder(OrderCommand, frozen=True, kw_only=True):
    """Places an order. Quantities and prices are canonical decimals (``values.canonical``)."""

    creates_subject = True

    strategy_id: str
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce
    expire_at: datetime | None = None


class RequestCancel(OrderCommand, frozen=True, kw_only=True):
    """Asks the broker to take the order off the market."""


class RequestReplace(OrderCommand, frozen=True, kw_only=True):
    """Asks the broker for another quantity or another price; what is absent stays as it is."""

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class RecordExecution(OrderCommand, frozen=True, kw_only=True):
    """Tells what the broker said happened to an order: an execution report (FIX 35=8)."""

    exec_type: ExecType
    exec_id: str | None = None
    exec_ref_id: str | None = None
    """The execution that a TRADE_CANCEL or TRADE_CORRECT is about: the original, or its latest correction."""
    last_qty: Decimal | None = None
    last_px: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    quantity: Decimal | None = None
    """OrderQty of a REPLACED or RESTATED order."""
    limit_price: Decimal | None = None
    reason: str | None = None
    broker_order_id: str | None = None
    transact_time: datetime | None = msgspec.field(default=None, name="occurred_at")

    @property
    def business_time(self) -> datetime:
        return self.transact_time or self.received_at


class DefineInstrument(BookCommand, frozen=True, kw_only=True):
    """Says what a symbol is in this account; said again, it changes. The multiplier and the currencies stay as they
    are while the account has a position or an open order in the symbol."""

    symbol: str
    tick_size: Decimal | None = None
    """Prices are multiples of it."""
    lot_size: Decimal | None = None
    """Quantities are multiples of it."""
    multiplier: Decimal = ONE
    """Units of the quote currency for one unit of quantity at a price of 1."""
    base_currency: str | None = None
    quote_currency: str | None = None


class SetRiskLimits(BookCommand, frozen=True, kw_only=True):
    """Replaces the limits of the account, or of one symbol in it. Both hold."""

    symbol: str | None = None
    limits: RiskLimits


class SetTradingState(BookCommand, frozen=True, kw_only=True):
    """Halts, restricts or resumes trading. With ``cancel_open_orders`` it is the kill switch."""

    state: TradingState
    reason: str | None = None
    cancel_open_orders: bool = False


class RecordPrice(BookCommand, frozen=True, kw_only=True):
    """The last price of a symbol, as the market data has it."""

    symbol: str
    price: Decimal
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
    SetRiskLimits,
    SetTradingState,
    RecordPrice,
)
