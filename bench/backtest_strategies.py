"""The strategies whose backtests are measured."""

from __future__ import annotations

from foldbook.market.records import Bar, Quote
from foldbook.strategies import Strategy


class Idle(Strategy):
    """Is told every quote, and does nothing."""

    def on_quote(self, quote: Quote) -> None:
        pass


class OnQuotes(Strategy):
    """Buys at one quote and sells at the next."""

    def on_start(self) -> None:
        self._buys = True

    def on_quote(self, quote: Quote) -> None:
        (self.buy if self._buys else self.sell)(quote.symbol, 1)
        self._buys = not self._buys


class OnBars(Strategy):
    """Buys at one close and sells at the next. ``number`` changes nothing: a sweep needs something to try."""

    number: int = 0

    def on_start(self) -> None:
        self._buys = True

    def on_bar(self, bar: Bar) -> None:
        (self.buy if self._buys else self.sell)(bar.symbol, 1)
        self._buys = not self._buys
