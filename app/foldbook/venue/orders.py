"""What goes into the matching engine, and what comes out."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from foldbook.trading.values import ONE, ZERO, ExecType, OrderType, Side, TimeInForce


class Path(StrEnum):
    """In which order the prices of a bar came. A bar says only where they began, ended, and how far they went."""

    ADVERSE = "adverse"
    """Of a stop and a limit that a bar both touches, the stop fills."""
    OHLC = "ohlc"
    OLHC = "olhc"


class VenueInstrument(msgspec.Struct, frozen=True, kw_only=True):
    """What a symbol is at this venue.

    Prices are multiples of ``tick_size``, quantities of ``lot_size``; None: any will do. One unit is worth ``price *
    multiplier`` of the quote currency, in which fees are paid, too.
    """

    symbol: str
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    multiplier: Decimal = ONE
    quote_currency: str = "USD"


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What trading costs.

    ``taker`` and ``maker`` are fractions of the money of a fill; a negative one is a rebate. ``spread`` and
    ``slippage`` are fractions of the price: a taker buys that much above the price of a bar or trade, and sells that
    much below it. A quote shows its own spread, so that there only the slippage counts.
    """

    taker: Decimal = ZERO
    maker: Decimal = ZERO
    spread: Decimal = ZERO
    slippage: Decimal = ZERO


class VenueOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as it arrives.

    ``order_id`` is unique among the open orders, of whatever account. A stop with a ``trailing_offset`` follows the
    best price since it arrived at that distance; it starts at ``stop_price``, if that is given.
    """

    order_id: str
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
    account: str = ""
    """Whose it is. Orders of one account do not trade with each other."""


class VenueReport(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What happened to an order (FIX 35=8).

    ``time_ns``: nanoseconds since the epoch. ``fee`` is None if nothing is charged. ``quantity``, ``limit_price`` and
    ``stop_price`` are the order's terms after a REPLACED or RESTATED. ``request_id`` is that of the cancel or replace
    that is answered.
    """

    exec_type: ExecType
    order_id: str
    time_ns: int
    exec_id: str | None = None
    last_qty: Decimal | None = None
    last_px: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    reason: str | None = None
    venue_order_id: str | None = None
    request_id: str | None = None
