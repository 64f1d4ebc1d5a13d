"""The log in PostgreSQL: each method of the store is one call of one SQL function."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from foldbook.errors import StoreUnavailable
from foldbook.eventstore.events import RecordedEvent
from foldbook.eventstore.store import Fate, FirstResult, Proposal, Snapshot, StoredEvent, SubjectEvent, Verdict
from foldbook.postgres.connection import UNREACHABLE, connect, create_pool

_FATES = {fate.value: fate for fate in Fate}


class PostgresStore:
    """``EventStore`` over asyncpg: one connection per shard for appends, a small pool for reads."""

    def __init__(self, dsn: str, *, read_connections_max: int = 4) -> None:
        self._dsn = dsn
        self._read_connections_max = read_connections_max
        self._writers: dict[int, asyncpg.Connection[Any]] = {}
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pool: asyncpg.Pool[Any] | None = None
        self._pool_lock = asyncio.Lock()

    async def append(self, shard: int, proposals: Sequence[Proposal]) -> list[Verdict]:
        async with self._turns[shard]:
            writer = await self._writer(shard)
            try:
                rows = await writer.fetch(_APPEND, shard, *_columns(proposals))
            except UNREACHABLE as error:
                writer.terminate()
                raise StoreUnavailable(f"the connection broke during an append: {error}", in_doubt=True) from error
        return [Verdict(_FATES[fate], position, sequence, same) for fate, position, sequence, same in rows]

    async def _writer(self, shard: int) -> asyncpg.Connection[Any]:
        writer = self._writers.get(shard)
        if writer is None or writer.is_closed():
            try:
                writer = self._writers[shard] = await connect(self._dsn)
            except UNREACHABLE as error:
                raise StoreUnavailable(f"no connection to the log: {error}") from error
        return writer

    async def read_aggregates(self, shard: int, after: Sequence[tuple[str, int]]) -> list[StoredEvent]:
        ids, sequences = zip(*after, strict=True)
        return [StoredEvent(*row) for row in await self._read(_READ_AGGREGATES, shard, ids, sequences)]

    async def read_subjects(self, shard: int, subjects: Sequence[tuple[str, str]]) -> list[SubjectEvent]:
        ids, names = zip(*subjects, strict=True)
        return [SubjectEvent(*row) for row in await self._read(_READ_SUBJECTS, shard, ids, names)]

    async def command_results(self, shard: int, command_ids: Sequence[UUID]) -> list[FirstResult]:
        rows = await self._read(_COMMAND_RESULTS, shard, list(command_ids))
        return [FirstResult(*row) for row in rows]

    async def read_snapshots(self, shard: int, aggregate_ids: Sequence[str], fingerprint: str) -> list[Snapshot]:
        rows = await self._read(_READ_SNAPSHOTS, shard, list(aggregate_ids), fingerprint)
        return [Snapshot(aggregate_id, sequence, fingerprint, state) for aggregate_id, sequence, state in rows]

    async def write_snapshot(self, shard: int, snapshot: Snapshot) -> None:
        await self._read(
            _WRITE_SNAPSHOT, shard, snapshot.aggregate_id, snapshot.sequence, snapshot.fingerprint, snapshot.state
        )

    async def read_log(
        self, shard: int, after: int, limit: int, aggregate_id: str | None = None
    ) -> list[RecordedEvent]:
        rows = await self._read(_READ_LOG, shard, after, limit, aggregate_id)
        return [
            RecordedEvent(**{**row, "payload": msgspec.Raw(row["payload"]), "metadata": msgspec.Raw(row["metadata"])})
            for row in rows
        ]

    async def close(self) -> None:
        for writer in self._writers.values():
            writer.terminate()
        self._writers.clear()
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def _read(self, query: str, *arguments: object) -> list[Any]:
        try:
            async with self._pool_lock:
                if self._pool is None:
                    self._pool = await create_pool(self._dsn, min_size=0, max_size=self._read_connections_max)
            rows: list[Any] = await self._pool.fetch(query, *arguments)
            return rows
        except UNREACHABLE as error:
            raise StoreUnavailable(f"the log cannot be read: {error}") from error


def _columns(proposals: Sequence[Proposal]) -> list[list[Any]]:
    """One row per event, or one for a command without events, turned into the column arrays of ``append``."""
    rows = chain.from_iterable(map(_rows, proposals))
    return [list(column) for column in zip(*rows, strict=True)]


def _rows(p: Proposal) -> list[tuple[Any, ...]]:
    command = p.command
    head = (
        command.command_id,
        command.aggregate_id,
        type(command).__name__,
        p.fingerprint,
        p.expected_sequence,
        p.absent_subject,
        p.actor,
        p.reason,
        len(p.events),
    )
    occurred_at = command.business_time
    if not p.events:
        return [(*head, 0, None, None, None, None, p.metadata, occurred_at)]
    return [
        (*head, index, type(e).__name__, e.schema_version, e.subject, e.payload(), p.metadata, occurred_at)
        for index, e in enumerate(p.events)
    ]


_APPEND = """
select verdict, position, sequence, is_same_content
from eventstore.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""
_READ_AGGREGATES = """
select aggregate_id, sequence, type, schema_version, payload from eventstore.read_aggregates($1, $2, $3)
"""
_READ_SUBJECTS = """
select aggregate_id, subject, position, sequence, type, schema_version, command_id, payload
from eventstore.read_subjects($1, $2, $3)
"""
_COMMAND_RESULTS = """
select command_id, fingerprint, reason, position, sequence, event_types from eventstore.command_results($1, $2)
"""
_READ_SNAPSHOTS = "select aggregate_id, sequence, state from eventstore.read_snapshots($1, $2, $3)"
_WRITE_SNAPSHOT = "select eventstore.write_snapshot($1, $2, $3, $4, $5)"
_READ_LOG = "select * from eventstore.read_log($1, $2, $3, p_aggregate_id => $4)"
