"""Asks the database the questions of the query side: each is one call of one SQL function ``query_*``.

Reads are eventually consistent and say how far they are: every answer carries the position that it shows, read in the
same snapshot, and a question can wait for a position first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from foldbook.api.problems import Problem
from foldbook.errors import StoreUnavailable
from foldbook.eventstore.readers.read_gate import ReadGate
from foldbook.eventstore.store import shard_of
from foldbook.postgres.connection import UNREACHABLE, create_pool

CONNECTIONS_MAX = 8
ACQUIRE_TIMEOUT_S = 5.0
POSITION_TIMEOUT_S = 2.0
HEAD_PAUSE_S = 0.02

Row = Any
"""A row of a ``query_*`` function; JSON columns are bytes."""


@contextmanager
def reaching() -> Iterator[None]:
    """Turns what a database that can't be reached raises into ``StoreUnavailable``."""
    try:
        yield
    except UNREACHABLE as error:
        raise StoreUnavailable(f"the database cannot be reached: {error}") from error


class Reader:
    """``start`` it inside a running event loop, with its gate."""

    def __init__(self, dsn: str, gate: ReadGate, shard_count: int) -> None:
        self._dsn = dsn
        self._gate = gate
        self._pool: asyncpg.Pool[Any] | None = None
        self.shard_count = shard_count

    async def start(self) -> None:
        with reaching():
            self._pool = await create_pool(self._dsn, min_size=1, max_size=CONNECTIONS_MAX)

    async def stop(self) -> None:
        if self._pool is not None:
            self._pool.terminate()

    def shard_of(self, account: str) -> int:
        return shard_of(account, self.shard_count)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """One of a bounded number. Raises ``StoreUnavailable``, also for what is asked on it."""
        assert self._pool is not None, "start was not called"
        with reaching():
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection

    async def row(self, question: str, *arguments: object) -> Row:
        """The one row that answers. Raises ``StoreUnavailable``."""
        async with self.connection() as connection:
            try:
                return await connection.fetchrow(question, *arguments)
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
                # A question of today, and tables that are not there yet, or are those of yesterday until rebuilt.
                raise StoreUnavailable(f"the read tables are being made: {error}") from error

    async def reach(self, projection: str, shard: int, min_position: int | None) -> None:
        """Wait until the projection has reached ``min_position``; ``Problem`` projection-behind after 2 s."""
        if min_position is None:
            return
        if not await self._gate.wait(projection, shard, min_position, POSITION_TIMEOUT_S):
            row = await self.row("select eventstore.checkpoint($1, $2) as position", shard, projection)
            raise _behind(f"projection {projection}", row["position"], min_position)

    async def reach_head(self, shard: int, min_position: int | None) -> None:
        """The same for what is read from the log itself, where a position is as soon as anybody was told of it."""
        if min_position is None:
            return
        deadline = time.monotonic() + POSITION_TIMEOUT_S
        while True:
            row = await self.row("select (eventstore.head($1)).last_position as position", shard)
            if row["position"] >= min_position:
                return
            if time.monotonic() > deadline:
                raise _behind("the log", row["position"], min_position)
            await asyncio.sleep(HEAD_PAUSE_S)


def _behind(what: str, checkpoint: int, min_position: int) -> Problem:
    return Problem(
        "projection-behind", f"{what} is at position {checkpoint}", min_position=min_position, checkpoint=checkpoint
    )
