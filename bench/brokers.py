"""The gateway at work, between the log and the simulated venue, each in a process of its own.

Latencies, at a modest rate: from the commit of an order until it is given to the connection to the venue, and from a
trade coming out of that connection until a reader has read the order's row that shows it. An order's time begins with
its ``recorded_at``, read inside the append, before its insert and its fsync.

Capacity: how many orders a second one gateway works, placed on so many accounts by another process. First a load that
always has ``BACKLOG`` orders waiting says about what it can do; then orders come at a steady rate, a little less each
time, until the gateway keeps up for ``brokers_s`` seconds. Half of the orders are filled at once.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import msgspec
import psutil
import psycopg
import uvloop

from bench.arena import ROOT, STOP_TIMEOUT_S, Arena, engine, run_child, tell
from bench.brokers_gateway import GatewayTask, Stamps
from bench.brokers_load import OrderLoad, OrderTally
from bench.latency import CATCH_UP_S, RangeReader, wait_for_projections
from bench.rounds import Stage
from bench.table import Row
from bench.targets import (
    GATEWAY_ORDERS,
    GATEWAY_ORDERS_PROJECTED,
    READABLE_P50,
    READABLE_P99,
    SENT_P50,
    SENT_P99,
)
from foldbook.engine.rabbit import free_port

MODEST_RATE = 100.0
MODEST_ACCOUNTS = 20
BACKLOG = 1_000
PROBE_S = 4.0
FIRST_SHARE = 0.95
NEXT_SHARE = 0.9
TRIES_MAX = 4
READY_TIMEOUT_S = 60.0

WHAT_SENT = "order committed to sent, 100 orders/s"
WHAT_READABLE = "report received to readable, 100 orders/s"

_IS_WORKING = """
select coalesce(bool_and(status ->> 'state' in ('working', 'idle')), false)
from eventstore.lease_status('gateway:')
"""
_RECORDED = """
select submitted.payload ->> 'client_order_id', extract(epoch from created.recorded_at)::double precision
from eventstore.events submitted
join eventstore.events created
    on created.shard = 0 and created.subject = submitted.subject and created.type = 'OrderCreated'
where submitted.shard = 0 and submitted.type = 'OrderSubmitted'
"""
_FILLED = """
select filled.position, submitted.payload ->> 'client_order_id'
from eventstore.events filled
join eventstore.events submitted
    on submitted.shard = 0 and submitted.subject = filled.subject and submitted.type = 'OrderSubmitted'
