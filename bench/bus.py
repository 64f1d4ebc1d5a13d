"""Durable commands a second through the bus in one process, its callers included; and the same under a snapshot.

No projector runs beside it: what is measured is the write side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import psycopg

from bench.arena import run_child
from bench.bus_load import BusLoad
from bench.rounds import Stage
from bench.table import Row, Slice
from bench.targets import UNDER_SNAPSHOT

SNAPSHOT_SLICE_S = 5.0

_WAL_SYNCS = "select coalesce(sum(fsyncs), 0) from pg_stat_io where object = 'wal'"


@dataclass
class Bus:
    """The bus with so many callers, in a fresh process at each turn.

    A single caller's commits cannot share an fsync, so then the fsyncs are counted.
    """

    dsn: str
    callers: int
    is_mixed: bool = False
    account_prefix: str = ""

    def run(self, seconds: float) -> Slice:
        load = BusLoad(
            dsn=self.dsn,
            seconds=seconds,
            callers=self.callers,
            is_mixed=self.is_mixed,
            account_prefix=self.account_prefix,
        )
        before = wal_syncs(self.dsn)
        turn = run_child("bench.bus_load", load, Slice)
        if self.callers == 1 and wal_syncs(self.dsn) - before < turn.count:
            raise RuntimeError(f"{turn.count} commits, one after another, were answered with fewer fsyncs")
        return turn


def wal_syncs(dsn: str) -> int:
    """How often the server has synced its write-ahead log so far."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(_WAL_SYNCS).fetchone()
    assert row is not None
    return int(row[0])


def measure_snapshot(stage: Stage) -> list[Row]:
    """256 callers on two databases in turns, while another session holds a snapshot of one of them open.

    A snapshot keeps dead rows from being cleared in its own database only, so the other database shows what the
    machine does without one at the same time. Each gets ``snapshot_s`` seconds of load in all.
    """
    seconds = stage.sizes.snapshot_s
    without, under = "bus, 256 callers, no snapshot", "bus, 256 callers, under a snapshot"
    contestants = {name: Bus(stage.place.create_database(), callers=256) for name in (without, under)}
    with _snapshot(contestants[under].dsn):
        turns = stage.take_turns(contestants, rounds=round(seconds / SNAPSHOT_SLICE_S), slice_s=SNAPSHOT_SLICE_S)
    usual, slowed = [turn.rate for turn in turns[without]], [turn.rate for turn in turns[under]]
    at_the_end = median(slowed[-3:]) / median(usual[-3:])
    what = f"bus, 256 callers, {seconds:.0f} s under a snapshot ÷ without"
    detail = f"{at_the_end:.2f} in the last {3 * SNAPSHOT_SLICE_S:.0f} s"
    return [UNDER_SNAPSHOT.quotient(what, slowed, usual, detail)]


@contextmanager
def _snapshot(dsn: str) -> Iterator[None]:
    """Another session's REPEATABLE READ transaction that has read the log."""
    with psycopg.connect(dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("select number from eventstore.commits order by shard desc, number desc limit 1")
        yield
        connection.rollback()
