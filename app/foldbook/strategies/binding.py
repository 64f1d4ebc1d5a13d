"""How a runner tells a strategy things."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from foldbook.market.records import Bar, Quote, Trade
from foldbook.strategies.context import Context
from foldbook.strategies.errors import StrategyError
from foldbook.strategies.strategy import Strategy
from foldbook.trading.events import OrderEvent

CASCADE_MAX = 100_000
"""How many things a strategy is told because of what it did when it was told one. More than that has no end."""


class Binding:
    """A strategy in its world, as a runner tells it things.

    It lends the context for the time of each call, and tells one thing at a time: what is told during a callback waits
    until that is over, and is told before the call returns. What the strategy raises passes through; what waited is
    forgotten then. A thing that the class has no callback for costs a comparison.
    """

    def __init__(self, strategy: Strategy, context: Context) -> None:
        self._strategy = strategy
        self._context = context
        self._waiting: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        cls = type(strategy)
        self.hears_opens = cls.on_open is not Strategy.on_open
        self.hears_bars = cls.on_bar is not Strategy.on_bar
        self.hears_quotes = cls.on_quote is not Strategy.on_quote
        self.hears_trades = cls.on_trade is not Strategy.on_trade
        self.hears_order_events = cls.on_order_event is not Strategy.on_order_event

    def start(self) -> None:
        self._tell(self._strategy.on_start)

    def stop(self) -> None:
        self._tell(self._strategy.on_stop)

    def open(self, symbol: str, price: Decimal, time: datetime) -> None:
        if self.hears_opens:
            self._tell(self._strategy.on_open, symbol, price, time)

    def bar(self, bar: Bar) -> None:
        if self.hears_bars:
            self._tell(self._strategy.on_bar, bar)

    def quote(self, quote: Quote) -> None:
        if self.hears_quotes:
            self._tell(self._strategy.on_quote, quote)

    def trade(self, trade: Trade) -> None:
        if self.hears_trades:
            self._tell(self._strategy.on_trade, trade)

    def order_event(self, event: OrderEvent) -> None:
        if self.hears_order_events:
            self._tell(self._strategy.on_order_event, event)

    def timer(self, name: str, time: datetime) -> None:
        self._tell(self._strategy.on_timer, name, time)

    def _tell(self, callback: Callable[..., None], *about: object) -> None:
        strategy = self._strategy
        if strategy._context is not None:
            self._waiting.append((callback, about))
            return
        strategy._context = self._context
        try:
            callback(*about)
            if self._waiting:
                self._tell_waiting()
        finally:
            strategy._context = None
            self._waiting.clear()

    def _tell_waiting(self) -> None:
        # The list grows while it is read: each callback may cause more.
        for told, (callback, about) in enumerate(self._waiting):
            if told == CASCADE_MAX:
                name = type(self._strategy).__name__
                raise StrategyError(f"{name} answers its own events without end: {CASCADE_MAX} at {self._context.now}")
            callback(*about)
