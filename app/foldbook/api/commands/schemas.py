"""What HTTP carries: the bodies of requests and answers, and the one place where their text becomes values.

Shape and grammar are checked here, by msgspec, while decoding: names, amounts, times, words of FIX. What an amount or
a word may be in a given command is the order book's business (``foldbook.trading.book``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct
from msgspec.structs import replace

from foldbook.api.problems import Problem
from foldbook.eventstore.events import Metadata
from foldbook.trading.commands import (
    BookCommand,
    DefineInstrument,
    OpenAccount,
    PlaceOrder,
    RecordExecution,
    RecordPrice,
    RequestCancel,
    RequestReplace,
    SetRiskLimits,
    SetTradingState,
)
from foldbook.trading.values import (
    BROKERS,
    FRACTION_DIGITS_MAX,
    INTEGER_DIGITS_MAX,
    NAME,
    ExecType,
    OrderType,
    Rate,
    RiskLimits,
    Side,
    TimeInForce,
    TradingState,
    canonical,
)

RAW_MESSAGE_BYTES_MAX = 8192

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
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
RawMessage = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00]+$",
        max_length=RAW_MESSAGE_BYTES_MAX,
        description="What the broker sent, as it came, in 8 KiB of UTF-8 at most. Kept beside the events, not in them.",
    ),
]


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

    def metadata(self, given: Metadata) -> Metadata:
        """That of the command, ``given`` what the headers said."""
        return given


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


class ReplaceBody(Body, frozen=True, kw_only=True):
    """The new terms, at least one; what is absent stays as it is."""

    quantity: Amount | None = None
    limit_price: Amount | None = None
    stop_price: Amount | None = None

    def replacement(self, account: str, order_id: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return RequestReplace(
            command_id=command_id,
            received_at=received_at,
            account=account,
            order_id=order_id,
            quantity=_amount(self.quantity),
            limit_price=_amount(self.limit_price),
            stop_price=_amount(self.stop_price),
        )


class ExecutionReportBody(Body, frozen=True, kw_only=True):
    order_id: Name
    exec_type: ExecType
    exec_id: Text | None = None
    exec_ref_id: Text | None = None
    last_qty: Amount | None = None
    last_px: Amount | None = None
    fee: Amount | None = None
    fee_currency: Name | None = None
    quantity: Amount | None = None
    limit_price: Amount | None = None
    reason: Reason | None = None
    broker_order_id: Text | None = None
    occurred_at: Instant | None = None
    raw_message: RawMessage | None = None

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return RecordExecution(
            command_id=command_id,
            received_at=received_at,
            account=account,
            order_id=self.order_id,
            exec_type=self.exec_type,
            exec_id=self.exec_id,
            exec_ref_id=self.exec_ref_id,
            last_qty=_amount(self.last_qty),
            last_px=_amount(self.last_px),
            fee=_amount(self.fee),
            fee_currency=self.fee_currency,
            quantity=_amount(self.quantity),
            limit_price=_amount(self.limit_price),
            reason=self.reason,
            broker_order_id=self.broker_order_id,
            transact_time=_instant(self.occurred_at, "occurred_at"),
        )

    def metadata(self, given: Metadata) -> Metadata:
        if self.raw_message is None:
            return given
        if len(self.raw_message.encode()) > RAW_MESSAGE_BYTES_MAX:
            raise Problem(
                "invalid-command", f"raw_message: has at most {RAW_MESSAGE_BYTES_MAX} bytes", field="raw_message"
            )
        return replace(given, raw_message=self.raw_message)


class InstrumentBody(Body, frozen=True, kw_only=True):
    """What a symbol is. Absent: prices and quantities of any step, a multiplier of 1, currencies not known."""

    tick_size: Amount | None = None
    lot_size: Amount | None = None
    multiplier: Amount = "1"
    base_currency: Name | None = None
    quote_currency: Name | None = None

    def definition(self, account: str, symbol: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return DefineInstrument(
            command_id=command_id,
            received_at=received_at,
            account=account,
            symbol=symbol,
            tick_size=_amount(self.tick_size),
            lot_size=_amount(self.lot_size),
            multiplier=_amount(self.multiplier),
            base_currency=self.base_currency,
            quote_currency=self.quote_currency,
        )


class RateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most ``count`` in any ``interval_s`` seconds."""

    count: Count
    interval_s: Count


