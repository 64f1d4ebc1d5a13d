"""Trades breakouts, each with a stop and a target that cancel each other."""

from __future__ import annotations

from decimal import Decimal

from foldbook.strategies import Bar, GroupKind, OrderGroup, Strategy


class Brackets(Strategy):
    """Buys when a close is above all highs of the bars before, at market or at a limit below the close, and sends a
    stop and a target with it. The three are one group: what trades of an exit is taken off the other one, and both are
    canceled if the entry ends untraded."""

    lookback: int = 20
    quantity: Decimal = Decimal(100)
    pullback: Decimal = Decimal(0)  # the entry's limit is so far below the close, as a fraction of it; 0: at market
    stop: Decimal = Decimal("0.02")  # the fractions of the close by which the exits are away from it
    target: Decimal = Decimal("0.04")
    tick: Decimal = Decimal("0.01")

    def on_start(self) -> None:
        if not 0 <= self.pullback < self.stop < 1 or min(self.target, self.tick, Decimal(self.lookback)) <= 0:
            raise ValueError("pullback must be below stop, stop below 1; target, tick and lookback above 0")

    def on_bar(self, bar: Bar) -> None:
        symbol = bar.symbol
        bars = self.history(symbol, self.lookback + 1)
        if len(bars) <= self.lookback or bar.close <= max(each.high for each in bars[:-1]):
            return
        if self.position(symbol) or self.orders(symbol):
            return
        # An id that no group of the account has had: the time and the symbol's number.
        group = OrderGroup(kind=GroupKind.BRACKET, id=f"{self.now:%Y%m%dT%H%M%S.%f}-{self.symbols.index(symbol)}")
        entry = self.price(bar.close * (1 - self.pullback)) if self.pullback else None
        self.buy(symbol, self.quantity, limit_price=entry, group=group)  # the first order of a group is its entry
        stop, target = self.price(bar.close * (1 - self.stop)), self.price(bar.close * (1 + self.target))
        self.sell(symbol, self.quantity, stop_price=stop, reduce_only=True, group=group)
        self.sell(symbol, self.quantity, limit_price=target, reduce_only=True, group=group)

    def price(self, price: Decimal) -> Decimal:
        return price - price % self.tick
