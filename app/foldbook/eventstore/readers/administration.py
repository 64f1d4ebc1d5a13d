"""Reset, rebuild and verification: a projection made afresh from the log.

Each holds an advisory lock on its projection for as long as its session lives, so that two never meet, and what a
process that died leaves behind is cleared by the next. How far it has come is written to the database, where every
process can see it (``projections.projection_status``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import asyncpg
import msgspec

from foldbook.errors import ProjectionError
from foldbook.eventstore.readers.projections import Definition, ProjectionStatus, projection_status, unknown
from foldbook.eventstore.readers.subscription import Connection
from foldbook.postgres.connection import UNREACHABLE, connect

EVENTS_PER_ROUND = 100_000
WORKERS = 2
"""Sessions that fill a shadow copy side by side, each with the events of some of the aggregates."""
LOCK_ATTEMPTS_MAX = 3_000
LOCK_PAUSE_S = 0.2
ROUND_PAUSE_S = 0.05
DIFFERENCES_MAX = 20
NOT_STOPPED = "FB012"
STATEMENT_TIMEOUT_S = 86_400.0
"""For what takes as long as the tables are large: building an index, comparing."""

_LOCK = "select eventstore.projection_lock($1, $2)"
_PROGRESS = "select eventstore.projection_progress($1, $2, $3)"
_FINISH = "select eventstore.projection_finish($1, $2)"
_CREATE = "select eventstore.projection_create($1, $2, $3)"
_DROP = "select eventstore.projection_drop($1, $2)"
_DEFER_INDEXES = "select eventstore.projection_defer_indexes($1, $2)"
_BUILD_INDEX = "select eventstore.projection_build_index($1)"
_ROUND = "select * from eventstore.projection_round($1, $2, $3, $4, $5)"
_SLICE = "select eventstore.projection_slice($1, $2)"
_APPLY_SLICE = "select eventstore.projection_apply($1, $2, $3, $4, $5, true)"
_FILLED = "select eventstore.projection_filled($1, $2, $3, $4)"
_SWAP = "select eventstore.projection_swap($1, $2)"
_RESET = "select eventstore.projection_reset($1)"
_SKIP = "select eventstore.projection_skip($1, $2, $3, $4, $5)"
_COMPARE = "select * from eventstore.projection_compare($1, $2)"

logger = logging.getLogger(__name__)

T = TypeVar("T")
Heads = dict[int, int]
"""Positions by shard."""


class Verification(msgspec.Struct, frozen=True):
    """Whether the live rows are those that the log folds to. ``differences``: an array of the first 20, each with
    ``table``, ``live`` and ``fresh``: the row as it is and as it should be, null where there is none."""

    equal: bool
    rows: int
    rows_different: int
    differences: msgspec.Raw


class ProjectionAdmin:
    """Resets, rebuilds and verifies the projections of a database, each as a task of this process.

    All raise ``ProjectionError``: ``unknown-projection``, ``projection-busy`` if one of the three is under way for the
    same projection, in whatever process, and ``projection-failed``.
    """

    def __init__(self, dsn: str, definitions: Sequence[Definition]) -> None:
        self._dsn = dsn
        self._definitions = {definition.name: definition for definition in definitions}
        self._tasks: set[asyncio.Task[object]] = set()

    async def stop(self) -> None:
        """Break off what is under way. A rebuild leaves the live tables as they are; a reset goes on by itself."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def status(self, name: str | None = None) -> list[ProjectionStatus]:
        """One element per projection and shard, of all projections or of one."""
        connection = await connect(self._dsn)
        try:
            return await projection_status(connection, name)
        finally:
            await connection.close()

    async def start_reset(self, name: str) -> asyncio.Task[None]:
        """Empty the live tables and replay the log into them. Returns when that has begun; the task does it."""
        return await self._start("reset", self._reset, name)

    async def start_rebuild(self, name: str) -> asyncio.Task[None]:
        """Fill new tables beside the live ones, which serve until the new ones have caught up and take their place."""
        return await self._start("rebuild", self._rebuild, name)

    async def reset(self, name: str) -> None:
        await (await self.start_reset(name))

    async def rebuild(self, name: str) -> None:
        await (await self.start_rebuild(name))

    async def verify(self, name: str) -> Verification:
        """Fold the log afresh, up to the live checkpoint, and compare row by row. Nothing waits for it."""
        return await (await self._start("verify", self._verify, name))

    async def skip(self, name: str, shard: int, position: int, *, reason: str, actor: str | None) -> None:
        """Have the projection go on behind the event that it is stopped at, and record who decided so, and why.

        Holds for whatever makes the projection anew, too, until its definition changes to one that can fold the event.
        Raises ``ProjectionError`` projection-not-stopped if it is not stopped at precisely this position.
        """
        connection = await connect(self._dsn)
        try:
            await projection_status(connection, name)  # it is installed
            await connection.execute(_SKIP, name, shard, position, reason, actor)
        except asyncpg.PostgresError as error:
            if error.sqlstate != NOT_STOPPED:
                raise
            raise ProjectionError("projection-not-stopped", f"{error.args[0]}: {error.detail}") from error
        finally:
            await connection.close()

    # -- what runs -----------------------------------------------------------------------------------------------

    async def _start(
        self, kind: str, work: Callable[[Connection, Definition], Awaitable[T]], name: str
    ) -> asyncio.Task[T]:
        definition = self._definitions.get(name)
        if definition is None:
            raise unknown(name)
        connection = await connect(self._dsn)
        try:
            await _lock(connection, name, kind)
        except BaseException:
            connection.terminate()
            raise
        task = asyncio.create_task(self._carry_out(connection, kind, work, definition), name=f"{kind} {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _carry_out(
        self,
        connection: Connection,
        kind: str,
        work: Callable[[Connection, Definition], Awaitable[T]],
        definition: Definition,
    ) -> T:
        try:
            result = await work(connection, definition)
            await connection.execute(_FINISH, definition.name, None)
            return result
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ProjectionError) as error:
            logger.warning("%s of projection %s failed: %s", kind, definition.name, error)
            with suppress(*UNREACHABLE):
                await connection.execute(_FINISH, definition.name, str(error))
            raise ProjectionError("projection-failed", f"{kind} of {definition.name} failed: {error}") from error
        finally:
            connection.terminate()

    async def _reset(self, connection: Connection, definition: Definition) -> None:
        await _when_readers_let_go(connection, _RESET, definition.name)
        await _fold(connection, "live", definition.name, await _heads(connection, definition.name))

    async def _rebuild(self, connection: Connection, definition: Definition) -> None:
        name = definition.name
        await connection.execute(_CREATE, "rebuild", name, definition.sql)
        indexes = await connection.fetchval(_DEFER_INDEXES, "rebuild", name)
        await self._fill(connection, "rebuild", name, await _heads(connection, name))
        for index in indexes:
            await connection.execute(_BUILD_INDEX, index, timeout=STATEMENT_TIMEOUT_S)
        await _fold(connection, "rebuild", name, await _heads(connection, name))
        await _when_readers_let_go(connection, _SWAP, name, definition.sha256)

    async def _verify(self, connection: Connection, definition: Definition) -> Verification:
        name = definition.name
        await connection.execute(_CREATE, "verify", name, definition.sql)
        await connection.execute(_DEFER_INDEXES, "verify", name)
        await self._fill(connection, "verify", name, await _checkpoints(connection, name))
        # One snapshot shows the live tables as of a checkpoint; that is how far the fresh ones are folded to meet them.
        async with connection.transaction(isolation="repeatable_read"):
            await _fold(connection, "verify", name, await _checkpoints(connection, name))
            compared = await connection.fetchrow(_COMPARE, name, DIFFERENCES_MAX, timeout=STATEMENT_TIMEOUT_S)
        await connection.execute(_DROP, "verify", name)
        assert compared is not None
        rows, rows_different, differences = compared
        return Verification(rows_different == 0, rows, rows_different, msgspec.Raw(differences))

    async def _fill(self, connection: Connection, copy: str, name: str, heads: Heads) -> None:
        """Fill an empty shadow copy up to ``heads``, with several workers. One that was begun by a run that ended is
        not gone on with: the next run drops it."""
        done = [0] * WORKERS
        total = sum(heads.values())

        async def fill_slice(number: int) -> None:
            worker = await connect(self._dsn)
            try:
                await worker.execute(_SLICE, number, WORKERS)
                for shard, head in heads.items():
                    for begin in range(0, head, EVENTS_PER_ROUND):
                        end = min(begin + EVENTS_PER_ROUND, head)
                        await worker.execute(_APPLY_SLICE, copy, name, shard, begin, end)
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


