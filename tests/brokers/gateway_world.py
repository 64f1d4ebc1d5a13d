"""An account, the gateway that works it, and the simulated venue, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from uuid_utils.compat import uuid7

from foldbook.brokers.process import GatewayProcess
from foldbook.brokers.reconciling import Reconciliation
from foldbook.brokers.simulated import SimulatedBroker
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import AggregateKey, Event
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.commands import BookCommand
from foldbook.trading.events import EVENT_TYPES
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from tests.brokers.venue_process import VenueProcess
from tests.builders import open_account
from tests.waiting import until

WAIT_S = 20
"""How long a test waits for what must come. Nothing is measured by it."""

_numbers = count(1)


def now() -> datetime:
    return datetime.now(UTC)


class GatewayWorld:
    """``account`` and ``symbol`` are of this world alone: the venue is shared."""

    def __init__(self, dsn: str, venue: VenueProcess, *, send_s: float = 0.5, settle_s: float = 0.3) -> None:
        number = next(_numbers)
        self.dsn = dsn
        self.venue = venue
        self.account = f"user-{number}/venue/simulated"
        self.symbol = f"SYMBOL{number}"
        self.store = PostgresStore(dsn)
        self.bus = CommandBus(self.store, ORDER_BOOK)
        self._send_s = send_s
        self._settle_s = settle_s
        self.gateway: GatewayProcess | None = None
        self._running: asyncio.Task[None] | None = None
        self._broker: SimulatedBroker | None = None

    # -- the gateway ---------------------------------------------------------------------------------------------

    async def start_gateway(self) -> GatewayProcess:
        broker = SimulatedBroker(self.venue.url, now, send_s=self._send_s, settle_s=self._settle_s)
        self._broker = broker
        self.gateway = GatewayProcess(
            self.dsn, "simulated", 1, lambda _: broker, "test", now=now, new_id=uuid7, poll_interval_s=0.2, term_s=2.0
        )
        self._running = asyncio.create_task(self.gateway.run())
        await until(self._is_working)
        return self.gateway

    def _is_working(self) -> bool:
        assert self._running is not None
        if self._running.done():
            self._running.result()
        assert self.gateway is not None
        return self.gateway.is_working

    async def stop_gateway(self) -> None:
        if self.gateway is not None and self._running is not None:
            self.gateway.stop()
            await self._running
        if self._broker is not None:
            await self._broker.close()
        self.gateway = self._running = self._broker = None

    async def close(self) -> None:
        await self.stop_gateway()
        await self.bus.stop()
        await self.store.close()

    # -- the account ---------------------------------------------------------------------------------------------

    async def execute(self, command: BookCommand) -> CommandResult:
        return await self.bus.execute(command)

    async def events(self) -> list[Event]:
        stored = await self.store.read_aggregates(0, [(AggregateKey("order_book", self.account), 0)])
        return [EVENT_TYPES.decode(event.type, event.schema_version, event.payload) for event in stored]

    async def types(self, order_id: str | None = None) -> list[str]:
        return [type(e).__name__ for e in await self.events() if order_id is None or e.subject == order_id]

    async def book(self) -> Book:
        return ORDER_BOOK.fold(await self.events())

    async def order(self, order_id: str) -> Order:
        order: Order | None = None
        for event in await self.events():
            if event.subject == order_id:
                order = evolve_order(order, event)
        assert order is not None
        return order

    async def order_is(self, order_id: str, holds: Callable[[Order], bool]) -> Order:
        """Wait until it holds of the order."""
        async with asyncio.timeout(WAIT_S):
            while True:
                order = await self.order(order_id)
                if holds(order):
                    return order
                await asyncio.sleep(0.02)

    async def position_is(self, quantity: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while (await self.book()).position_qty(self.symbol) != Decimal(quantity):
                await asyncio.sleep(0.02)

    async def event_is(self, event_type: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while event_type not in await self.types():
                await asyncio.sleep(0.02)

    async def reconcile(self) -> Reconciliation:
        assert self.gateway is not None
        assert self.gateway.term is not None
        return await self.gateway.term.reconcile(self.account)

    async def caught_up(self) -> None:
        """Wait until the gateway has heard all of the account's events."""
        sequence = len(await self.events())

        def has_heard() -> bool:
            assert self.gateway is not None
            return self.gateway.term is not None and self.gateway.term.sequence_of(self.account) >= sequence

        await until(has_heard)

    async def idle(self) -> None:
        """Wait until the gateway has nothing to do."""

        def is_idle() -> bool:
            assert self.gateway is not None
            return self.gateway.term is not None and self.gateway.term.is_idle

        await until(is_idle)

    # -- the venue -----------------------------------------------------------------------------------------------

    async def quote(self, bid: str, ask: str, bid_size: str | None = None, ask_size: str | None = None) -> None:
        await asyncio.to_thread(self.venue.quote, self.symbol, bid, ask, bid_size, ask_size)

    async def faults(self, **faults: int | str) -> None:
        await asyncio.to_thread(self.venue.faults, **faults)


@asynccontextmanager
async def gateway_world(dsn: str, venue: VenueProcess, **timing: float) -> AsyncIterator[GatewayWorld]:
    world = GatewayWorld(dsn, venue, **timing)
    await world.bus.start()
    await world.execute(open_account(world.account))
    await world.start_gateway()
    try:
        yield world
    finally:
        await world.close()
        await world.faults()
