"""What the venue remembers of a symbol."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from foldbook.market.records import Bar, Datum, Quote
from foldbook.trading.values import EXACT, ZERO, add, canonical, subtract
from foldbook.venue.ladder import Ladder
from foldbook.venue.orders import VenueInstrument
from foldbook.venue.working import Holding, Working

_HALF = Decimal("0.5")

BEFORE_ALL = -(1 << 63)
"""Before any time there is."""


class Book(msgspec.Struct, kw_only=True, eq=False):
    """A symbol: its open orders in order of arrival, and what its market data says."""

    instrument: VenueInstrument
    is_expected: bool = False
    """Will there be market data, though none may have come yet?"""
    orders: dict[str, Working] = {}
    holdings: dict[str, Holding] = {}
    """By account."""
    last: Datum | Decimal | None = None
    """What told the last price: a decimal is the open of a bar."""
    opened: Decimal | None = None
    """The open of the bar that is under way, while orders can be filled there."""
    opened_ns: int = BEFORE_ALL
    """When the last bar opened."""
    is_answered: bool = False
    """Was an order with a limit or a stop filled at the open just now? What arrives is the answer to that."""
    quote: Quote | None = None
    taken_bid: Decimal = ZERO
    taken_ask: Decimal = ZERO
    """How much of the sizes that the quote shows is used up."""
    next_expiry_ns: int | None = None
    """No order expires before."""
    ladder: Ladder | None = None
    """The orders by price, if many accounts share the book."""

    def holds(self, of: Working) -> bool:
        """Is it still open, in the place that it had?"""
        return self.orders.get(of.order.order_id) is of

    @property
    def last_price(self) -> Decimal | None:
        """The last price that was told: of a bar its close, of a quote the middle."""
        last = self.last
        if last is None or isinstance(last, Decimal):
            return last
        if isinstance(last, Quote):
            return canonical(EXACT.multiply(EXACT.add(last.bid, last.ask), _HALF))
        return last.close if isinstance(last, Bar) else last.price

    def has_been_told(self, bar: Bar) -> bool:
        """Has a later bar, or one as late, shown what orders get? So it is with a bar that comes twice, and with a
        longer one over shorter ones. Who shares the book tells opens by a clock of his own: a bar ends the one under
        way."""
        if self.opened is None:
            return bar.open_time_ns <= self.opened_ns
        return self.ladder is None and bar.open_time_ns < self.opened_ns

    def price_for(self, is_buy: bool) -> Decimal | None:
        """What was told last of the price at which one can buy, or sell."""
        quote = self.quote
        if quote is None:
            return self.last_price
        return quote.ask if is_buy else quote.bid

    def shown_at(self, is_buy: bool, price: Decimal) -> Decimal:
        """How much the last quote shows on this side at this price; 0 if that is unknown."""
        quote = self.quote
        if quote is None or price != (quote.bid if is_buy else quote.ask):
            return ZERO
        return (quote.bid_size if is_buy else quote.ask_size) or ZERO

    def left_for(self, is_buy: bool) -> Decimal | None:
        """What is left of the size that the quote shows to who buys, or sells; None: as much as one wants."""
        quote = self.quote
        assert quote is not None
        size, taken = (quote.ask_size, self.taken_ask) if is_buy else (quote.bid_size, self.taken_bid)
        return None if size is None else subtract(size, taken)

    def take(self, is_buy: bool, quantity: Decimal) -> None:
        """Use up what the quote shows."""
        if is_buy:
            self.taken_ask = add(self.taken_ask, quantity)
        else:
            self.taken_bid = add(self.taken_bid, quantity)

    def holding_of(self, account: str) -> Holding:
        """What the account has of the symbol."""
        holding = self.holdings.get(account)
        if holding is None:
            holding = self.holdings[account] = Holding()
        return holding
