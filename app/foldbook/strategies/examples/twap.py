"""Trades a quantity evenly over time (TWAP: time-weighted average price)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from foldbook.strategies import OrderDenied, OrderEnd, OrderEvent, Side, Strategy


class Twap(Strategy):
    """Sends the quantity of the first symbol in equal market orders, one per interval. What a slice could not trade is
    added to the next one; what the last one could not trade is left."""

    side: str = "BUY"
    quantity: Decimal = Decimal(100)
    slices: int = 10
    every_s: int = 60  # from one slice to the next; the first comes after one interval
    lot: Decimal = Decimal(1)

    def on_start(self) -> None:
        self._side = Side(self.side)
        if self.slices < 1 or self.every_s < 1 or self.lot <= 0 or self.quantity <= 0 or self.quantity % self.lot:
            raise ValueError("slices, every_s, lot and quantity must be above 0, and quantity a multiple of lot")
        self._slice = 0
        self._sent = Decimal(0)
        self.set_timer("slice", every=timedelta(seconds=self.every_s))

    def on_timer(self, name: str, time: datetime) -> None:
        self._slice += 1
        if self._slice == self.slices:
            self.cancel_timer(name)
        target = self.quantity * self._slice / self.slices
        due = target - target % self.lot - self._sent
        if due > 0:
            self._sent += due
            place = self.buy if self._side is Side.BUY else self.sell
            place(self.symbols[0], due)

    def on_order_event(self, event: OrderEvent) -> None:
        if isinstance(event, OrderEnd | OrderDenied):
            self._sent -= event.quantity - event.cum_qty
