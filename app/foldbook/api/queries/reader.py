"""Queries the database: each query over HTTP is one call of one SQL function ``query_*``.

Reads are eventually consistent and say how far they are. Every row carries the position that it shows, read in the same
snapshot as the rest, and a query can first wait for a position.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from foldbook.api.problems import Problem
from foldbook.errors import StoreUnavailable
from foldbook.eventstore.readers.read_gate import ReadGate
from foldbook.eventstore.store import shard_of
from foldbook.postgres.calls import call
from foldbook.postgres.connection import create_pool, unreachable_as_unavailable

CONNECTIONS_MAX = 8
ACQUIRE_TIMEOUT_S = 5.0
POSITION_TIMEOUT_S = 2.0
HEAD_PAUSE_S = 0.02

Row = Any
"""A row of a ``query_*`` function. ``document``: the JSON document that HTTP sends, as bytes, or None if the thing does
not exist. ``position``: the position of the log that it shows."""


class Reader:
    """``start`` it inside a running event loop, with its gate."""

    def __init__(self, dsn: str, gate: ReadGate, shard_count: int) -> None:
        self._dsn = dsn
        self._gate = gate
        self._pool: asyncpg.Pool[Any] | None = None
        self.shard_count = shard_count

    async def start(self) -> None:
        with unreachable_as_unavailable():
            self._pool = await create_pool(self._dsn, min_size=1, max_size=CONNECTIONS_MAX)

    async def stop(self) -> None:
        if self._pool is not None:
            self._pool.terminate()

    async def drop_connections(self) -> None:
        """Each is opened again before it is used again."""
        if self._pool is not None:
            await self._pool.expire_connections()

    def shard_of(self, account: str) -> int:
        return shard_of(account, self.shard_count)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """One of a bounded number. Raises ``StoreUnavailable`` if none is free, or if it is lost while in use."""
        assert self._pool is not None, "start was not called"
        with unreachable_as_unavailable():
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection

    async def ask(self, function: str, *arguments: object) -> Row:
        """The one row that a SQL function returns. Raises ``StoreUnavailable``."""
        rows = await self.ask_all(function, *arguments)
        return rows[0] if rows else None

    async def ask_all(self, function: str, *arguments: object) -> list[Row]:
        """All its rows, which must be few."""
        async with self.connection() as connection:
            try:
                return await connection.fetch(call(function, len(arguments)), *arguments)  # type: ignore[no-any-return]
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
                # The read tables do not exist yet, or are those of an older program until they are rebuilt.
                raise StoreUnavailable(f"the read tables are being created: {error}") from error

    async def reach(self, projection: str, shard: int, min_position: int | None) -> None:
        """Wait until the projection has reached ``min_position``; ``Problem`` projection-behind after 2 s."""
        await self.reach_all((projection,), shard, min_position)

    async def reach_all(self, projections: Iterable[str], shard: int, min_position: int | None) -> None:
        """``reach``, for an answer that several projections make. They share the 2 s."""
        if min_position is None:
            return
        deadline = time.monotonic() + POSITION_TIMEOUT_S
        for projection in projections:
            if not await self._gate.wait(projection, shard, min_position, max(deadline - time.monotonic(), 0)):
                row = await self.ask("eventstore.checkpoint", shard, projection)
                raise _behind(f"projection {projection}", row["checkpoint"], min_position)

    async def reach_head(self, shard: int, min_position: int | None) -> None:
        """Wait until the log has reached ``min_position``; ``Problem`` projection-behind after 2 s. The log has a
        position as soon as its command is answered."""
        if min_position is None:
            return
        deadline = time.monotonic() + POSITION_TIMEOUT_S
        while True:
            head = (await self.ask("eventstore.head", shard))["last_position"]
            if head >= min_position:
                return
            if time.monotonic() > deadline:
                raise _behind("the log", head, min_position)
            await asyncio.sleep(HEAD_PAUSE_S)


def _behind(what: str, checkpoint: int, min_position: int) -> Problem:
    return Problem(
        "projection-behind", f"{what} is at position {checkpoint}", min_position=min_position, checkpoint=checkpoint
    )
