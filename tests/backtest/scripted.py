"""Strategies of the tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from foldbook.strategies import Bar, Quote, Strategy, Trade


class ByHand(Strategy):
    """Four orders on five bars of X and a few quotes of Y: ``test_by_hand`` tells what comes of it."""

    def on_bar(self, bar: Bar) -> None:
        day = bar.open_time.day
        if day == 1:
            self.buy("X", 10)
            self.sell("X", 10, stop_price=95)
        elif day == 2:
            self.buy("X", 4, limit_price=90)

    def on_quote(self, quote: Quote) -> None:
        if quote.time.minute == 0:
            self.buy("Y", 5, limit_price="20.5", time_in_force="IOC")


class Raising(Strategy):
    """Rests an order and raises on the third bar."""

    def on_bar(self, bar: Bar) -> None:
        self.count = getattr(self, "count", 0) + 1
        if self.count == 1:
            self.buy(bar.symbol, 1, limit_price=1)
        if self.count == 3:
            raise RuntimeError("the third bar")


class Endless(Strategy):
    """Answers each of its own events with another order."""

    def on_bar(self, bar: Bar) -> None:
        self.buy(bar.symbol, 1)

    def on_order_event(self, event: object) -> None:
        self.buy("X", 1)


class Peeking(Strategy):
    """Takes everything that it is given, and trades on it at the open."""

    def on_open(self, symbol: str, price: Decimal, time: datetime) -> None:
        bars = self.history(symbol, 1)
        assert all(bar.time <= time for bar in bars)
        assert self.now == time
        assert self.last_price(symbol) == price
        self.close(symbol)
        self.buy(symbol, 1)


class Crossing(Strategy):
    """Trades with the last two closes: bars, quotes or trades alike."""

    quantity: Decimal = Decimal(1)

    def on_start(self) -> None:
        self.last: Decimal | None = None

    def on_bar(self, bar: Bar) -> None:
        self._look(bar.symbol, bar.close)

    def on_trade(self, trade: Trade) -> None:
        self._look(trade.symbol, trade.price)

    def on_quote(self, quote: Quote) -> None:
        self._look(quote.symbol, quote.bid)

    def _look(self, symbol: str, price: Decimal) -> None:
        held = self.position(symbol)
        if self.last is not None and price > self.last and held <= 0:
            self.close(symbol)
            self.buy(symbol, self.quantity)
        elif self.last is not None and price < self.last and held >= 0:
            self.close(symbol)
            self.sell(symbol, self.quantity)
        self.last = price


class Ticking(Strategy):
    """Buys one at every tick of a timer."""

    def on_start(self) -> None:
        self.set_timer("tick", every=timedelta(hours=12))

    def on_timer(self, name: str, time: datetime) -> None:
        assert self.now == time
        self.buy("X", 1)


class Daily(Strategy):
    """Sends an order for the day at each close, at a limit that the next bar does not touch but on the third day."""

    def on_bar(self, bar: Bar) -> None:
        self.buy(bar.symbol, 1, limit_price="99.5", time_in_force="DAY")
