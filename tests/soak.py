"""``python -m tests.soak``: the long form of ``tests/proof`` and of the brokers' matrix, and a table of what held.

Ends with code 1 if anything did not; it prints what failed in full, and keeps the folder of that engine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from foldbook.engine.rabbit import rabbitmq_server
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.embedded import SETTINGS
from foldbook.postgres.roles import ENGINE, as_role
from tests.api.conftest import projecting, serving, settings_for
from tests.api.contract import Found, findings
from tests.brokers.matrix.cells import Cell, all_cells, try_cell
from tests.brokers.matrix.matrix import Matrix, Ordeal, try_all
from tests.brokers.matrix.stopping import try_stop
from tests.conftest import Postgres, embedded_postgres, name_of, prepare
from tests.eventstore.test_store_contract import opened
from tests.machinery.engine import Engine
from tests.messaging.ordeal import under_way
from tests.messaging.rabbit import Rabbit, rabbit
from tests.mutants.critical import CRITICAL
from tests.mutants.trying import Tried, break_all
from tests.proof.brokers_killed import ALL_PARTS, check, kill_under_orders, with_venue
from tests.proof.callers import calling
from tests.proof.crashing import WAYS, crash_in_a_burst
from tests.proof.failover import fail_over_under_load
from tests.proof.following import follow_under_kills
from tests.proof.killing import EVERYTHING, PARTS, lap, shuffled
from tests.proof.machine import drive
from tests.proof.rebuilding import rebuild_under_load
from tests.proof.traders import trading

CELLS_AT_ONCE = 5
RUNS_AT_ONCE = 3
STEPS = 40
MAJORS = (18, 15)
OLDEST = 15
TESTS = Path(__file__).parent
EVENTS_PER_S = 1_500
EVENTS_PER_KILL = 1_600
PHASES = ("examples", "coverage", "fuzzing", "stateful")
CASES = 50


@dataclass
class Stage:
    """One kind of ordeal. ``weight``: its share of the time. ``endure`` says how often it did it, and what was seen."""

    name: str
    wanted: int
    weight: int
    endure: Callable[[Clock], None]


@dataclass
class Clock:
    """What one stage may do, and what it has done."""

    wanted: int
    deadline: float
    done: int = 0
    seen: str = ""

    @property
    def goes_on(self) -> bool:
        return self.done < self.wanted and time.monotonic() < self.deadline


@dataclass
class Row:
    stage: Stage
    clock: Clock
    seconds: float
    failure: str | None

    def cells(self) -> tuple[str, ...]:
        outcome = self.failure or ("held" if self.clock.done >= self.clock.wanted else "held, as long as it had time")
        return (
            self.stage.name,
            f"{self.clock.done}/{self.clock.wanted}",
            f"{self.seconds:.0f}",
            self.clock.seen,
            outcome,
        )


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Times something is killed.")] = 200,
    minutes: Annotated[float, typer.Option(min=0.1, help="About how long all of it may take.")] = 90,
    only: Annotated[str, typer.Option(help="Only the stages with this in their name.")] = "",
) -> None:
    """Kill, crash, rebuild and confuse engines until the rounds are done or the time is over."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs is stopped on the way out
    logging.getLogger("foldbook").setLevel(logging.ERROR)  # that connections are lost is the point of it
    stages = [
        Stage("kill -9 of a part of `foldbook up` under load", rounds, 21, kill),
        Stage("server crash in a burst of appends", max(1, rounds // 4), 2, crash),
        Stage("events read through streams while all is killed", 100_000, 3, follow),
        Stage("rebuild of all projections under full write load", 20, 1, rebuild),
        Stage("runs of the state machine", max(1, rounds * 2 // 5), 5, confuse),
        Stage("gateway killed: steps x faults x requests", len(list(all_cells())), 12, try_the_matrix),
        Stage("gateway stopped, and too late", len(list(without_faults())), 3, try_two_gateways),
        Stage("kill -9 of PostgreSQL, API, gateway, venue under orders", rounds, 24, kill_with_venue),
        Stage("failover to a synchronous replica under load", max(1, rounds // 20), 2, fail_over_synchronously),
        Stage("failover to a replica that lagged behind", max(1, rounds // 20), 2, fail_over_asynchronously),
        Stage("tests with servers of their own, on PostgreSQL 15", 1, 4, try_an_old_server),
        Stage("kill -9 of RabbitMQ while 20,000 events pass", max(1, rounds // 20), 2, kill_rabbitmq),
        Stage("critical lines broken one at a time", len(CRITICAL), 13, break_critical_lines),
        Stage("calls of the API as its OpenAPI document allows, and forbids", len(PHASES), 3, ask_by_the_document),
    ]
    stages = [stage for stage in stages if only in stage.name]
    rows = endure_all(stages, time.monotonic() + minutes * 60)
    print("\n" + table([("what", "times", "seconds", "seen", "outcome"), *(row.cells() for row in rows)]))
    sys.exit(any(row.failure for row in rows))


def ask_by_the_document(clock: Clock) -> None:
    with embedded_postgres() as server:
        prepare(server.dsn)
        settings = settings_for(server.dsn)

        async def ask(phase: str, seconds: float) -> list[Found]:
            async with projecting(settings), serving(settings) as engine:
                url = str(engine.client.base_url)
                return await asyncio.to_thread(lambda: list(findings(url, (phase,), CASES, seconds, shard="0")))

        for number, phase in enumerate(PHASES):
            seconds = (clock.deadline - time.monotonic()) / (len(PHASES) - number)
            found = asyncio.run(ask(phase, seconds))
            if found:
                raise AssertionError("\n".join(map(str, found)))
            clock.done += 1


def endure_all(stages: list[Stage], deadline: float) -> list[Row]:
    """One after the other; time that one leaves is the others'."""
    rows: list[Row] = []
    for n, stage in enumerate(stages):
        began = time.monotonic()
        share = stage.weight / sum(later.weight for later in stages[n:])
        clock = Clock(stage.wanted, began + share * max(0.0, deadline - began))
        print(f"{stage.name}: {stage.wanted} times, {clock.deadline - began:.0f} s at most", flush=True)
        failure = None
        try:
            stage.endure(clock)
        except Exception as error:
            traceback.print_exc()
            failure = f"FAILED: {type(error).__name__}"
        rows.append(Row(stage, clock, time.monotonic() - began, failure))
    return rows


def table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def kill(clock: Clock) -> None:
    """Each lap kills each part once, and the whole engine."""

    async def laps(engine: Engine) -> None:
        async with calling(engine.url) as callers:
            while clock.goes_on:
                parts = shuffled((*PARTS, EVERYTHING))[: clock.wanted - clock.done]
                await lap(engine, callers, parts)
                clock.done += len(parts)
                clock.seen = f"{callers.first_commit - 1} commits, {callers.unanswered} requests unanswered"
                print(f"  {clock.done}: {clock.seen}", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="foldbook-soak-"))
    engine = Engine(folder / "data", "open")
    engine.environment |= {"FOLDBOOK_BROKERS": ""}  # The callers are the broker, too.
    print(f"  in {folder}", flush=True)
    try:
        engine.start()
        asyncio.run(laps(engine))
    finally:
        if engine.process is not None and engine.process.poll() is None:
            engine.stop(signal.SIGTERM)
    shutil.rmtree(folder)


def crash(clock: Clock) -> None:
    async def bursts() -> None:
        store = PostgresStore(server.dsn)
        await store.append(0, [opened()])
        await store.close()
        while clock.goes_on:
            await crash_in_a_burst(server, WAYS[clock.done % len(WAYS)])
            clock.done += 1

    with embedded_postgres() as server:
        prepare(server.dsn)
        asyncio.run(bursts())
        clock.seen = seen_in(server.dsn)


def follow(clock: Clock) -> None:
    with embedded_postgres() as server:
        prepare(server.dsn)
        clock.seen = asyncio.run(follow_under_kills(as_role(server.dsn, ENGINE), clock.wanted, per_s=EVENTS_PER_S))
        clock.done = clock.wanted


def rebuild(clock: Clock) -> None:
    with embedded_postgres() as server:
        prepare(server.dsn)

        def count() -> bool:
            clock.done += 1
            return clock.goes_on

        asyncio.run(rebuild_under_load(as_role(server.dsn, ENGINE), count))
        clock.seen = seen_in(server.dsn)


def confuse(clock: Clock) -> None:
    with embedded_postgres() as server:
        postgres = Postgres(server.dsn, server.superuser_dsn)
        template = postgres.create_database()
        prepare(template)
        while clock.goes_on:
            drive(postgres, name_of(template), runs=RUNS_AT_ONCE, steps=STEPS)
            clock.done += RUNS_AT_ONCE
    clock.seen = f"up to {STEPS} steps each"


def without_faults() -> Iterator[Cell]:
    return (cell for cell in all_cells() if cell.fault == "none")


def try_the_matrix(clock: Clock) -> None:
    try_cells(clock, all_cells(), try_cell)


def try_two_gateways(clock: Clock) -> None:
    try_cells(clock, without_faults(), try_stop)


def try_cells(clock: Clock, cells: Iterable[Cell], ordeal: Ordeal) -> None:
    """As many as there is time for, whichever they are; then the table."""

    def goes_on(matrix: Matrix) -> bool:
        if matrix.tried > clock.done:
            clock.done = matrix.tried
            if clock.done % 50 == 0:
                print(f"  {clock.done}: {matrix.summary()}", flush=True)
        return clock.goes_on

    # It is killed, but never with its machine.
    with embedded_postgres({**SETTINGS, "fsync": "off", "max_connections": "300"}) as server:
        postgres = Postgres(server.dsn, server.superuser_dsn)
        template = postgres.create_database()
        prepare(template)
        chosen = random.sample(list(cells), clock.wanted)
        matrix = asyncio.run(
            try_all(
                sorted(chosen, key=lambda cell: cell.rules),
                lambda: postgres.create_database(name_of(template)),
                at_once=CELLS_AT_ONCE,
                goes_on=goes_on,
                ordeal=ordeal,
            )
        )
    clock.done, clock.seen = matrix.tried, matrix.summary()
    print(table(matrix.table()))
    assert not matrix.failures, f"{len(matrix.failures)} cells did not hold"


def kill_with_venue(clock: Clock) -> None:
    """Each lap kills each part once, and the whole engine; then everything is compared."""

    async def laps(engine: Engine, venue_url: str) -> None:
        async with trading(engine.url, venue_url) as traders:
            while clock.goes_on:
                parts = shuffled(ALL_PARTS)[: clock.wanted - clock.done]
                await kill_under_orders(engine, traders, parts)
                clock.seen = await check(engine, venue_url)
                clock.done += len(parts)
                print(f"  {clock.done}: {clock.seen}, {traders.unanswered} requests unanswered", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="foldbook-soak-"))
    engine = Engine(folder / "data", "open")
    venue_url = with_venue(engine)
    print(f"  in {folder}", flush=True)
    try:
        engine.start()
        asyncio.run(laps(engine, venue_url))
    finally:
        if engine.process is not None and engine.process.poll() is None:
            engine.stop(signal.SIGTERM)
    shutil.rmtree(folder)


def try_an_old_server(clock: Clock) -> None:
    """What ``make test`` does on ours alone."""
    files = sorted(path for path in TESTS.rglob("test_*.py") if "MAJORS" in path.read_text())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--numprocesses", "2", *map(str, files)],
        cwd=TESTS.parent,
        env=os.environ | {"TEST_SERVERS": str(OLDEST)},
        capture_output=True,
        text=True,
        timeout=max(60.0, clock.deadline - time.monotonic()),
    )
    clock.seen = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, done.stdout[-5_000:]
    clock.done = 1


def kill_rabbitmq(clock: Clock) -> None:
    """Then its disk is full for a moment, and the consumer's queue is deleted; and everything is compared."""

    async def kills(rabbitmq: Rabbit, dsn: str) -> None:
        async with under_way(rabbitmq, rabbitmq.virtual_host(), dsn, EVENTS_PER_KILL) as ordeal:
            while clock.goes_on:
                await ordeal.kill()
                clock.done += 1
            await ordeal.fill_the_disk()
            await ordeal.delete_the_queue()
            await ordeal.check()
            clock.seen = f"{ordeal.head} events, {ordeal.consumer.repeated} repeated"

    program = rabbitmq_server()
    if program is None:
        clock.seen = "left out: no rabbitmq-server is installed"
        return
    with embedded_postgres() as server, rabbit(program) as rabbitmq:
        prepare(server.dsn)
        asyncio.run(kills(rabbitmq, server.dsn))


def fail_over_synchronously(clock: Clock) -> None:
    fail_over(clock, is_synchronous=True)


def fail_over_asynchronously(clock: Clock) -> None:
    fail_over(clock, is_synchronous=False)


def fail_over(clock: Clock, *, is_synchronous: bool) -> None:
    while clock.goes_on:
        clock.seen = asyncio.run(fail_over_under_load(is_synchronous=is_synchronous, major=MAJORS[clock.done % 2]))
        clock.done += 1


def break_critical_lines(clock: Clock) -> None:
    """As many as there is time for, whichever they are."""

    def goes_on(tried: Tried | None) -> bool:
        if tried is not None:
            clock.done += 1
        return clock.goes_on

    tried = break_all(random.sample(CRITICAL, clock.wanted), goes_on=goes_on)
    noticed, bad = [t for t in tried if t.outcome == "noticed"], [t for t in tried if t.is_bad]
    clock.seen = f"{len(noticed)} noticed, {len(tried) - len(noticed) - len(bad)} left out"
    assert not bad, "\n".join(f"{t.outcome}: {t.mutant}" for t in bad)


def seen_in(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select number, last_position from eventstore.head(0)").fetchone()
        assert row is not None
        return f"{row[0]} commits, {row[1]} events"


if __name__ == "__main__":
    typer.run(main)
