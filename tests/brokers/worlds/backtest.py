"""The world of the contract in which a matching engine in memory is the broker: virtual time, and no wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal

from foldbook.brokers.backtest import BacktestBroker
from foldbook.market.records import Quote
from foldbook.venue.orders import Costs, VenueInstrument
from tests.builders import NOW


class BacktestWorld:
    account = "alice/binance/backtest"
    symbol = "BTCUSDT"
    base = "BTC"
    currency = "USDT"
    step = Decimal("1e-18")

    def __init__(self) -> None:
        self._now = NOW
        self.broker = BacktestBroker(
            self.account,
            self.now,
            costs=Costs(taker=Decimal("0.001")),
            instruments=[VenueInstrument(symbol=self.symbol, quote_currency=self.currency)],
            expects=[self.symbol],
        )

    def now(self) -> datetime:
        return self._now

    async def quote(self, bid: str, ask: str, bid_size: str | None = None, ask_size: str | None = None) -> None:
        await self.advance(0.001)
        self.broker.quote(Quote(self.symbol, self._now, bid, ask, bid_size, ask_size))

    async def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    async def faults(self, **faults: int | str) -> None:
        raise AssertionError("there is no wire")


@asynccontextmanager
async def backtest_world() -> AsyncIterator[BacktestWorld]:
    world = BacktestWorld()
    yield world
    await world.broker.close()
