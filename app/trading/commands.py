"""What can be asked of an order book."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from app.eventstore.events import Command
from app.trading.values import ExecType, OrderType, Side, TimeInForce


class BookCommand(Command, frozen=True, kw_only=True):
    """A command to the order book of ``account`` (``user/exchange/broker``)."""

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


class RecordExecution(OrderCommand, frozen=True, kw_only=True):
    """Tells what the broker said happened to an order: an execution report (FIX 35=8)."""

    exec_type: ExecType
    exec_id: str | None = None
    last_qty: Decimal | None = None
    last_px: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    reason: str | None = None
    broker_order_id: str | None = None
    transact_time: datetime | None = msgspec.field(default=None, name="occurred_at")

    @property
    def business_time(self) -> datetime:
        return self.transact_time or self.received_at


BookCommands = OpenAccount | PlaceOrder | RequestCancel | RecordExecution
