"""The crossing of two means with all of the equity, sized at the open where it trades."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from foldbook.strategies import Bar, Side, Strategy

SAFETY = 1 - Decimal("2.220446049250313e-16")
"""What backtesting.py leaves unspent, so that whole numbers of shares come out the same."""


class SizedSma(Strategy):
    """Decides at the close of a bar as ``SmaCross`` does, and acts at the next open: it closes what it holds and puts
    all of its equity into whole shares of the other side."""

    fast: int = 10
    slow: int = 30
    commission: Decimal = Decimal(0)  # of the money of a fill, as the backtest charges it
    quantity: int = 0  # 0: all of the equity

    def on_start(self) -> None:
        if not 0 < self.fast < self.slow:
            raise ValueError(f"fast={self.fast} must be above 0 and below slow={self.slow}")
        self._signals: dict[str, Side] = {}

    def on_bar(self, bar: Bar) -> None:
        bars = self.history(bar.symbol, self.slow + 1)
        if len(bars) <= self.slow:
            return  # a crossing takes both means twice
        closes = [each.close for each in bars]
        before, now = self.above(closes[:-1]), self.above(closes)
        if before < 0 < now:
            self._signals[bar.symbol] = Side.BUY
        elif now < 0 < before:
            self._signals[bar.symbol] = Side.SELL

    def on_open(self, symbol: str, price: Decimal, time: datetime) -> None:
        side = self._signals.pop(symbol, None)
        if side is None:
            return
        quantity = self.quantity or self.shares(symbol, price)
        self.close(symbol)
        if quantity > 0:
            self.buy(symbol, quantity) if side is Side.BUY else self.sell(symbol, quantity)

    def shares(self, symbol: str, price: Decimal) -> int:
        """How many shares the equity pays for once the position is closed at this price, with the fees of both."""
        held = self.position(symbol)
        equity = self.cash + held * price - abs(held) * price * self.commission
        return int(equity * SAFETY // (price * (1 + self.commission)))

    def above(self, closes: list[Decimal]) -> Decimal:
        """Positive if the fast mean is above the slow one. Without a division, so that a tie is a tie."""
        return sum(closes[-self.fast :], Decimal(0)) * self.slow - sum(closes[-self.slow :], Decimal(0)) * self.fast
