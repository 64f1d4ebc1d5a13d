"""What requests say. Bodies are strict: an unknown member is an error, and an amount is text, never a number."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from foldbook.market.records import ns_of
from foldbook.trading.values import (
    AMOUNT_PATTERN,
    NAME_PATTERN,
    SYMBOL_PATTERN,
    OrderType,
    Side,
    TimeInForce,
)
from foldbook.venue.server.problems import VenueProblem

Amount = Annotated[
    str, Meta(pattern=AMOUNT_PATTERN, description="An exact decimal in plain notation.", examples=["64250.1"])
]
AccountName = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}(?!\n)$", examples=["alice/binance/simulated"])]
ClientOrderId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}(?!\n)$", examples=["o-1:1"])]
RequestId = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}(?!\n)$")]
Symbol = Annotated[str, Meta(pattern=SYMBOL_PATTERN, examples=["BTC-USDT"])]
Currency = Annotated[str, Meta(pattern=NAME_PATTERN, examples=["USD"])]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset.")]
"""When it happened, by the data; absent: now."""


_NS_MIN, _NS_MAX = -(2**63), 2**63 - 1
"""What a snapshot can keep: 1677-09-21 to 2262-04-11."""


def ns_in(time: datetime) -> int:
    """Raises ``VenueProblem``."""
    time_ns = ns_of(time)
    if not _NS_MIN <= time_ns <= _NS_MAX:
        raise VenueProblem("invalid-request", "a time must be between the years 1678 and 2261")
    return time_ns


class _Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class OrderBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: AccountName
    client_order_id: ClientOrderId
    symbol: Symbol
    side: Side
    order_type: OrderType
    quantity: Amount
    limit_price: Amount | None = None
    stop_price: Amount | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_at: Time | None = None
    post_only: bool = False
    reduce_only: bool = False
    trailing_offset: Amount | None = None


class CancelBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: AccountName
    request_id: RequestId | None = None


class ReplaceBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is absent does not change. ``quantity``: of the whole order, with what has traded."""

    account: AccountName
    request_id: RequestId | None = None
    quantity: Amount | None = None
    limit_price: Amount | None = None
    stop_price: Amount | None = None


class CancelParams(CancelBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_order_id: ClientOrderId


class ReplaceParams(ReplaceBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_order_id: ClientOrderId


class RequestKey(Struct, frozen=True):
    """What matches an answer to its request in a session: the client's own, and unique among those under way."""

    id: int | Annotated[str, Meta(max_length=128)]


class SubmitRequest(RequestKey, frozen=True, forbid_unknown_fields=True, tag_field="method", tag="submit"):
    params: OrderBody


class CancelRequest(RequestKey, frozen=True, forbid_unknown_fields=True, tag_field="method", tag="cancel"):
    params: CancelParams


class ReplaceRequest(RequestKey, frozen=True, forbid_unknown_fields=True, tag_field="method", tag="replace"):
    params: ReplaceParams


class QuoteBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    symbol: Symbol
    bid: Amount
    ask: Amount
    bid_size: Amount | None = None
    ask_size: Amount | None = None
    time: Time | None = None


class TradeBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    symbol: Symbol
    price: Amount
    size: Amount | None = None
    aggressor: Side | None = None
    time: Time | None = None


class OpenBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    symbol: Symbol
    price: Amount
    time: Time | None = None


class BarBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``time``: its close. ``interval_s``: how long it lasted; 0: unknown."""

    symbol: Symbol
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    volume: Amount | None = None
    interval_s: Annotated[int, Meta(ge=0, le=31_622_400)] = 0
    time: Time | None = None


class InstrumentBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is absent does not change."""

    tick_size: Amount | UnsetType | None = UNSET
    lot_size: Amount | UnsetType | None = UNSET
    multiplier: Amount | UnsetType = UNSET
    quote_currency: Currency | UnsetType = UNSET


class LiquidationBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``quantity``: how much of the position; absent: all of it."""

    account: AccountName
    symbol: Symbol
    quantity: Amount | None = None


class FundingBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``amount``: what the account gets; negative: what it pays."""

    account: AccountName
    symbol: Symbol
    currency: Currency
    amount: Amount


class FeeBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``amount``: what the account pays; negative: a refund."""

    account: AccountName
    currency: Currency
    amount: Amount
    reason: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}(?!\n)$")] | None = None


class BustBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: AccountName
    exec_id: Annotated[str, Meta(min_length=1, max_length=128)]


class CorrectionBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is absent does not change."""

    account: AccountName
    exec_id: Annotated[str, Meta(min_length=1, max_length=128)]
    last_qty: Amount | None = None
    last_px: Amount | None = None


DATA_MAX = 1_000
"""Data in one request."""
Quotes = QuoteBody | list[QuoteBody]
Trades = TradeBody | list[TradeBody]
Opens = OpenBody | list[OpenBody]
Bars = BarBody | list[BarBody]
