"""How a copy of a projection is filled from the log, by parallel workers and then by rounds, and how it takes effect.

``copy`` is ``live`` or a shadow copy, ``rebuild`` or ``verify``, in its own schema. Progress is written to the
database, where every process can see it (``status.projection_status``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncpg
import msgspec

from foldbook.errors import ProjectionError
from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.status import projection_status
from foldbook.postgres.calls import call
from foldbook.postgres.connection import Connection, connect

EVENTS_PER_ROUND = 100_000
WORKERS = 2
"""Sessions that fill a shadow copy in parallel, each with the events of some of the aggregates."""
LOCK_ATTEMPTS_MAX = 3_000
LOCK_PAUSE_S = 0.2
READERS_PATIENCE_S = 30.0
"""An auditor's session that has been reading the live tables in one transaction for longer is ended for a swap."""
ROUND_PAUSE_S = 0.05
DIFFERENCES_MAX = 20
STATEMENT_TIMEOUT_S = 86_400.0
"""Maintenance takes as long as the tables are large: a round of a rebuild, building an index, comparing."""

_CREATE = call("eventstore.projection_create", 5)
_DROP = call("eventstore.projection_drop", 2)
_DEFER_INDEXES = call("eventstore.projection_defer_indexes", 3)
_BUILD_INDEX = call("eventstore.projection_build_index", 3)
_SLICE = call("eventstore.projection_slice", 2)
_APPLY = call("eventstore.projection_apply", 6)
_FILLED = call("eventstore.projection_filled", 5)
_ROUND = call("eventstore.projection_round", 6)
_PROGRESS = call("eventstore.projection_progress", 4)
_SWAP = call("eventstore.projection_swap", 3)
_RESET = call("eventstore.projection_reset", 2)
_END_READERS = call("eventstore.projection_end_readers", 2)
_COMPARE = call("eventstore.projection_compare", 2)

Heads = dict[int, int]
"""Positions by shard."""


class Verification(msgspec.Struct, frozen=True):
    """Whether the live rows equal the fold of the log. ``differences``: an array of the first 20, each with ``table``,
    ``live`` (the actual row) and ``fresh`` (the expected row); null if there is no such row."""

    equal: bool
    rows: int
    rows_different: int
    differences: msgspec.Raw


async def connect_for_maintenance(dsn: str) -> Connection:
    """A connection whose statements may take hours. TCP keepalives still detect that the server is gone."""
    return await connect(dsn, command_timeout_s=STATEMENT_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class Run:
    """A reset, rebuild or verification: the session that does most of it, and its number among those of the
    projection."""

    connection: Connection
    definition: Definition
    number: int

    @property
    def name(self) -> str:
        return self.definition.name


async def reset(run: Run) -> None:
    """Empty the live tables and replay the log into them."""
    await _when_readers_let_go(run, _RESET, run.name, run.number)
    await _fold(run, "live", await _heads(run))


async def rebuild(run: Run, *, dsn: str) -> None:
    """Fill new tables and replace the live ones with them."""
    definition = run.definition
    await _create(run, "rebuild")
    indexes = await run.connection.fetchval(_DEFER_INDEXES, "rebuild", run.name, run.number)
    await _fill(run, "rebuild", await _heads(run), dsn)
    for index in indexes:
        await run.connection.execute(_BUILD_INDEX, run.name, run.number, index)
    await _fold(run, "rebuild", await _heads(run))
    await _when_readers_let_go(run, _SWAP, run.name, run.number, definition.aggregate_types)


async def verify(run: Run, *, dsn: str) -> Verification:
    """Fold the log into new tables, up to the live checkpoint, and compare."""
    await _create(run, "verify")
    await run.connection.fetchval(_DEFER_INDEXES, "verify", run.name, run.number)
    await _fill(run, "verify", await _checkpoints(run), dsn)
    # One snapshot shows the live tables as of a checkpoint. The fresh tables are folded up to that checkpoint.
    async with run.connection.transaction(isolation="repeatable_read"):
        await _fold(run, "verify", await _checkpoints(run))
        compared = await run.connection.fetchrow(_COMPARE, run.name, DIFFERENCES_MAX)
    await run.connection.execute(_DROP, "verify", run.name)
    assert compared is not None
    rows, rows_different, differences = compared
    return Verification(rows_different == 0, rows, rows_different, msgspec.Raw(differences))


async def _create(run: Run, copy: str) -> None:
    definition = run.definition
    await run.connection.execute(_CREATE, copy, run.name, definition.sql, definition.aggregate_types, run.number)


async def _fill(run: Run, copy: str, heads: Heads, dsn: str) -> None:
    """Fill an empty shadow copy up to ``heads``, with several workers. A partial copy of an earlier run is never
    continued: this run has dropped it."""
    done = [0] * WORKERS
    total = sum(heads.values())

    async def fill_slice(number: int) -> None:
        worker = await connect_for_maintenance(dsn)
        try:
            await worker.execute(_SLICE, number, WORKERS)
            for shard, head in heads.items():
                for begin in range(0, head, EVENTS_PER_ROUND):
                    end = min(begin + EVENTS_PER_ROUND, head)
                    await worker.execute(_APPLY, copy, run.name, shard, begin, end, run.number)
                    done[number] += end - begin
                    await worker.execute(_PROGRESS, run.name, run.number, sum(done) // WORKERS, total)
        finally:
            worker.terminate()

    workers = [asyncio.create_task(fill_slice(number)) for number in range(WORKERS)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    for shard, head in heads.items():
        await run.connection.execute(_FILLED, copy, run.name, run.number, shard, head)


async def _fold(run: Run, copy: str, heads: Heads) -> None:
    """Fold the log into a copy of the projection, up to ``heads``, and record the progress."""
    done = dict.fromkeys(heads, 0)
    for shard, head in heads.items():
        while done[shard] < head:
            row = await run.connection.fetchrow(_ROUND, copy, run.name, shard, EVENTS_PER_ROUND, head, run.number)
            if row is None:  # the live projector is doing a round
                await asyncio.sleep(ROUND_PAUSE_S)
                continue
            done[shard] = row["to_position"]
            await run.connection.execute(_PROGRESS, run.name, run.number, sum(done.values()), sum(heads.values()))


async def _heads(run: Run) -> Heads:
    return {status.shard: status.head for status in await projection_status(run.connection, run.name)}


async def _checkpoints(run: Run) -> Heads:
    return {status.shard: status.checkpoint for status in await projection_status(run.connection, run.name)}


async def _when_readers_let_go(run: Run, statement: str, *arguments: object) -> None:
    """Run a statement that needs the live tables exclusively, without making readers queue for long."""
    readers: list[str] = []
    for _ in range(LOCK_ATTEMPTS_MAX):
        try:
            await run.connection.execute(statement, *arguments)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            rows = await run.connection.fetch(_END_READERS, run.name, READERS_PATIENCE_S)
            readers = [told for (told,) in rows]
            await asyncio.sleep(LOCK_PAUSE_S)
    whom = f", by {', '.join(readers)}" if readers else ""
    raise ProjectionError("projection-failed", f"its tables were being read all the time{whom}")
