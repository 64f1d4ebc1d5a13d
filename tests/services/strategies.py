"""Strategies of the tests. Each keeps what it is told."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from foldbook.strategies import OrderEvent, Quote, Strategy, Trade


class Noting(Strategy):
    """Does nothing but note."""

    def on_start(self) -> None:
        self.told: list[str] = []
        self.events: list[OrderEvent] = []
        self.quotes: list[Quote] = []
        self.trades: list[Trade] = []
        self.at_start = (
            tuple(self.position(symbol) for symbol in self.symbols),
            tuple(order.order_id for order in self.orders()),
            self.cash,
        )

    def on_quote(self, quote: Quote) -> None:
        self.quotes.append(quote)
        self.told.append(f"quote {quote.bid}")

    def on_trade(self, trade: Trade) -> None:
        self.trades.append(trade)

    def on_order_event(self, event: OrderEvent) -> None:
        self.events.append(event)
        self.told.append(f"{type(event).__name__} {event.order_id}")

    def on_stop(self) -> None:
        self.told.append("stop")


class Buying(Noting):
    """Buys one at each quote, at its bid."""

    limit: bool = True

    def on_quote(self, quote: Quote) -> None:
        super().on_quote(quote)
        self.buy(quote.symbol, 1, limit_price=quote.bid if self.limit else None)


class Raising(Noting):
    """Rests an order at the first quote, and raises at the second, after it has sent another one."""

    rests: bool = True

    def on_quote(self, quote: Quote) -> None:
        super().on_quote(quote)
        if len(self.quotes) == 1:
            if self.rests:
                self.buy(quote.symbol, 1, limit_price=1)
        else:
            self.buy(quote.symbol, 2, limit_price=1)
            raise RuntimeError("the second\nquote")


class Canceling(Noting):
    """Rests an order at the first quote, and cancels and replaces it at the second."""

    def on_quote(self, quote: Quote) -> None:
        super().on_quote(quote)
        if len(self.quotes) == 1:
            self.order_id = self.buy(quote.symbol, 1, limit_price=quote.bid)
        else:
            self.replace(self.order_id, quantity=2)
            self.cancel(self.order_id)


class Spinning(Noting):
    """Sets a timer for now whenever one fires."""

    def on_start(self) -> None:
        super().on_start()
        self.fired = 0
        self.set_timer("spin", at=self.now)

    def on_timer(self, name: str, time: datetime) -> None:
        self.fired += 1
        self.set_timer(name, at=self.now)


class Ticking(Noting):
    """Sets timers when it starts."""

    def on_start(self) -> None:
        super().on_start()
        self.set_timer("often", every=timedelta(seconds=2))
        self.set_timer("once", at=self.now + timedelta(seconds=3))

    def on_timer(self, name: str, time: datetime) -> None:
        assert self.now >= time
        self.told.append(f"{name} {time:%S} {self.now:%S}")


class Looking(Noting):
    """Looks at what it has just sent."""

    def on_quote(self, quote: Quote) -> None:
        super().on_quote(quote)
        order_id = self.buy(quote.symbol, 1, limit_price=1)
        (order,) = self.orders()
        assert order.order_id == order_id
        self.told.append(order.status)
        self.cancel(order_id)
        (order,) = self.orders()
        self.told.append(order.status)
        assert self.position(quote.symbol) == Decimal(0)
