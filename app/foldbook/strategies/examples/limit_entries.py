"""Buys dips: limit orders that rest below the market, each with a limit order above it that takes the profit."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from foldbook.strategies import Bar, OrderEvent, OrderFilled, Side, Strategy


class LimitEntries(Strategy):
    """While it holds nothing, it keeps a ladder of buy orders below the last close, and moves it when nothing was
    filled for a while. What is bought is offered at a profit at once, and given up at market when it takes too long."""

    depth: Decimal = Decimal("0.02")  # from one step of the ladder to the next, as a fraction of the close
    steps: int = 3
    gain: Decimal = Decimal("0.03")  # from the price of an entry to its exit, as a fraction of it
    quantity: Decimal = Decimal(10)  # of each step
    patience: int = 5  # after so many bars without a fill, the ladder moves
    hold: int = 20  # after so many bars with a position, it is closed
    tick: Decimal = Decimal("0.01")

    def on_start(self) -> None:
        if not 0 < self.depth * self.steps < 1 or min(self.quantity, self.tick, self.gain) <= 0:
            raise ValueError("depth * steps must be between 0 and 1; quantity, tick and gain above 0")
        self._bars: dict[str, int] = {}
        self._leaving: set[str] = set()

    def on_bar(self, bar: Bar) -> None:
        symbol = bar.symbol
        waited = self._bars[symbol] = self._bars.get(symbol, 0) + 1
        held, orders = self.position(symbol), self.orders(symbol)
        if symbol in self._leaving:
            self.leave(symbol)
        elif not held and not orders:
            self._bars[symbol] = 0
            for step in range(1, self.steps + 1):
                price = bar.close * (1 - self.depth * step)
                self.buy(symbol, self.quantity, limit_price=price - price % self.tick)
        elif waited >= (self.hold if held else self.patience):
            if held:
                self._leaving.add(symbol)
            for order in orders:
                self.cancel(order.order_id)
            self.leave(symbol)

    def on_order_event(self, event: OrderEvent) -> None:
        symbol = event.symbol
        if isinstance(event, OrderFilled) and event.side is Side.BUY and symbol not in self._leaving:
            if not any(order.side is Side.SELL for order in self.orders(symbol)):
                self._bars[symbol] = 0  # the first fill of a position: the time to hold begins
            ticks = (event.last_px * (1 + self.gain) / self.tick).to_integral_value(ROUND_CEILING)
            self.sell(symbol, event.last_qty, limit_price=ticks * self.tick, reduce_only=True)
        self.leave(symbol)

    def leave(self, symbol: str) -> None:
        """Close the position once no order is open that could close it too."""
        if symbol in self._leaving and not self.orders(symbol):
            self._leaving.discard(symbol)
            self.close(symbol)