class RiskLimitsBody(Body, frozen=True, kw_only=True):
    """All limits of the account, or of one symbol in it; what is absent is not limited any more."""

    symbol: Name | None = None
    max_quantity: Amount | None = None
    max_notional: Amount | None = None
    price_collar: Amount | None = None
    max_position: Amount | None = None
    max_open_orders: Count | None = None
    max_order_rate: RateBody | None = None
    max_message_rate: RateBody | None = None
    max_daily_loss: Amount | None = None
    reduce_only: bool = False
    allowed_symbols: tuple[Name, ...] | None = None
    duplicate_window_s: Count | None = None
    price_age_max_s: Count | None = None

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return SetRiskLimits(
            command_id=command_id,
            received_at=received_at,
            account=account,
            symbol=self.symbol,
            limits=RiskLimits(
                max_quantity=_amount(self.max_quantity),
                max_notional=_amount(self.max_notional),
                price_collar=_amount(self.price_collar),
                max_position=_amount(self.max_position),
                max_open_orders=self.max_open_orders,
                max_order_rate=_rate(self.max_order_rate),
                max_message_rate=_rate(self.max_message_rate),
                max_daily_loss=_amount(self.max_daily_loss),
                reduce_only=self.reduce_only,
                allowed_symbols=self.allowed_symbols,
                duplicate_window_s=self.duplicate_window_s,
                price_age_max_s=self.price_age_max_s,
            ),
        )


def _rate(rate: RateBody | None) -> Rate | None:
    return None if rate is None else Rate(count=rate.count, interval_s=rate.interval_s)


class PriceBody(Body, frozen=True, kw_only=True):
    price: Amount
    occurred_at: Instant | None = None

    def quotation(self, account: str, symbol: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return RecordPrice(
            command_id=command_id,
            received_at=received_at,
            account=account,
            symbol=symbol,
            price=_amount(self.price),
            transact_time=_instant(self.occurred_at, "occurred_at"),
        )


class OpenAccountBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user: Name
    exchange: Name
    broker: Broker


class CancelBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to say: the path names the order."""


class HaltBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Reason | None = None
    cancel_open_orders: bool = True
    """Ask for a cancel of every open order too."""


class TradingStateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Reason | None = None


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


class RequestReplaceLine(ReplaceBody, frozen=True, kw_only=True, tag="RequestReplace"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None
    order_id: Name

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return self.replacement(account, self.order_id, command_id, received_at)


class RecordExecutionLine(ExecutionReportBody, frozen=True, kw_only=True, tag="RecordExecution"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None


class DefineInstrumentLine(InstrumentBody, frozen=True, kw_only=True, tag="DefineInstrument"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None
    symbol: Name

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return self.definition(account, self.symbol, command_id, received_at)


class SetRiskLimitsLine(RiskLimitsBody, frozen=True, kw_only=True, tag="SetRiskLimits"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None


class SetTradingStateLine(Body, frozen=True, kw_only=True, tag="SetTradingState"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None
    state: TradingState
    reason: Reason | None = None
    cancel_open_orders: bool = False

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return SetTradingState(
            command_id=command_id,
            received_at=received_at,
            account=account,
            state=self.state,
            reason=self.reason,
            cancel_open_orders=self.cancel_open_orders,
        )


class RecordPriceLine(PriceBody, frozen=True, kw_only=True, tag="RecordPrice"):
    account: AccountName
    command_id: UUID | None = None
    expected_sequence: Sequence | None = None
    symbol: Name

    def command(self, account: str, command_id: UUID, received_at: datetime) -> BookCommand:
        return self.quotation(account, self.symbol, command_id, received_at)


CommandLine = (
    OpenAccountLine
    | PlaceOrderLine
    | RequestCancelLine
    | RequestReplaceLine
    | RecordExecutionLine
    | DefineInstrumentLine
    | SetRiskLimitsLine
    | SetTradingStateLine
    | RecordPriceLine
)
