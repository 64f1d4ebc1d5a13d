"""What a long log costs an append: the bus with 256 callers on a log of 5,000,000 events and on one of 50,000.

Both are filled by ``sql/fill_log.sql``, hold 10,000 accounts, and are written to on 100 of them. A turn on the short
log begins with a fresh copy of it, for it would not stay short. A checkpoint before each turn makes the first change
of every page cost both the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from bench.arena import Arena, apply_sql
from bench.bus import Bus
from bench.rounds import Stage, tell
from bench.table import Row, Slice, ratio

ACCOUNTS = 10_000
COMMIT_SIZE = 50
ROUNDS_MAX = 4


def fill_log(place: Arena, events: int, commit_size: int = COMMIT_SIZE, accounts: int = ACCOUNTS) -> str:
    """The DSN of a database with a log of so many events, vacuumed and at rest."""
    dsn = place.create_database()
    apply_sql(dsn, "fill_log")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select bench.fill_log(%s, %s, %s)", [events, min(accounts, events // 5), commit_size])
    place.settle(dsn)
    return dsn


def measure_growth(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    tell(f"filling logs of {sizes.short_log:,} and {sizes.long_log:,} events")
    short_dsn, long_dsn = (fill_log(stage.place, events) for events in (sizes.short_log, sizes.long_log))
    short, long = f"bus 256, {sizes.short_log:,} events", f"bus 256, {sizes.long_log:,} events"
    contestants = {short: OnLog(stage.place, short_dsn, is_copied=True), long: OnLog(stage.place, long_dsn)}
    turns = stage.take_turns(contestants, rounds=min(ROUNDS_MAX, sizes.rounds))
    stage.place.drop_database(long_dsn)
    # Cost is what a rate is the inverse of.
    value, low, high = ratio([turn.rate for turn in turns[short]], [turn.rate for turn in turns[long]])
    return [
        Row(
            what=f"cost of an append at {sizes.long_log:,} events ÷ at {sizes.short_log:,}",
            value=value,
            low=low,
            high=high,
            must=1.2,
            aim=1.05,
            is_cost=True,
            detail="bus, 256 callers",
        )
    ]


@dataclass
class OnLog:
    """The bus on a log that is there already."""

    place: Arena
    dsn: str
    is_copied: bool = False

    def run(self, seconds: float) -> Slice:
        dsn = self.place.create_database(template=self.dsn) if self.is_copied else self.dsn
        self.place.checkpoint()
        turn = Bus(dsn, callers=256, account_prefix="trader").run(seconds)
        if self.is_copied:
            self.place.drop_database(dsn)
        return turn
