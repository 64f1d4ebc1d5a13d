"""Streams of events at work: how soon what is appended is seen, and what that costs the writers.

Orders are posted to ``foldbook serve`` over HTTP, on ``ACCOUNTS`` accounts, by one process, and clients in another
follow ``/stream/events``: one for each account, or some that follow everything. Writers without and with clients take
turns: at a steady rate, of which it counts how much of it is done, and as fast as it goes.

An event's time begins with its ``recorded_at``, read inside the append, before its insert and its fsync.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import msgspec
import psutil

from bench.arena import ROOT, STOP_TIMEOUT_S, Arena, run_child, served, tell
from bench.http import CONNECTIONS
from bench.http_load import WARM_UP_S, HttpLoad
from bench.rounds import Stage
from bench.streams_clients import Clients, Seen
from bench.table import Row, Slice
from bench.targets import STREAM_ALL_P99, STREAM_P50, STREAM_P99, STREAM_WRITERS, STREAM_WRITERS_FULL

ACCOUNTS = 500
FOLLOW_ALL = 20
RATE = 2_000.0
PREFIX = "streams"

ALONE, FOLLOWED, ALL = "no clients", f"{ACCOUNTS} clients, an account each", f"{FOLLOW_ALL} clients, everything"
FULL_ALONE, FULL_FOLLOWED = f"{ALONE}, full speed", f"{FOLLOWED}, full speed"


@dataclass
class Followed:
    """Writers at ``port``, while clients listen."""

    place: Arena
    server: psutil.Process
    port: int
    clients: Clients
    rate: float | None = None
    seen: list[Seen] = field(default_factory=list)
    cpu_us: list[tuple[float, float]] = field(default_factory=list)
    """Per command, by the API and by PostgreSQL."""

    def run(self, seconds: float) -> Slice:
        load = HttpLoad(
            port=self.port,
            connections=CONNECTIONS,
            seconds=seconds,
            accounts=ACCOUNTS,
            account_prefix=PREFIX,
            rate=self.rate,
        )
        if not (self.clients.accounts or self.clients.everything):
            return self._write(load)
        with listening(self.clients) as process:
            done = self._write(load)
            told, _ = process.communicate(timeout=STOP_TIMEOUT_S)
        self.seen.append(msgspec.json.decode(told.splitlines()[-1], type=Seen))
        return done

    def _write(self, load: HttpLoad) -> Slice:
        before = self._cpu_us()
        done = run_child("bench.http_load", load, Slice)
        # What comes before and after the seconds that are measured is done at the same rate.
        commands = done.rate * (load.seconds + WARM_UP_S)
        api, database = ((after - us) / commands for us, after in zip(before, self._cpu_us(), strict=True))
        self.cpu_us.append((api, database))
        return done

    def _cpu_us(self) -> tuple[float, float]:
        return sum(self.server.cpu_times()[:2]) * 1e6, self.place.cpu_us()

    def told_cpu(self) -> str:
        api, database = (median(values) for values in zip(*self.cpu_us, strict=True))
        return f"{api:.0f} + {database:.0f}"


@contextmanager
def listening(clients: Clients) -> Iterator[subprocess.Popen[bytes]]:
    """The clients, all of whom have caught up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.streams_clients", msgspec.json.encode(clients).decode()],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the clients of the streams did not catch up")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def measure_streams(stage: Stage) -> list[Row]:
    dsn = stage.place.create_database()
    process, port = stage.cleanup.enter_context(served(dsn, stage.place.folder))
    each = Clients(port=port, accounts=[f"{PREFIX}-{i}/binance/simulated" for i in range(ACCOUNTS)])
    nobody, everything = Clients(port=port), Clients(port=port, everything=FOLLOW_ALL)
    server = psutil.Process(process.pid)
    one = partial(Followed, stage.place, server, port)
    alone, followed, followed_all = one(nobody, RATE), one(each, RATE), one(everything, RATE)
    contestants = {
        ALONE: alone,
        FOLLOWED: followed,
        ALL: followed_all,
        FULL_ALONE: one(nobody),
        FULL_FOLLOWED: one(each),
    }
    turns = stage.take_turns(contestants, slice_s=stage.sizes.streams_s)
    rates = {name: [turn.rate for turn in slices] for name, slices in turns.items()}
    for name, listeners in ((FOLLOWED, followed), (ALL, followed_all)):
        for seen in listeners.seen:
            tell(
                f"{name}: {seen.events:,} events seen, p50 {seen.p50_ms:.1f} ms, p99 {seen.p99_ms:.1f} ms, "
                f"at most {seen.max_ms:.0f} ms; the clients took {seen.cpu_share:.0%} of a core"
            )
    rate = f"{RATE:,.0f} commands/s"

    def cpu(one: Followed) -> str:
        return f"CPU us per command, API + PostgreSQL: {one.told_cpu()}"

    return [
        STREAM_P50.row(f"append to seen, {FOLLOWED}, {rate}, p50", [s.p50_ms for s in followed.seen]),
        STREAM_P99.row(f"append to seen, {FOLLOWED}, {rate}, p99", [s.p99_ms for s in followed.seen]),
        STREAM_ALL_P99.row(
            f"append to seen, {ALL}, {rate}, p99",
            [s.p99_ms for s in followed_all.seen],
            f"p50 {median(s.p50_ms for s in followed_all.seen):.1f} ms; {cpu(followed_all)}",
        ),
        STREAM_WRITERS.quotient(
            f"writers, {rate} offered: {FOLLOWED} ÷ {ALONE}",
            rates[FOLLOWED],
            rates[ALONE],
            f"{cpu(followed)}, and alone {alone.told_cpu()}",
        ),
        STREAM_WRITERS_FULL.quotient(
            f"writers, full speed: {FOLLOWED} ÷ {ALONE}",
            rates[FULL_FOLLOWED],
            rates[FULL_ALONE],
            f"{median(rates[FULL_FOLLOWED]):,.0f}/s ÷ {median(rates[FULL_ALONE]):,.0f}/s",
        ),
    ]
