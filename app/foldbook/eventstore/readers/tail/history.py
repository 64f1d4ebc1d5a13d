"""The past of the log in pages, for readers that are behind: through a bounded number of connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import msgspec

from foldbook.errors import FoldbookError, LogChanged
from foldbook.eventstore.readers.tail.ring import Frame, entries_of
from foldbook.eventstore.readers.tail.selection import Selection
from foldbook.postgres.calls import call
from foldbook.postgres.connection import create_pool, unreachable_as_unavailable

CONNECTIONS_MAX = 4
ACQUIRE_TIMEOUT_S = 30.0
PAGE_EVENTS = 500
SEARCH_EVENTS_MAX = 20_000
"""Events that one page examines, if most of them are not selected."""

_START = call("eventstore.stream_start", 2)
_READ_EVENTS = call("eventstore.read_events", 9)


class PositionAhead(
    FoldbookError,
    code="position-ahead",
    status=409,
    title="The log has not reached this position",
):
    pass


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Which log is read, and where. ``commit`` wrote the position ``after``; ``hash``, in hex, seals it and all
    before it."""

    log_id: str
    shard: int
    after: int
    head: int
    commit: int
    hash: str


class Page(NamedTuple):
    """``frames``: what is selected of (after, to]."""

    frames: bytes
    to: int


class History:
    """Reads pages for any number of readers; they wait for each other. ``start`` it inside a running event loop."""

    def __init__(self, dsn: str, frame: Frame, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._dsn = dsn
        self._frame = frame
        self._connections_max = connections_max
        self._pool: asyncpg.Pool[Any] | None = None

    async def start(self) -> None:
        with unreachable_as_unavailable():
            self._pool = await create_pool(self._dsn, min_size=0, max_size=self._connections_max)

    async def drop_connections(self) -> None:
        """Each is opened again before it is used again."""
        if self._pool is not None:
            await self._pool.expire_connections()

    async def stop(self) -> None:
        if self._pool is not None:
            self._pool.terminate()

    async def begin(self, shard: int, after: int | None, expected_hash: str | None = None) -> Start:
        """``after`` None: at the head. ``expected_hash``: what the reader knows of the commit that wrote that position.

        Raises ``PositionAhead``, ``LogChanged`` and ``StoreUnavailable``.
        """
        async with self._connection() as connection:
            row = await connection.fetchrow(_START, shard, after)
        start = Start(shard=shard, **row)
        if expected_hash is None:
            _check(start.after, start.head)
        check_hash(start, expected_hash)
        return start

    async def read(self, shard: int, after: int, selection: Selection) -> Page:
        """The next page. It may be empty before the end is reached.

        Raises ``StoreUnavailable``, and ``PositionAhead``."""
        view, aggregate = selection.view, selection.aggregate
        async with self._connection() as connection:
            rows = await connection.fetch(
                _READ_EVENTS,
                shard,
                after,
                PAGE_EVENTS,
                selection.type,
                None if aggregate is None else aggregate.type,
                None if aggregate is None else aggregate.id,
                None,
                None if view is None else view.patterns,
                SEARCH_EVENTS_MAX,
            )
        _check(after, rows[0]["head"])
        return Page(b"".join(entry.frame for entry in entries_of(shard, rows, self._frame)), reached(rows, PAGE_EVENTS))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        assert self._pool is not None, "start was not called"
        with unreachable_as_unavailable():
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                yield connection


def reached(rows: list[Any], limit: int) -> int:
    """The position up to which rows of ``eventstore.read_events`` are complete."""
    last = rows[-1]
    found: int
    if len(rows) == limit and last["position"] is not None:
        found = last["position"]
    else:
        found = last["head"] if last["searched_to"] is None else last["searched_to"]
    return found


def check_hash(start: Start, expected_hash: str | None) -> None:
    """Raises ``LogChanged``."""
    if expected_hash not in (None, start.hash):
        raise LogChanged(
            f"position {start.after} of shard {start.shard} was written by commit {start.commit} with the hash "
            f"{start.hash}, not {expected_hash}",
            commit=start.commit,
            hash=start.hash,
        )


def _check(after: int, head: int) -> None:
    if after > head:
        raise PositionAhead(f"position {after} is after the end of the log, which is {head}")
