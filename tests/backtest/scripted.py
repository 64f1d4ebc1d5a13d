"""Strategies of the tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

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


class Sleepless(Strategy):
    """Sets its timer to now, whenever it has fired."""

    def on_start(self) -> None:
        self.set_timer("now", at=self.now)

    def on_timer(self, name: str, time: datetime) -> None:
        self.set_timer("now", at=self.now)


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


class Following(Strategy):
    """Buys one of each other symbol at the close of each bar. What it is told of an open is of now."""

    def on_open(self, symbol: str, price: Decimal, time: datetime) -> None:
        assert self.now == time
        assert self.last_price(symbol) == price

    def on_bar(self, bar: Bar) -> None:
        assert self.now == bar.time
        for symbol in self.symbols:
            if symbol != bar.symbol:
                self.buy(symbol, 1)


class BuyingRises(Strategy):
    """Buys once at the close of a bar that has risen: at market, at the low of the bar or at the next close."""

    at: str = "market"

    def on_bar(self, bar: Bar) -> None:
        if bar.close <= bar.open or self.position(bar.symbol) or self.orders():
            return
        limit_price = bar.low if self.at == "low" else None
        time_in_force = "AT_THE_CLOSE" if self.at == "close" else "GTC"
        self.buy(bar.symbol, 1, limit_price=limit_price, time_in_force=time_in_force)


class Once(Strategy):
    """One order, sent at the close of a bar or at a trade, by its number; or by a timer, or at the start or the end."""

    at: int = 1
    hour: int = 0
    quantity: Decimal = Decimal(1)
    limit_price: str = ""
    time_in_force: str = "GTC"
    good_for_hours: int = 0
    events: ClassVar[list[str]] = []
    answers: ClassVar[list[str]] = []

    def on_start(self) -> None:
        self.seen = 0
        self.events.clear()
        self.answers.clear()
        if self.hour:
            self.set_timer("once", at=self.now + timedelta(hours=self.hour))
        elif self.at == 0:
            self._send()

    def on_timer(self, name: str, time: datetime) -> None:
        self._send()

    def on_bar(self, bar: Bar) -> None:
        self._count()

    def on_trade(self, trade: Trade) -> None:
        self._count()

    def on_stop(self) -> None:
        if self.at == -1:
            self._send()

    def on_order_event(self, event: object) -> None:
        self.answers.append(type(event).__name__)
        if self.answers[-1] in ("OrderFilled", "OrderExpired"):
            self.events.append(f"{self.answers[-1]} {self.now:%d %H:%M}")

    def _count(self) -> None:
        self.seen += 1
        if self.seen == self.at and not self.hour:
            self._send()

    def _send(self) -> None:
        for symbol in self.symbols:
            self.buy(
                symbol,
                self.quantity,
                limit_price=self.limit_price or None,
                time_in_force=self.time_in_force,
                expire_at=self.now + timedelta(hours=self.good_for_hours) if self.good_for_hours else None,
            )


class RaisingInATimer(Strategy):
    """Two timers of the same times: the first raises, the second would buy."""

    def on_start(self) -> None:
        self.set_timer("raise", every=timedelta(hours=12))
        self.set_timer("buy", every=timedelta(hours=12))

    def on_timer(self, name: str, time: datetime) -> None:
        if name == "raise":
            raise RuntimeError(name)
        self.buy("X", 1)

    def on_bar(self, bar: Bar) -> None:
        raise AssertionError("told after it was stopped")

    def on_stop(self) -> None:
        raise AssertionError("told after it was stopped")
