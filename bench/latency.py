"""From the append until the row can be read, at half of full load, with the projector in a separate process.

Full load is what the bus does with 256 callers and a mix of commands while the projector runs. Then commands come at
half that rate, whether or not earlier ones were answered. If the machine slows down so much that the bus's queue fills
up, the round is given up, full load is measured again, and the row says so. An event's time begins with its
``recorded_at``, read from the clock inside the append, before its insert and its fsync. It ends when this process,
woken by the projection's notification, has read the row of the range's last order from ``read.orders`` and found the
event in it. Every event counts.

The rate that all projections keep up with comes from the same full load: its commands, divided by the time from the
first of them until every projection has reached the last.
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

from bench.arena import engine, run_child, tell
from bench.bus_load import BusLoad
from bench.rounds import Stage
from bench.table import Row, Slice
from bench.targets import KEEPING_UP, LATENCY_P50, LATENCY_P99
from foldbook.postgres.connection import connect

ROUNDS = 2
RETRIES_MAX = 3
MARGIN_S = 1.0
CATCH_UP_S = 60.0
PROJECTION = "orders"
WHAT_P50, WHAT_P99 = (f"append to readable, half of full load, {percentile}" for percentile in ("p50", "p99"))

_HEAD = "select coalesce(max(position), 0) from eventstore.events"
_CAUGHT_UP = """
select (select max(position) from eventstore.events) <= min(checkpoint)
from eventstore.subscriptions
"""
_RATE = """
select count(*) / extract(epoch from clock_timestamp() - min(recorded_at))::double precision
from eventstore.commands
where first_position > %s
"""
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
    dsn = stage.place.create_database()
    p50_ms: list[float] = []
    p99_ms: list[float] = []
    rates: list[float] = []
    kept_up: list[float] = []
    retries = 0
    with engine(dsn, stage.place.folder, "projections", "run"):
        while len(rates) < ROUNDS and retries <= RETRIES_MAX:
            head = _head(dsn)
            full = run_child("bench.bus_load", BusLoad(dsn=dsn, seconds=stage.sizes.slice_s, is_mixed=True), Slice)
            wait_for_projections(dsn)
            kept_up.append(_rate_since(dsn, head))
            load = BusLoad(dsn=dsn, seconds=stage.sizes.latency_s, rate=full.rate / 2)
            half, latencies_ms = uvloop.run(_watch(dsn, load))
            if half.is_refused:
                retries += 1
                wait_for_projections(dsn)
                tell(f"latency: {full.rate / 2:,.0f} commands/s was more than the machine can do by now; again")
                continue
            percentiles = quantiles(latencies_ms, n=100)
            p50_ms.append(percentiles[49])
            p99_ms.append(percentiles[98])
            rates.append(half.rate)
            tell(f"latency, round {len(rates)}: p50 {percentiles[49]:.1f} ms, p99 {percentiles[98]:.1f} ms")
    if rates:
        detail = f"at {median(rates):,.0f} commands/s"
        if retries:
            detail += f"; {retries} more rounds were given up because the machine slowed down"
        rows = [LATENCY_P50.row(WHAT_P50, p50_ms, detail), LATENCY_P99.row(WHAT_P99, p99_ms, detail)]
    else:
        why = f"the machine slowed down in each of {retries} rounds, until the queue was full"
        rows = [LATENCY_P50.not_measured(WHAT_P50, why), LATENCY_P99.not_measured(WHAT_P99, why)]
    return [*rows, KEEPING_UP.row("all projections keep up with", kept_up, "mixed commands, until all can be read")]


async def _watch(dsn: str, load: BusLoad) -> tuple[Slice, list[float]]:
    """Offer the load and note when each range could be read. No latencies if the load was refused."""
    reader = await RangeReader.start(dsn)
    try:
        done = await asyncio.to_thread(run_child, "bench.bus_load", load, Slice)
        if done.is_refused:
            return done, []
        events = await asyncio.to_thread(_events_after, dsn, reader.head)
        async with asyncio.timeout(CATCH_UP_S):
            await reader.has_read(events[-1][0])
    finally:
        await reader.close()
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
        """Returns when the rows up to ``position`` have been read."""
        while not self.ranges or self.ranges[-1][0] < position:
            await asyncio.wait([self._task], timeout=0.02)
            if self._task.done():
                self._task.result()

    async def close(self) -> None:
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


def _head(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        (head,) = connection.execute(_HEAD).fetchone() or (0,)
        return int(head)


def wait_for_projections(dsn: str) -> None:
    """Until every projection has reached the head."""
    deadline = time.monotonic() + CATCH_UP_S
    with psycopg.connect(dsn, autocommit=True) as connection:
        while time.monotonic() < deadline:
            if connection.execute(_CAUGHT_UP).fetchone() == (True,):
                return
            time.sleep(0.02)
    raise RuntimeError("the projector did not catch up")


def _rate_since(dsn: str, head: int) -> float:
    """Commands a second from the first one after position ``head`` until now."""
    with psycopg.connect(dsn) as connection:
        (rate,) = connection.execute(_RATE, [head]).fetchone() or (0.0,)
        return float(rate)
