"""The world of the contract in which the simulated venue is the broker: another process, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from foldbook.brokers.simulated import SimulatedBroker
from tests.brokers.venue_process import VenueProcess

_numbers = count(1)


class SimulatedWorld:
    base = "BASE"
    currency = "USDT"
    step = Decimal("1e-18")

    def __init__(self, venue: VenueProcess) -> None:
        number = next(_numbers)
        self.account = f"user-{number}/venue/simulated"
        self.symbol = f"SYMBOL{number}"
        self.venue = venue
        self.broker = SimulatedBroker(venue.url, self.now, send_s=0.5, settle_s=0.2)
        venue.put(f"/instruments/{self.symbol}", {"quote_currency": self.currency})

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def quote(self, bid: str, ask: str, bid_size: str | None = None, ask_size: str | None = None) -> None:
        await asyncio.to_thread(self.venue.quote, self.symbol, bid, ask, bid_size, ask_size)

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def faults(self, **faults: int | str) -> None:
        await asyncio.to_thread(self.venue.faults, **faults)


@asynccontextmanager
async def simulated_world(venue: VenueProcess) -> AsyncIterator[SimulatedWorld]:
    world = SimulatedWorld(venue)
    try:
        yield world
    finally:
        await world.broker.close()
        await world.faults()
