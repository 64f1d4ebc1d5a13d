"""Makes a market: quotes both sides around the mid price, and leans against what it holds."""

from __future__ import annotations

from decimal import Decimal

from foldbook.strategies import OrdStatus, Quote, Side, Strategy


class MarketMaker(Strategy):
    """Keeps one post-only order on each side. The more it holds, the lower both prices are (the shorter it is, the
    higher), and a side that could lead beyond ``inventory_max`` is quoted smaller or not at all."""

    half_spread: Decimal = Decimal("0.0005")  # from the middle of its prices to each of them, as a fraction
    skew: Decimal = Decimal(1)  # how many half spreads the middle moves when the inventory is full
    size: Decimal = Decimal(1)
    inventory_max: Decimal = Decimal(5)
    tick: Decimal = Decimal("0.01")
    requote_ticks: int = 1  # a price that is off by less stays where it is, and keeps its place in the queue

    def on_start(self) -> None:
        if min(self.size, self.inventory_max, self.tick, self.half_spread, Decimal(self.requote_ticks)) <= 0:
            raise ValueError("half_spread, size, inventory_max, tick and requote_ticks must be above 0")

    def on_quote(self, quote: Quote) -> None:
        symbol = quote.symbol
        held = self.position(symbol)
        half = (quote.bid + quote.ask) / 2 * self.half_spread
        middle = (quote.bid + quote.ask) / 2 - half * self.skew * held / self.inventory_max
        # Never at a price that would take: the venue rejects such an order.
        bid = min(self.down(middle - half), quote.ask - self.tick)
        ask = max(self.up(middle + half), quote.bid + self.tick)
        self.keep(symbol, Side.BUY, bid, min(self.size, self.inventory_max - held))
        self.keep(symbol, Side.SELL, ask, min(self.size, self.inventory_max + held))

    def on_stop(self) -> None:
        for order in self.orders():
            self.cancel(order.order_id)

    def keep(self, symbol: str, side: Side, price: Decimal, size: Decimal) -> None:
        """Have one order on this side, at this price and of this size; none if the size is not above 0."""
        order = next((each for each in self.orders(symbol) if each.side is side), None)
        if order is None:
            if size > 0:
                place = self.buy if side is Side.BUY else self.sell
                place(symbol, size, limit_price=price, post_only=True)
        elif order.status in (OrdStatus.PENDING_CANCEL, OrdStatus.PENDING_REPLACE):
            return  # the venue has not answered yet
        elif size <= 0:
            self.cancel(order.order_id)
        elif order.limit_price is None or abs(order.limit_price - price) >= self.tick * self.requote_ticks:
            self.replace(order.order_id, quantity=order.cum_qty + size, limit_price=price)

    def down(self, price: Decimal) -> Decimal:
        return price - price % self.tick

    def up(self, price: Decimal) -> Decimal:
        return self.down(price) + (self.tick if price % self.tick else 0)
