"""Resets, rebuilds and verifications as tasks of this process, and an operator's decision to skip an event.

Each task has the turn of its projection (``turns.py``). So two tasks never work on one projection, not even in
different processes, and the next task clears what a dead process left behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import asyncpg

from foldbook.errors import ProjectionError
from foldbook.eventstore.readers import copies
from foldbook.eventstore.readers.copies import Run, Verification, connect_for_maintenance
from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.status import ProjectionStatus, projection_status, unknown
from foldbook.eventstore.readers.turns import Turn
from foldbook.postgres.calls import call
from foldbook.postgres.connection import COMMAND_TIMEOUT_S, UNREACHABLE, Connection, connect

NOT_STOPPED = "FB012"

_BEGIN = call("eventstore.projection_begin", 2)
_FINISH = call("eventstore.projection_finish", 3)
_IS_REPLICA = "select pg_is_in_recovery()"
_SKIP = call("eventstore.projection_skip", 5)

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ProjectionAdmin:
    """Resets, rebuilds and verifies the projections of a database.

    All raise ``ProjectionError``: ``unknown-projection``; ``projection-busy`` if any process is resetting, rebuilding
    or verifying the same projection; and ``projection-failed``.
    """

    def __init__(self, dsn: str, definitions: Sequence[Definition]) -> None:
        self._dsn = dsn
        self._definitions = {definition.name: definition for definition in definitions}
        self._tasks: set[asyncio.Task[object]] = set()

    async def stop(self) -> None:
        """Cancel the tasks under way. A rebuild leaves the live tables alone; the projector continues a reset."""
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
        """Start a task that empties the live tables and replays the log into them. Returns when it has started."""
        return await self._start("reset", name, copies.reset)

    async def start_rebuild(self, name: str) -> asyncio.Task[None]:
        """Start a task that fills new tables and swaps them with the live ones, which serve until then. Returns when it
        has started."""
        return await self._start("rebuild", name, partial(copies.rebuild, dsn=self._dsn))

    async def reset(self, name: str) -> None:
        """The same, to its end."""
        await (await self.start_reset(name))

    async def rebuild(self, name: str) -> None:
        """The same, to its end."""
        await (await self.start_rebuild(name))

    async def verify(self, name: str) -> Verification:
        """Fold the log again, up to the live checkpoint, and compare row by row. Readers and writers do not wait."""
        return await (await self._start("verify", name, partial(copies.verify, dsn=self._dsn)))

    async def skip(self, name: str, shard: int, position: int, *, reason: str, actor: str | None) -> None:
        """Let the projection continue after the event that it is stopped at, and record who decided this, and why.

        The decision holds for every later copy, until the definition changes to one that can fold the event. Raises
        ``ProjectionError`` projection-not-stopped if the projection is not stopped at exactly this position.
        """
        connection = await connect(self._dsn)
        try:
            await projection_status(connection, name)  # raises if it is not installed
            await connection.execute(_SKIP, name, shard, position, reason, actor)
        except asyncpg.PostgresError as error:
            if error.sqlstate != NOT_STOPPED:
                raise
            raise ProjectionError("projection-not-stopped", f"{error.args[0]}: {error.detail}") from error
        finally:
            await connection.close()

    async def _start(self, kind: str, name: str, work: Callable[[Run], Awaitable[T]]) -> asyncio.Task[T]:
        definition = self._definitions.get(name)
        if definition is None:
            raise unknown(name)
        connection = await connect_for_maintenance(self._dsn)
        try:
            await _check(connection, kind, name)
            turn = await Turn.take(self._dsn, name)
            try:
                number = await connection.fetchval(_BEGIN, name, kind, timeout=COMMAND_TIMEOUT_S)
            except BaseException:
                await turn.give_back()
                raise
        except BaseException:
            connection.terminate()
            raise
        run = Run(connection, definition, number)
        task = asyncio.create_task(_carry_out(turn, run, kind, work), name=f"{kind} {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _check(connection: Connection, kind: str, name: str) -> None:
    await projection_status(connection, name)  # raises if it is not installed
    if await connection.fetchval(_IS_REPLICA):
        raise ProjectionError("projection-failed", f"{kind} of {name} writes, and the server is a replica")


async def _carry_out(turn: Turn, run: Run, kind: str, work: Callable[[Run], Awaitable[T]]) -> T:
    name = run.name
    try:
        result = await turn.during(work(run))
        await run.connection.execute(_FINISH, name, run.number, None)
        return result
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ProjectionError) as error:
        logger.warning("%s of projection %s failed: %s", kind, name, error)
        with suppress(asyncpg.PostgresError, *UNREACHABLE):
            await run.connection.execute(_FINISH, name, run.number, str(error), timeout=COMMAND_TIMEOUT_S)
        raise ProjectionError("projection-failed", f"{kind} of {name} failed: {error}") from error
    finally:
        run.connection.terminate()
        await turn.give_back()
