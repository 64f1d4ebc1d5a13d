"""Reading a long log: a page anywhere in the log of one account, and events of a type that never occurs.

The first must not depend on how deep the page lies, the second not on how long the log is.
"""

from __future__ import annotations

import random

import uvloop

from bench.clock import Stopwatch
from bench.rounds import Stage
from bench.table import Row
from bench.targets import PAGE, RARE_TYPE
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.connection import connect
from foldbook.postgres.roles import ENGINE, as_role

PAGE_EVENTS = 100
READS = 40
RARE_READS = 7

_RARE = "select count(*) from eventstore.read_log(0, 0, $1, p_type => 'NeverHappened')"


def measure_pages(stage: Stage) -> list[Row]:
    events = stage.sizes.account_events
    account_dsn = stage.place.filled_log(events, accounts=1)
    pages_ms = uvloop.run(_read_pages(as_role(account_dsn, ENGINE), events))
    stage.place.drop_database(account_dsn)
    mixed_dsn = stage.place.filled_log(stage.sizes.rebuild_events)
    rare_ms = uvloop.run(_read_rare_type(as_role(mixed_dsn, ENGINE)))
    stage.place.drop_database(mixed_dsn)
    return [
        PAGE.row(f"a page of {PAGE_EVENTS} events anywhere in an account's log of {events:,}", pages_ms),
        RARE_TYPE.row(f"events of a type that never occurs, log of {stage.sizes.rebuild_events:,}", rare_ms),
    ]


async def _read_pages(dsn: str, events: int) -> list[float]:
    """Milliseconds of each page, from positions spread over the whole log."""
    store = PostgresStore(dsn)
    (first,) = await store.read_log(0, 0, 1)
    account = AggregateKey(first.aggregate_type, first.aggregate_id)
    dice, times_ms = random.Random(7), []
    for number in range(READS + 1):
        stopwatch = Stopwatch()
        page = await store.read_log(0, dice.randrange(events - PAGE_EVENTS), PAGE_EVENTS, account)
        if len(page) != PAGE_EVENTS:
            raise RuntimeError(f"a page of {PAGE_EVENTS} events has {len(page)}")
        if number > 0:
            times_ms.append(stopwatch.seconds * 1e3)
    await store.close()
    return times_ms


async def _read_rare_type(dsn: str) -> list[float]:
    connection = await connect(dsn)
    times_ms = []
    for number in range(RARE_READS + 1):
        stopwatch = Stopwatch()
        await connection.fetchval(_RARE, PAGE_EVENTS)
        if number > 0:
            times_ms.append(stopwatch.seconds * 1e3)
    await connection.close()
    return times_ms
