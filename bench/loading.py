"""What the first command on a very long account waits for: its state, with a snapshot and without.

The account's log is filled, then its state is made by what the command bus uses. The snapshot is as old as it gets:
``SNAPSHOT_EVERY`` events but one lie behind it.
"""

from __future__ import annotations

from statistics import median, quantiles

import uvloop

from bench.clock import Stopwatch
from bench.growth import COMMIT_SIZE, fill_log
from bench.rounds import Stage, tell
from bench.table import Row
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.commands.snapshots import StateCodec
from foldbook.eventstore.commands.state_cache import StateCache
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import Snapshot
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.trading.book import ORDER_BOOK

LOADS = 50
SNAPSHOT_EVERY = BusLimits().snapshot_every
MUST_MS = 20.0


def measure_loading(stage: Stage) -> list[Row]:
    events = stage.sizes.account_events
    tell(f"filling a log of {events:,} events of one account")
    dsn = fill_log(stage.place, events, COMMIT_SIZE, accounts=1)
    without_ms, with_ms = uvloop.run(_load(as_role(dsn, ENGINE)))
    stage.place.drop_database(dsn)
    return [
        Row(
            what=f"loading an account of {events:,} events with a snapshot",
            value=median(with_ms),
            low=min(with_ms),
            high=max(with_ms),
            unit="ms",
            must=MUST_MS,
            is_cost=True,
            detail=f"p95 {quantiles(with_ms, n=20)[18]:.1f} ms; {SNAPSHOT_EVERY - 1} events behind it",
        ),
        Row(
            what="the same without",
            value=without_ms,
            unit="ms",
            is_cost=True,
            detail=f"{events / without_ms * 1e3:,.0f} events/s, folded in Python",
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
            raise RuntimeError("a state that began with a snapshot is another one")
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
    codec = StateCodec(ORDER_BOOK.state_type, ORDER_BOOK.fold_version)
    return Snapshot(account, sequence, codec.fingerprint, codec.encode(state))
