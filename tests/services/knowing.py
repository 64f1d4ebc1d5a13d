"""A strategy that says what it knows when it starts."""

from __future__ import annotations

from foldbook.strategies import Quote, Strategy


class Knowing(Strategy):
    """Keeps two orders at rest, far away from the market."""

    def on_start(self) -> None:
        symbol = self.symbols[0]
        resting = " ".join(sorted(order.order_id for order in self.orders(symbol)))
        print(f"starts with {self.position(symbol):f} {symbol}, and {resting or 'nothing'} at rest", flush=True)

    def on_quote(self, quote: Quote) -> None:
        if len(self.orders(quote.symbol)) < 2:
            self.buy(quote.symbol, 1, limit_price=1)
