"""How a copy of a projection is filled from the log, by parallel workers and then by rounds, and how it takes effect.

``copy`` is ``live`` or a shadow copy, ``rebuild`` or ``verify``, in its own schema. Progress is written to the
database, where every process can see it (``status.projection_status``).
"""

from __future__ import annotations

import asyncio

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
ROUND_PAUSE_S = 0.05
DIFFERENCES_MAX = 20
STATEMENT_TIMEOUT_S = 86_400.0
"""Maintenance takes as long as the tables are large: a round of a rebuild, building an index, comparing."""

_CREATE = call("eventstore.projection_create", 4)
_DROP = call("eventstore.projection_drop", 2)
_DEFER_INDEXES = call("eventstore.projection_defer_indexes", 2)
_BUILD_INDEX = call("eventstore.projection_build_index", 1)
_SLICE = call("eventstore.projection_slice", 3)
_APPLY = call("eventstore.projection_apply", 6)
_FILLED = call("eventstore.projection_filled", 4)
_ROUND = call("eventstore.projection_round", 5)
_PROGRESS = call("eventstore.projection_progress", 3)
_SWAP = call("eventstore.projection_swap", 2)
_RESET = call("eventstore.projection_reset", 1)
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
    return await connect(dsn, command_timeout_s=STATEMENT_TIMEOUT_S, settings={"statement_timeout": "0"})


async def reset(connection: Connection, definition: Definition) -> None:
    """Empty the live tables and replay the log into them."""
    await _when_readers_let_go(connection, _RESET, definition.name)
    await _fold(connection, "live", definition.name, await _heads(connection, definition.name))


async def rebuild(connection: Connection, definition: Definition, *, dsn: str) -> None:
    """Fill new tables and replace the live ones with them."""
    name = definition.name
    await connection.execute(_CREATE, "rebuild", name, definition.sql, definition.aggregate_types)
    indexes = await connection.fetchval(_DEFER_INDEXES, "rebuild", name)
    await _fill(connection, "rebuild", definition, await _heads(connection, name), dsn)
    for index in indexes:
        await connection.execute(_BUILD_INDEX, index)
    await _fold(connection, "rebuild", name, await _heads(connection, name))
    await _when_readers_let_go(connection, _SWAP, name, definition.aggregate_types)


async def verify(connection: Connection, definition: Definition, *, dsn: str) -> Verification:
    """Fold the log into new tables, up to the live checkpoint, and compare."""
    name = definition.name
    await connection.execute(_CREATE, "verify", name, definition.sql, definition.aggregate_types)
    await connection.execute(_DEFER_INDEXES, "verify", name)
    await _fill(connection, "verify", definition, await _checkpoints(connection, name), dsn)
    # One snapshot shows the live tables as of a checkpoint. The fresh tables are folded up to that checkpoint.
    async with connection.transaction(isolation="repeatable_read"):
        await _fold(connection, "verify", name, await _checkpoints(connection, name))
        compared = await connection.fetchrow(_COMPARE, name, DIFFERENCES_MAX)
    await connection.execute(_DROP, "verify", name)
    assert compared is not None
    rows, rows_different, differences = compared
    return Verification(rows_different == 0, rows, rows_different, msgspec.Raw(differences))


async def _fill(connection: Connection, copy: str, definition: Definition, heads: Heads, dsn: str) -> None:
    """Fill an empty shadow copy up to ``heads``, with several workers. A partial copy of an earlier run is never
    continued: this run has dropped it."""
    name = definition.name
    done = [0] * WORKERS
    total = sum(heads.values())

    async def fill_slice(number: int) -> None:
        worker = await connect_for_maintenance(dsn)
        try:
            await worker.execute(_SLICE, definition.aggregate_types, number, WORKERS)
            for shard, head in heads.items():
                for begin in range(0, head, EVENTS_PER_ROUND):
                    end = min(begin + EVENTS_PER_ROUND, head)
                    await worker.execute(_APPLY, copy, name, shard, begin, end, True)
                    done[number] += end - begin
                    await worker.execute(_PROGRESS, name, sum(done) // WORKERS, total)
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
        await connection.execute(_FILLED, copy, name, shard, head)


async def _fold(connection: Connection, copy: str, name: str, heads: Heads) -> None:
    """Fold the log into a copy of the projection, up to ``heads``, and record the progress."""
    done = dict.fromkeys(heads, 0)
    for shard, head in heads.items():
        while done[shard] < head:
            row = await connection.fetchrow(_ROUND, copy, name, shard, EVENTS_PER_ROUND, head)
            if row is None:  # the live projector is doing a round
                await asyncio.sleep(ROUND_PAUSE_S)
                continue
            done[shard] = row["to_position"]
            await connection.execute(_PROGRESS, name, sum(done.values()), sum(heads.values()))


async def _heads(connection: Connection, name: str) -> Heads:
    return {status.shard: status.head for status in await projection_status(connection, name)}


async def _checkpoints(connection: Connection, name: str) -> Heads:
    return {status.shard: status.checkpoint for status in await projection_status(connection, name)}


async def _when_readers_let_go(connection: Connection, statement: str, *arguments: object) -> None:
    """Run a statement that needs the live tables exclusively, without making readers queue for long."""
    for _ in range(LOCK_ATTEMPTS_MAX):
        try:
            await connection.execute(statement, *arguments)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(LOCK_PAUSE_S)
    raise ProjectionError("projection-failed", "its tables were being read all the time")
