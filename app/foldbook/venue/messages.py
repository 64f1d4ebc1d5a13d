"""What the exchange is told: each message with its time, in the form in which the journal keeps it.

A message has all that its effect depends on, so that the same messages in the same order always make the same
exchange. What a setting of the server decides, such as whether client ids are deduplicated, is part of the message for
that reason.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from msgspec import Struct

from foldbook.trading.values import ONE, OrderType, Side, TimeInForce
from foldbook.venue.orders import Costs, Path


class Message(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """``time_ns``: when it happens, in nanoseconds since the epoch."""

    time_ns: int


class Configure(Message, frozen=True, array_like=True, tag=True, gc=False):
    """What trading costs from now on, and how bars are walked."""

    costs: Costs
    path: Path = Path.ADVERSE


# -- orders ------------------------------------------------------------------------------------------------------------


class Submit(Message, frozen=True, array_like=True, tag=True, gc=False):
    """A new order."""

    account: str
    client_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_at_ns: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    trailing_offset: Decimal | None = None
    is_deduplicated: bool = True
    """Is a client order id that the account has used the same order?"""
    is_refused_late: bool = False
    """Is it taken, kept from trading, and rejected by a ``RefuseLate``?"""


class RefuseLate(Message, frozen=True, array_like=True, tag=True, gc=False):
    """Reject the order that was taken to be refused late."""

    venue_order_id: str


class Cancel(Message, frozen=True, array_like=True, tag=True, gc=False):
    account: str
    client_order_id: str
    request_id: str | None = None


class Replace(Message, frozen=True, array_like=True, tag=True, gc=False):
    """What is None does not change. ``quantity``: of the whole order, with what has traded."""

    account: str
    client_order_id: str
    request_id: str | None = None
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    moves_id: bool = False
    """Does the order get another venue order id?"""


class Expire(Message, frozen=True, array_like=True, tag=True, gc=False):
    """The time has come to this: what was good till then expires."""


# -- market data -------------------------------------------------------------------------------------------------------


class QuoteTold(Message, frozen=True, array_like=True, tag=True, gc=False):
    symbol: str
    bid: Decimal
    ask: Decimal
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None


class TradeTold(Message, frozen=True, array_like=True, tag=True, gc=False):
    symbol: str
    price: Decimal
    size: Decimal | None = None
    aggressor: Side | None = None


class OpenTold(Message, frozen=True, array_like=True, tag=True, gc=False):
    """A bar opens at this price: no more of it is known yet."""

    symbol: str
    price: Decimal


class BarTold(Message, frozen=True, array_like=True, tag=True, gc=False):
    """``time_ns``: its close."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None = None
    interval_ns: int = 0


class InstrumentTold(Message, frozen=True, array_like=True, tag=True, gc=False):
    symbol: str
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    multiplier: Decimal = ONE
    quote_currency: str = "USD"


class CloseSession(Message, frozen=True, array_like=True, tag=True, gc=False):
    """Trading ends: orders for the day expire."""


class OpenSession(Message, frozen=True, array_like=True, tag=True, gc=False):
    """Trading begins."""


# -- what the operator does --------------------------------------------------------------------------------------------


class Liquidate(Message, frozen=True, array_like=True, tag=True, gc=False):
    """Close the position, or so much of it, at the last price, without an order."""

    account: str
    symbol: str
    quantity: Decimal | None = None


class Fund(Message, frozen=True, array_like=True, tag=True, gc=False):
    """A funding payment; negative: the account pays."""

    account: str
    symbol: str
    currency: str
    amount: Decimal


class Charge(Message, frozen=True, array_like=True, tag=True, gc=False):
    """A fee that belongs to no trade; negative: a refund."""

    account: str
    currency: str
    amount: Decimal
    reason: str | None = None


class Bust(Message, frozen=True, array_like=True, tag=True, gc=False):
    """A trade never was."""

    account: str
    exec_id: str


class Correct(Message, frozen=True, array_like=True, tag=True, gc=False):
    """A trade was of another quantity or price. What is None does not change."""

    account: str
    exec_id: str
    last_qty: Decimal | None = None
    last_px: Decimal | None = None


Datum: TypeAlias = QuoteTold | TradeTold | OpenTold | BarTold
"""What need not be on disk at once, if nothing happens because of it."""

AnyMessage: TypeAlias = (
    Configure
    | Submit
    | RefuseLate
    | Cancel
    | Replace
    | Expire
    | QuoteTold
    | TradeTold
    | OpenTold
    | BarTold
    | InstrumentTold
    | CloseSession
    | OpenSession
    | Liquidate
    | Fund
    | Charge
    | Bust
    | Correct
)
