"""What the first command on a very long account waits for: its state, with a snapshot and without.

The account's log is filled, then the command bus's own cache loads its state. The snapshot is as old as snapshots get:
all but one of ``SNAPSHOT_EVERY`` events lie behind it.
"""

from __future__ import annotations

from statistics import quantiles

import uvloop

from bench.clock import Stopwatch
from bench.rounds import Stage
from bench.table import Row
from bench.targets import LOADING, LOADING_WITHOUT_SNAPSHOT
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.commands.state_cache import StateCache
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.states.codec import codec_of
from foldbook.eventstore.store import Snapshot
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.trading.book import ORDER_BOOK

LOADS = 50
SNAPSHOT_EVERY = BusLimits().snapshot_every


def measure_loading(stage: Stage) -> list[Row]:
    events = stage.sizes.account_events
    dsn = stage.place.filled_log(events, accounts=1)
    without_ms, with_ms = uvloop.run(_load(as_role(dsn, ENGINE)))
    stage.place.drop_database(dsn)
    return [
        LOADING.row(
            f"loading an account of {events:,} events with a snapshot",
            with_ms,
            f"p95 {quantiles(with_ms, n=20)[18]:.1f} ms; {SNAPSHOT_EVERY - 1} events behind it",
        ),
        LOADING_WITHOUT_SNAPSHOT.row(
            f"loading an account of {events:,} events without a snapshot",
            [without_ms],
            f"{events / without_ms * 1e3:,.0f} events/s, folded in Python",
        ),
    ]


async def _load(dsn: str) -> tuple[float, list[float]]:
    """Milliseconds without a snapshot, and of each load with one."""
    store = PostgresStore(dsn)
    (account,) = {AggregateKey(event.aggregate_type, event.aggregate_id) for event in await store.read_log(0, 0, 1)}
    await _load_once(store, account)  # a warm connection
    without_ms, states = await _load_once(store, account)
    book = states[account]
    await store.write_snapshot(0, await _older(store, account, book.stored_sequence - SNAPSHOT_EVERY + 1))
    with_ms = []
    for _ in range(LOADS):
        taken_ms, loaded = await _load_once(store, account)
        if loaded[account].stored != book.stored:
            raise RuntimeError("the state that began with a snapshot differs")
        with_ms.append(taken_ms)
    await store.close()
    return without_ms, with_ms


async def _load_once(store: PostgresStore, account: AggregateKey) -> tuple[float, StateCache]:
    states = StateCache(
        store, {ORDER_BOOK.name: ORDER_BOOK}, 0, kept_max=1, snapshot_every=SNAPSHOT_EVERY, outage_max_s=1.0
    )
    stopwatch = Stopwatch()
    if unreadable := await states.load([account]):
        raise RuntimeError(unreadable)
    return stopwatch.seconds * 1e3, states


async def _older(store: PostgresStore, account: AggregateKey, sequence: int) -> Snapshot:
    """A snapshot of the account as it was at ``sequence``."""
    state = ORDER_BOOK.initial
    for event in await store.read_aggregates(0, [(account, 0)]):
        if event.sequence <= sequence:
            fact = ORDER_BOOK.event_types.decode(event.type, event.schema_version, event.payload)
            state = ORDER_BOOK.evolve(state, fact)
    codec = codec_of(ORDER_BOOK)
    return Snapshot(account, sequence, codec.fingerprint, codec.encode(state))
