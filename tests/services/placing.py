"""Strategies for a process of its own."""

from __future__ import annotations

from foldbook.strategies import Quote, Strategy


class Placing(Strategy):
    """Rests an order at each quote, far away from the market, and cancels the one before."""

    count_max: int = 1_000_000

    def on_start(self) -> None:
        self.count = 0

    def on_quote(self, quote: Quote) -> None:
        self.count += 1
        if self.count > self.count_max:
            raise RuntimeError("enough")
        for order in self.orders(quote.symbol):
            self.cancel(order.order_id)
        self.buy(quote.symbol, 1, limit_price=1)