async def _lock(connection: Connection, name: str, kind: str) -> None:
    await projection_status(connection, name)  # it is installed
    if not await connection.fetchval(_LOCK, name, kind):
        raise ProjectionError("projection-busy", f"a reset, rebuild or verification of {name} is under way")


async def _heads(connection: Connection, name: str) -> Heads:
    return {status.shard: status.head for status in await projection_status(connection, name)}


async def _checkpoints(connection: Connection, name: str) -> Heads:
    return {status.shard: status.checkpoint for status in await projection_status(connection, name)}


async def _fold(connection: Connection, copy: str, name: str, heads: Heads) -> None:
    """Fold the log into a copy of the projection, up to ``heads``, and tell how far it is."""
    done = dict.fromkeys(heads, 0)
    for shard, head in heads.items():
        while done[shard] < head:
            row = await connection.fetchrow(_ROUND, copy, name, shard, EVENTS_PER_ROUND, head)
            if row is None:  # the live projector is at it
                await asyncio.sleep(ROUND_PAUSE_S)
                continue
            done[shard] = row["to_position"]
            await connection.execute(_PROGRESS, name, sum(done.values()), sum(heads.values()))


async def _when_readers_let_go(connection: Connection, statement: str, *arguments: object) -> None:
    """Do what needs the live tables for itself alone, without making readers queue for long."""
    for _ in range(LOCK_ATTEMPTS_MAX):
        try:
            await connection.execute(statement, *arguments)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(LOCK_PAUSE_S)
    raise ProjectionError("projection-failed", "somebody has been reading its tables all the time")
