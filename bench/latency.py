"""From the append until the row can be read, at half of full load, the projector in a process of its own.

Full load is what the bus does with 256 callers and a mix of commands while the projector runs; then commands come at
half that rate, whether or not earlier ones were answered. An event's time begins with its ``recorded_at``, read from
the clock inside the append, before its insert and its fsync, and ends when this process, woken by the projection's
notification, has read the row of the range's last order from ``read.orders`` and found the event in it. Every event
counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from statistics import median, quantiles
from typing import Any

import asyncpg
import psycopg
import uvloop
from asyncpg.prepared_stmt import PreparedStatement

from bench.arena import engine, run_child
from bench.bus_load import BusLoad
from bench.rounds import Stage, tell
from bench.table import Row, Slice
from foldbook.postgres.connection import connect

ROUNDS = 2
MARGIN_S = 1.0
CATCH_UP_S = 30.0
PROJECTION = "orders"

_HEAD = "select coalesce(max(position), 0) from eventstore.events"
_SEEN = """
select (
    select o.last_position >= e.position
    from read.orders o
    where o.account = e.aggregate_id and o.order_id = e.subject
)
from eventstore.events e
where e.shard = 0 and e.position = $1
"""
_BY_KEY = "set enable_seqscan = off; set enable_bitmapscan = off"
_RECORDED = """
select position, extract(epoch from recorded_at)::double precision
from eventstore.events
where shard = 0 and position > %s and subject is not null
order by position
"""


def measure_latency(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    dsn = stage.place.create_database()
    p50_ms, p99_ms, rates = [], [], []
    with engine(dsn, stage.place.folder, "projections", "run"):
        for number in range(ROUNDS):
            full = run_child("bench.bus_load", BusLoad(dsn=dsn, seconds=sizes.slice_s, is_mixed=True), Slice)
            _wait_for_projector(dsn)
            load = BusLoad(dsn=dsn, seconds=sizes.latency_s, rate=full.rate / 2)
            half, latencies_ms = uvloop.run(_watch(dsn, load))
            percentiles = quantiles(latencies_ms, n=100)
            p50_ms.append(percentiles[49])
            p99_ms.append(percentiles[98])
            rates.append(half.rate)
            tell(f"latency, round {number + 1}: p50 {percentiles[49]:.1f} ms, p99 {percentiles[98]:.1f} ms")
    what = "append to readable, half of full load"
    detail = f"at {median(rates):,.0f} commands/s"
    return [
        _row(f"{what}, p50", p50_ms, must=10, aim=5, detail=detail),
        _row(f"{what}, p99", p99_ms, must=50, aim=20, detail=detail),
    ]


def _row(what: str, values_ms: list[float], *, must: float, aim: float, detail: str) -> Row:
    return Row(
        what=what,
        value=median(values_ms),
        low=min(values_ms),
        high=max(values_ms),
        unit="ms",
        must=must,
        aim=aim,
        is_cost=True,
        detail=detail,
    )


async def _watch(dsn: str, load: BusLoad) -> tuple[Slice, list[float]]:
    """Offer the load and note when each range could be read."""
    reader = await RangeReader.start(dsn)
    done = await asyncio.to_thread(run_child, "bench.bus_load", load, Slice)
    events = await asyncio.to_thread(_events_after, dsn, reader.head)
    async with asyncio.timeout(CATCH_UP_S):
        await reader.has_read(events[-1][0])
    begin, end = events[0][1] + MARGIN_S, events[-1][1] - MARGIN_S / 2
    return done, list(_latencies_ms(reader.ranges, ((p, at) for p, at in events if begin <= at <= end)))


class RangeReader:
    """Woken by the projection's notifications, reads a row of each range and notes the time.

    ``ranges``: (checkpoint, when rows up to it had been read). ``head``: where the log ended at the start.
    """

    def __init__(self, connection: asyncpg.Connection[Any], seen: PreparedStatement[asyncpg.Record], head: int) -> None:
        self._connection = connection
        self._seen = seen
        self._task = asyncio.create_task(self._read())
        self._announced = asyncio.Event()
        self._checkpoint = head
        self.head = head
        self.ranges: list[tuple[int, float]] = []

    @classmethod
    async def start(cls, dsn: str) -> RangeReader:
        connection = await connect(dsn)
        await connection.execute(_BY_KEY)
        reader = cls(connection, await connection.prepare(_SEEN), await connection.fetchval(_HEAD))
        await connection.add_listener("foldbook_checkpoint", reader._hear)
        return reader

    async def has_read(self, position: int) -> None:
        """Returns when the rows up to ``position`` have been read, and ends the reading."""
        while not self.ranges or self.ranges[-1][0] < position:
            await asyncio.wait([self._task], timeout=0.02)
            if self._task.done():
                self._task.result()
        self._task.cancel()
        await self._connection.close()

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        projection, _shard, checkpoint = str(payload).split(":")
        if projection == PROJECTION:
            self._checkpoint = int(checkpoint)
            self._announced.set()

    async def _read(self) -> None:
        while True:
            await self._announced.wait()
            self._announced.clear()
            checkpoint = self._checkpoint
            if await self._seen.fetchval(checkpoint) is False:
                raise RuntimeError(f"checkpoint {checkpoint} was announced before its rows could be read")
            self.ranges.append((checkpoint, time.time()))


def _events_after(dsn: str, head: int) -> list[tuple[int, float]]:
    """(position, recorded_at) of every event about an order after ``head``."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(_RECORDED, [head]).fetchall()


def _latencies_ms(ranges: list[tuple[int, float]], events: Iterable[tuple[int, float]]) -> Iterable[float]:
    arrivals = iter(ranges)
    checkpoint, read_at = next(arrivals)
    for position, recorded_at in events:
        while checkpoint < position:
            checkpoint, read_at = next(arrivals)
        yield (read_at - recorded_at) * 1e3


def _wait_for_projector(dsn: str) -> None:
    """Until the projection has done all there is."""
    deadline = time.monotonic() + CATCH_UP_S
    with psycopg.connect(dsn, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute(
                "select (select max(position) from eventstore.events) <= max(checkpoint) "
                "from eventstore.subscriptions where name = %s",
                [PROJECTION],
            ).fetchone()
            if row is not None and row[0]:
                return
            time.sleep(0.05)
    raise RuntimeError("the projector did not catch up")
