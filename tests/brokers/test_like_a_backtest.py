"""The same strategy, the same data: a backtest, and the simulated venue with a gateway, over sockets and in a real log.

For each order the same events happen, in the same order and at the same times. What may differ is declared: the ids
that a broker gives, and which of two orders that leave in the same moment is answered first. Orders leave when there
are data: a venue whose clock is that of the data does not know the time between two of them, when a timer fires.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from foldbook.backtest.loop import Loop
from foldbook.backtest.world import Settings
from foldbook.brokers.port import Report
from foldbook.brokers.process import GatewayProcess
from foldbook.brokers.simulated import SimulatedBroker
from foldbook.market.records import Datum, Quote, Trade, time_of
from foldbook.market.timeline import timeline
from foldbook.strategies import Strategy
from foldbook.strategies.examples.twap import Twap
from foldbook.trading.book import ORDER_BOOK
from tests.brokers.venue_process import VenueProcess, venue_process
from tests.services.test_like_a_backtest import COSTS, STRATEGIES, Kept, data, shown
from tests.services.world import ACCOUNT, SYMBOL, Log, nothing_read, open_cash, opened, runner_of

WAIT_S = 60
DECLARED = {"client_order_id", "broker_order_id", "ended_order_id", "exec_id", "request_id", "doubt_id"}
"""What a broker names in its own way, and the ids of commands."""


class CountingBroker(SimulatedBroker):
    """It knows how much of the stream has been handed over."""

    seq = 0

    def reports(self) -> AbstractAsyncContextManager[AsyncIterator[Report]]:
        return self._counted()

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[AsyncIterator[Report]]:
        async with super().reports() as stream:
            yield self._count(stream)

    async def _count(self, stream: AsyncIterator[Report]) -> AsyncIterator[Report]:
        async for report in stream:
            yield report
            self.seq = json.loads(report.raw or "{}")["seq"]


class Venue:
    """The gateway and the venue of the account, a moment at a time."""

    def __init__(self, log: Log, venue: VenueProcess, start_ns: int) -> None:
        self._log = log
        self._venue = venue
        self.now_ns = start_ns
        self.broker = CountingBroker(venue.url, lambda: time_of(self.now_ns))
        self.gateway = GatewayProcess(
            log.dsn,
            "simulated",
            1,
            lambda _: self.broker,
            "test",
            now=lambda: time_of(self.now_ns),
            new_id=uuid7,
            poll_interval_s=0.2,
        )
        self._running = asyncio.create_task(self.gateway.run())

    async def show(self, told: Datum) -> None:
        self.now_ns = max(self.now_ns, told.time_ns)
        time = time_of(told.time_ns).isoformat()
        if isinstance(told, Quote):
            body = {"bid": f"{told.bid:f}", "ask": f"{told.ask:f}"}
            sizes = {"bid_size": told.bid_size, "ask_size": told.ask_size}
            body |= {name: f"{size:f}" for name, size in sizes.items() if size is not None}
            await self._put("/quotes", body | {"symbol": told.symbol, "time": time})
        else:
            assert isinstance(told, Trade)
            size = {} if told.size is None else {"size": f"{told.size:f}"}
            await self._put("/trades", {"symbol": told.symbol, "price": f"{told.price:f}", "time": time, **size})
        await self.settled()

    async def _put(self, path: str, body: dict[str, Any]) -> None:
        await asyncio.to_thread(self._venue.put, path, body)

    async def settled(self) -> int:
        """Wait until the gateway has done everything that the log and the venue ask for. Returns the log's head."""
        async with asyncio.timeout(WAIT_S):
            while True:
                told = (await asyncio.to_thread(self._venue.client.get, "/health")).json()["report_seq"]
                recorded = await self._log.recorded()
                head, sequence = (recorded[-1].position, recorded[-1].sequence) if recorded else (0, 0)
                term = self.gateway.term
                if (
                    self.broker.seq >= told
                    and term is not None
                    and term.is_idle
                    and term.sequence_of(ACCOUNT) == sequence
                    and (await self._log.recorded())[-1:] == recorded[-1:]
                ):
                    return head
                if self._running.done():
                    self._running.result()
                await asyncio.sleep(0.002)

    async def close(self) -> None:
        self.gateway.stop()
        await self._running
        await self.broker.close()


def by_subject(events: Iterable[tuple[object, ...]]) -> dict[object, list[tuple[object, ...]]]:
    """The events of each order, without what is declared."""
    found: dict[object, list[tuple[object, ...]]] = defaultdict(list)
    for name, subject, occurred_at, payload in events:
        assert isinstance(payload, bytes)
        members = {key: value for key, value in json.loads(payload).items() if key not in DECLARED}
        found[subject].append((name, occurred_at, members))
    return found


@pytest.mark.parametrize(
    ("cls", "parameters"),
    [pair for pair in STRATEGIES if pair[0] is not Twap],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_each_order_has_the_events_of_the_backtest(
    cls: type[Strategy], parameters: dict[str, Any], database: str, tmp_path: Path
) -> None:
    kept, rows = Kept(), data()
    settings = Settings(
        account=ACCOUNT, strategy_id="trend", symbols=(SYMBOL,), cash=Decimal(10000), currency="USD", costs=COSTS
    )
    loop = Loop(settings, cls(**parameters), kept)
    loop.run(timeline([rows]))
    fees = f"taker={COSTS.taker:f},maker={COSTS.maker:f}"
    with venue_process(tmp_path, "--clock", "data", "--fee", fees) as running:
        async with opened(database) as log:
            await open_cash(log, now=time_of(rows[0].time_ns))
            venue = Venue(log, running, rows[0].time_ns)
            runner = runner_of(log, cls(**parameters))
            await runner.start(nothing_read, rows[0].time_ns)
            for datum in rows:
                while await runner.fire_next(datum.time_ns):
                    venue.now_ns = max(venue.now_ns, runner.world.now_ns)
                    await settle(runner, venue)
                await runner.show(datum)
                await venue.show(datum)
                await settle(runner, venue)
                await runner.tell(datum)
                await settle(runner, venue)
            await runner.stop()
            await settle(runner, venue)
            await venue.close()
            recorded = await log.recorded()
            events = await log.events()
    found = by_subject(shown(event, each.occurred_at) for event, each in zip(events, recorded, strict=True))
    expected = by_subject(kept.events)
    assert loop.fills
    assert {subject: found[subject] for subject in expected if subject is not None} == {
        subject: events for subject, events in expected.items() if subject is not None
    }
    assert found.keys() == expected.keys()
    book = ORDER_BOOK.fold(events)
    assert book.position_qty(SYMBOL) == loop.position(SYMBOL)
    assert (runner.world.cash, runner.world.equity) == (loop.cash, loop.equity)


async def settle(runner: Any, venue: Venue) -> None:
    """Everything that follows: the gateway first, then one event for the strategy."""
    venue.now_ns = max(venue.now_ns, runner.world.now_ns)
    while True:
        await runner.read(await venue.settled())
        if not await runner.tell_next():
            return
