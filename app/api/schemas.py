"""What HTTP carries: the bodies of requests and answers, and the one place where their text becomes values.

Shape and grammar are checked here, by msgspec, while decoding: names, amounts, times, words of FIX. What an amount or
a word may be in a given command is the order book's business (``app.trading.book``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from app.api.problems import Problem
from app.trading.commands import BookCommand, OpenAccount, PlaceOrder, RecordExecution, RequestCancel
from app.trading.values import (
    BROKERS,
    FRACTION_DIGITS_MAX,
    INTEGER_DIGITS_MAX,
    NAME,
    ExecType,
    OrderType,
    Side,
    TimeInForce,
    canonical,
)

# The end of a pattern: $ alone would let a line feed follow, and JSON Schema has no \Z.
_END = r"(?!\n)$"

NAME_PATTERN = f"^{NAME}{_END}"
ACCOUNT_PATTERN = f"^{NAME}/{NAME}/({'|'.join(BROKERS)}){_END}"

Name = Annotated[str, Meta(pattern=NAME_PATTERN, examples=["BTC-USDT"])]
AccountName = Annotated[str, Meta(pattern=ACCOUNT_PATTERN, examples=["alice/binance/simulated"])]
Amount = Annotated[
    str,
    Meta(
        pattern=rf"^-?[0-9]{{1,{INTEGER_DIGITS_MAX}}}(\.[0-9]{{1,{FRACTION_DIGITS_MAX}}})?{_END}",
        description="An exact decimal in plain notation.",
        examples=["64250.1"],
    ),
]
Text = Annotated[str, Meta(pattern=rf"^[^\x00-\x1f\x7f]{{1,128}}{_END}")]
Reason = Annotated[str, Meta(pattern=rf"^[^\x00-\x1f\x7f]{{1,1000}}{_END}")]
Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its offset from UTC.")]
Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Broker(StrEnum):
    """The last part of an account: who executes its orders."""

    LIVE = "live"
    SIMULATED = "simulated"
    BACKTEST = "backtest"


def _amount(text: str | None) -> Any:
    if text is None:
        return None
    value = Decimal(text)
    # Most amounts are written canonically; to see that is cheaper than to make them so once more.
    return canonical(value) if text[0] == "-" or (text[-1] == "0" and "." in text) else value


def _instant(time: datetime | None, field: str) -> datetime | None:
    try:
        return None if time is None else time.astimezone(UTC)
    except OverflowError:
        raise Problem("invalid-command", f"{field}: is outside the years 1 to 9999 in UTC", field=field) from None


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a command; its order book's account stands beside it, in the path or on the line."""

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        raise NotImplementedError


class PlaceOrderBody(Body, frozen=True, kw_only=True):
    order_id: Name
    strategy_id: Name
    symbol: Name
    side: Side
    order_type: OrderType
    quantity: Amount
    limit_price: Amount | None = None
    stop_price: Amount | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    """FIX 59: absent means DAY."""
    expire_at: Instant | None = None

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return PlaceOrder(
            command_id=command_id,
            received_at=received_at,
            account=account,
            order_id=self.order_id,
            strategy_id=self.strategy_id,
            symbol=self.symbol,
            side=self.side,
            order_type=self.order_type,
            quantity=_amount(self.quantity),
            limit_price=_amount(self.limit_price),
            stop_price=_amount(self.stop_price),
            time_in_force=self.time_in_force,
            expire_at=_instant(self.expire_at, "expire_at"),
        )


class ExecutionReportBody(Body, frozen=True, kw_only=True):
    order_id: Name
    exec_type: ExecType
    exec_id: Text | None = None
    last_qty: Amount | None = None
    last_px: Amount | None = None
    fee: Amount | None = None
    fee_currency: Name | None = None
    reason: Reason | None = None
    broker_order_id: Text | None = None
    occurred_at: Instant | None = None

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return RecordExecution(
            command_id=command_id,
            received_at=received_at,
            account=account,
            order_id=self.order_id,
            exec_type=self.exec_type,
            exec_id=self.exec_id,
            last_qty=_amount(self.last_qty),
            last_px=_amount(self.last_px),
            fee=_amount(self.fee),
            fee_currency=self.fee_currency,
            reason=self.reason,
            broker_order_id=self.broker_order_id,
            transact_time=_instant(self.occurred_at, "occurred_at"),
        )


class OpenAccountBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user: Name
    exchange: Name
    broker: Broker


class CancelBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to say: the path names the order."""


class OpenAccountLine(Body, frozen=True, kw_only=True, tag="OpenAccount"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return OpenAccount(command_id=command_id, received_at=received_at, account=account)


class PlaceOrderLine(PlaceOrderBody, frozen=True, kw_only=True, tag="PlaceOrder"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None


class RequestCancelLine(Body, frozen=True, kw_only=True, tag="RequestCancel"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None
    order_id: Name

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return RequestCancel(command_id=command_id, received_at=received_at, account=account, order_id=self.order_id)


class RecordExecutionLine(ExecutionReportBody, frozen=True, kw_only=True, tag="RecordExecution"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None


CommandLine = OpenAccountLine | PlaceOrderLine | RequestCancelLine | RecordExecutionLine
