"""Follows a trend: long while the fast mean of closes is above the slow one, short while it is below."""

from __future__ import annotations

from decimal import Decimal

from foldbook.strategies import Bar, Strategy


class SmaCross(Strategy):
    """Buys when the fast mean of closes crosses above the slow one, sells when it crosses below. Each signal first
    closes the position that there is."""

    fast: int = 10
    slow: int = 30
    quantity: Decimal = Decimal(100)

    def on_start(self) -> None:
        if not 0 < self.fast < self.slow:
            raise ValueError(f"fast={self.fast} must be above 0 and below slow={self.slow}")

    def on_bar(self, bar: Bar) -> None:
        bars = self.history(bar.symbol, self.slow + 1)
        if len(bars) <= self.slow:
            return  # a crossing takes both means twice
        closes = [each.close for each in bars]
        before, now = self.above(closes[:-1]), self.above(closes)
        if before < 0 < now:
            self.close(bar.symbol)
            self.buy(bar.symbol, self.quantity)
        elif now < 0 < before:
            self.close(bar.symbol)
            self.sell(bar.symbol, self.quantity)

    def above(self, closes: list[Decimal]) -> Decimal:
        """Positive if the fast mean is above the slow one. Without a division, so that a tie is a tie."""
        return sum(closes[-self.fast :], Decimal(0)) * self.slow - sum(closes[-self.slow :], Decimal(0)) * self.fast