where filled.shard = 0 and filled.type = 'OrderFilled'
order by filled.position
"""


def measure_brokers(stage: Stage) -> list[Row]:
    return [*measure_latencies(stage), *measure_capacity(stage)]


# -- latencies -----------------------------------------------------------------------------------------------------


def measure_latencies(stage: Stage) -> list[Row]:
    place, dsn = stage.place, stage.place.create_database()
    with engine(dsn, place.folder, "projections", "run"), venue(place) as (_, url):
        load = OrderLoad(
            dsn=dsn, venue_url=url, accounts=MODEST_ACCOUNTS, seconds=stage.sizes.brokers_s, rate=MODEST_RATE
        )
        ranges, stamps = uvloop.run(_watch(load))
    sent_ms, readable_ms = _sent_ms(dsn, stamps), _readable_ms(dsn, stamps, ranges)
    sent, readable = quantiles(sent_ms, n=100), quantiles(readable_ms, n=100)
    told = f"{len(sent_ms):,} orders on {MODEST_ACCOUNTS} accounts"
    tell(f"brokers: sent after {sent[49]:.1f} / {sent[98]:.1f} ms, readable after {readable[49]:.1f} ms")
    return [
        SENT_P50.row(f"{WHAT_SENT}, p50", [sent[49]], told),
        SENT_P99.row(f"{WHAT_SENT}, p99", [sent[98]], told),
        READABLE_P50.row(f"{WHAT_READABLE}, p50", [readable[49]], f"{len(readable_ms):,} trades"),
        READABLE_P99.row(f"{WHAT_READABLE}, p99", [readable[98]], f"{len(readable_ms):,} trades"),
    ]


async def _watch(load: OrderLoad) -> tuple[list[tuple[int, float]], Stamps]:
    """Offer the load. Returns when each range could be read, and what the gateway noted."""
    gateway = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.brokers_gateway",
        msgspec.json.encode(GatewayTask(dsn=load.dsn, venue_url=load.venue_url)).decode(),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    try:
        await asyncio.to_thread(_wait_until, lambda: _tells(load.dsn, _IS_WORKING))
        reader = await RangeReader.start(load.dsn)
        try:
            await asyncio.to_thread(run_child, "bench.brokers_load", load, OrderTally)
            filled = await asyncio.to_thread(_rows, load.dsn, _FILLED)
            async with asyncio.timeout(CATCH_UP_S):
                await reader.has_read(filled[-1][0])
        finally:
            await reader.close()
        told, _ = await asyncio.wait_for(gateway.communicate(b""), STOP_TIMEOUT_S)
    finally:
        if gateway.returncode is None:
            gateway.kill()
            await gateway.wait()
    return reader.ranges, msgspec.json.decode(told.splitlines()[-1], type=Stamps)


def _sent_ms(dsn: str, stamps: Stamps) -> list[float]:
    return [(stamps.sent[client_id] - recorded_at) * 1e3 for client_id, recorded_at in _rows(dsn, _RECORDED)]


def _readable_ms(dsn: str, stamps: Stamps, ranges: list[tuple[int, float]]) -> list[float]:
    latencies: list[float] = []
    arrivals = iter(ranges)
    checkpoint, read_at = next(arrivals)
    for position, client_id in _rows(dsn, _FILLED):
        while checkpoint < position:
            checkpoint, read_at = next(arrivals)
        latencies.append((read_at - stamps.traded[client_id]) * 1e3)
    return latencies


# -- capacity ------------------------------------------------------------------------------------------------------


def measure_capacity(stage: Stage) -> list[Row]:
    place, dsn = stage.place, stage.place.create_database()
    sizes = stage.sizes
    with venue(place) as (venue_process, url), ExitStack() as projecting:
        projector = projecting.enter_context(engine(dsn, place.folder, "projections", "run"))
        with engine(dsn, place.folder, "gateway", brokers="simulated", venue_url=url) as gateway:
            _wait_until(lambda: _tells(dsn, _IS_WORKING))
            load = OrderLoad(dsn=dsn, venue_url=url, accounts=sizes.brokers_accounts, seconds=sizes.brokers_s)
            processes = {"gateway": gateway.pid, "venue": venue_process.pid}
            projected = _highest(place, load, processes | {"projector": projector.pid})
            projecting.close()
            alone = _highest(place, load, processes)
    what = f"one gateway, {sizes.brokers_accounts:,} accounts, orders accepted"
    return [
        GATEWAY_ORDERS.row(what, [alone.rate], alone.detail),
        GATEWAY_ORDERS_PROJECTED.row(f"{what}, projector running", [projected.rate], projected.detail),
    ]


@dataclass(frozen=True)
class Kept:
    """A rate that the gateway kept up with."""

    rate: float
    detail: str


def _highest(place: Arena, load: OrderLoad, processes: dict[str, int]) -> Kept:
    """The first rate, from above, that the gateway keeps up with."""
    full = msgspec.structs.replace(load, seconds=PROBE_S, backlog=BACKLOG)
    probe = run_child("bench.brokers_load", full, OrderTally)
    tell(f"brokers: {probe.rate:,.0f} orders/s with {BACKLOG:,} waiting")
    rate = probe.rate * FIRST_SHARE
    for _ in range(TRIES_MAX):
        if "projector" in processes:
            wait_for_projections(load.dsn)
        cpu = Cpu(place, processes)
        tally = run_child("bench.brokers_load", msgspec.structs.replace(load, rate=rate), OrderTally)
        used = cpu.of(tally)
        tell(
            f"brokers: {rate:,.0f} orders/s offered: {tally.placed / tally.seconds:,.0f} placed, "
            f"{tally.attempted / tally.seconds:,.0f} attempted, {tally.rate:,.0f} accepted, "
            f"{tally.filled / tally.seconds:,.0f} filled, at most {tally.backlog_max:,} waiting, "
            f"{'kept up' if tally.keeps_up else 'did not keep up'}; CPU us per order: {used}"
        )
        if tally.keeps_up:
            return Kept(tally.rate, f"at most {tally.backlog_max:,} waiting; CPU us per order: {used}")
        rate *= NEXT_SHARE
    return Kept(probe.rate, f"with {BACKLOG:,} waiting; it kept up with no steady rate")


class Cpu:
    """What the processes use from now on."""

    def __init__(self, place: Arena, processes: dict[str, int]) -> None:
        self._place = place
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self._before = self._now_us()

    def _now_us(self) -> dict[str, float]:
        used = {name: sum(process.cpu_times()[:2]) * 1e6 for name, process in self._processes.items()}
        return used | {"PostgreSQL": self._place.cpu_us()}

    def of(self, tally: OrderTally) -> str:
        """Per order, with what was used before and after the seconds that were measured."""
        orders = max(tally.orders, 1)
        used = {name: (us - self._before[name]) / orders for name, us in self._now_us().items()}
        used["orders' maker"] = tally.cpu_share * 1e6 / (tally.placed / tally.seconds)
        return ", ".join(f"{name} {us:.0f}" for name, us in used.items())


# -- the venue -----------------------------------------------------------------------------------------------------


@contextmanager
def venue(place: Arena) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """``foldbook venue``: its process and its URL."""
    port = free_port()
    folder = place.folder / f"venue-{port}"
    url = f"http://127.0.0.1:{port}"
    with engine(place.dsn, place.folder, "venue", "--port", str(port), "--data-dir", str(folder)) as process:
        _wait_until(lambda: _is_healthy(url))
        yield process, url


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _is_healthy(url: str) -> bool:
    try:
        _opener.open(f"{url}/health", timeout=5).close()
    except OSError:
        return False
    return True


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError("the gateway or the venue did not start in time")
        time.sleep(0.05)


def _tells(dsn: str, question: str) -> bool:
    return _rows(dsn, question)[0][0] is True


def _rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()
