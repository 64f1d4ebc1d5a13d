"""An open order at the venue, and what its account holds."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from foldbook.trading.values import ZERO, OrderType, Side, TimeInForce, add, canonical, subtract
from foldbook.venue.orders import VenueOrder

_BUY = Side.BUY
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
_AUCTIONS = (TimeInForce.AT_THE_OPENING, TimeInForce.AT_THE_CLOSE)


class Holding(msgspec.Struct, eq=False, gc=False):
    """What an account has of a symbol: the sum of its fills, negative if more was sold than bought."""

    quantity: Decimal = ZERO

    def closable(self, is_buy: bool) -> Decimal:
        """How much of it the side can close; 0 if it would make it larger."""
        held = self.quantity if not is_buy else subtract(ZERO, self.quantity)
        return max(held, ZERO)


class Working(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """An open order: what it was when it arrived, and what has become of it."""

    order: VenueOrder
    venue_order_id: str
    holding: Holding
    """What its account has of the symbol."""
    number: int
    """The place of its arrival: of two orders at one price, the lower number goes first."""
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    """None for a trailing stop that has not seen a price yet."""
    arrived_ns: int
    """When it arrived, or was replaced by other terms: what is older does not fill it."""
    cum_qty: Decimal = ZERO
    is_buy: bool = True
    is_waiting: bool = False
    """Does a stop have to be reached first?"""
    takes: bool = True
    """Does it come to others that rest? A limit order no longer does when a price has been told that it does not
    reach."""
    is_late: bool = False
    """Did it come after the bar under way had opened, or because a limit or a stop was filled there? Then that bar
    gives it nothing."""
    rungs: list[tuple[Decimal, int, Working]] | None = None
    """Where it stands on the ladder of its book, if that has one; and as what."""
    rung: tuple[Decimal, int, Working] | None = None
    ahead: Decimal = ZERO
    """How much rested at its price when it came to rest there: that much trades first."""

    @property
    def leaves_qty(self) -> Decimal:
        return subtract(self.quantity, self.cum_qty)

    @property
    def is_immediate(self) -> bool:
        """Is what it does not get at once canceled?"""
        return self.order.time_in_force in _IMMEDIATE

    @property
    def is_for_auction(self) -> bool:
        """Is it only for the opening or the close?"""
        return self.order.time_in_force in _AUCTIONS

    @property
    def level(self) -> Decimal | None:
        """The price at which something happens to it next; None: it is a market order, or has none yet."""
        return self.stop_price if self.is_waiting else self.limit_price

    @property
    def goes_up(self) -> bool:
        """Does a rising price reach its level? A falling one does otherwise."""
        return self.is_buy is self.is_waiting

    def reaches(self, price: Decimal) -> bool:
        """May it trade at this price?"""
        limit = self.limit_price
        return limit is None or (price <= limit if self.is_buy else price >= limit)

    def is_triggered_by(self, price: Decimal) -> bool:
        """Has the price reached the stop?"""
        stop = self.stop_price
        return stop is not None and (price >= stop if self.is_buy else price <= stop)

    def follow(self, price: Decimal) -> None:
        """Let a trailing stop follow the price, if that is the best so far."""
        offset = self.order.trailing_offset
        if offset is None or not self.is_waiting:
            return
        stop = add(price, offset) if self.is_buy else subtract(price, offset)
        if self.stop_price is None or (stop < self.stop_price if self.is_buy else stop > self.stop_price):
            self.stop_price = stop


def working(order: VenueOrder, venue_order_id: str, number: int, holding: Holding, time_ns: int) -> Working:
    """The order as it arrives."""
    return Working(
        order=order,
        venue_order_id=venue_order_id,
        number=number,
        holding=holding,
        arrived_ns=time_ns,
        quantity=canonical(order.quantity),
        limit_price=None if order.limit_price is None else canonical(order.limit_price),
        stop_price=None if order.stop_price is None else canonical(order.stop_price),
        is_buy=order.side is _BUY,
        is_waiting=order.order_type in _STOPS,
    )
