"""The log in PostgreSQL: each method of the store is one call of one SQL function."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from foldbook.errors import FoldbookError, StoreUnavailable
from foldbook.eventstore.events import AggregateKey, RecordedEvent
from foldbook.eventstore.store import Fate, FirstResult, Proposal, Snapshot, StoredEvent, SubjectEvent, Verdict
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, connect, create_pool

_FATES = {fate.value: fate for fate in Fate}

APPEND = call("eventstore.append", 18)
_APPEND_ONE = call("eventstore.append_one", 15)
_APPEND_UNDER_LEASE = call("eventstore.append_under_lease", 20)
_READ_AGGREGATES = call("eventstore.read_aggregates", 4)
_READ_SUBJECTS = call("eventstore.read_subjects", 4)
_COMMAND_RESULTS = call("eventstore.command_results", 2)
_READ_SNAPSHOTS = call("eventstore.read_snapshots", 4)
_WRITE_SNAPSHOT = call("eventstore.write_snapshot", 6)
_READ_LOG = call("eventstore.read_log", 6)


_NULL = b"null"
"""What an upcaster has left of a payload, if it returned nothing."""

LEASE_LOST = "FB015"


class LeaseLost(FoldbookError, code="lease-lost", status=503, title="Another process has taken the lease"):
    """An append was refused, because another process may do what this one did until now. Nothing was written."""


class LeaseEpoch(NamedTuple):
    """A lease, as one process holds it."""

    name: str
    epoch: int


class PostgresStore:
    """``EventStore`` over asyncpg: one connection per shard for appends, a small pool for reads.

    Under a ``lease``, an append raises ``LeaseLost`` once that has another epoch.
    """

    def __init__(self, dsn: str, *, read_connections_max: int = 4, lease: LeaseEpoch | None = None) -> None:
        self._dsn = dsn
        self._lease = lease
        self._read_connections_max = read_connections_max
        self._writers: dict[int, _Writer] = {}
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pool: asyncpg.Pool[Any] | None = None
        self._pool_lock = asyncio.Lock()

    async def append(self, shard: int, proposals: Sequence[Proposal]) -> list[Verdict]:
        async with self._turns[shard]:
            writer = await self._writer(shard)
            try:
                rows = await writer.append(shard, proposals)
            except UNREACHABLE as error:
                writer.connection.terminate()
                raise StoreUnavailable(f"the connection broke during an append: {error}", in_doubt=True) from error
            except asyncpg.PostgresError as error:
                if error.sqlstate == LEASE_LOST:
                    raise LeaseLost(str(error)) from error
                raise
        return [Verdict(_FATES[fate], position, sequence, same) for fate, position, sequence, same in rows]

    async def _writer(self, shard: int) -> _Writer:
        writer = self._writers.get(shard)
        if writer is None or writer.connection.is_closed():
            try:
                writer = self._writers[shard] = await _Writer.open(self._dsn, self._lease)
            except UNREACHABLE as error:
                raise StoreUnavailable(f"no connection to the log: {error}") from error
        return writer

    async def read_aggregates(self, shard: int, after: Sequence[tuple[AggregateKey, int]]) -> list[StoredEvent]:
        rows = await self._read(_READ_AGGREGATES, shard, *_columns_of_keys(after))
        return [StoredEvent(*row) for row in rows]

    async def read_subjects(self, shard: int, subjects: Sequence[tuple[AggregateKey, str]]) -> list[SubjectEvent]:
        rows = await self._read(_READ_SUBJECTS, shard, *_columns_of_keys(subjects))
        return [SubjectEvent(*row) for row in rows]

    async def command_results(self, shard: int, command_ids: Sequence[UUID]) -> list[FirstResult]:
        rows = await self._read(_COMMAND_RESULTS, shard, list(command_ids))
        return [FirstResult(*row) for row in rows]

    async def read_snapshots(self, shard: int, fingerprints: Sequence[tuple[AggregateKey, str]]) -> list[Snapshot]:
        rows = await self._read(_READ_SNAPSHOTS, shard, *_columns_of_keys(fingerprints))
        return [Snapshot(AggregateKey(kind, id_), *rest) for kind, id_, *rest in rows]

    async def write_snapshot(self, shard: int, snapshot: Snapshot) -> None:
        key = snapshot.aggregate_key
        await self._read(
            _WRITE_SNAPSHOT, shard, key.type, key.id, snapshot.sequence, snapshot.fingerprint, snapshot.state
        )

    async def read_log(
        self, shard: int, after: int, limit: int, aggregate: AggregateKey | None = None
    ) -> list[RecordedEvent]:
        aggregate_type, aggregate_id = aggregate or (None, None)
        rows = await self._read(_READ_LOG, shard, after, limit, None, aggregate_type, aggregate_id)
        return [
            RecordedEvent(
                **{**row, "payload": msgspec.Raw(row["payload"] or _NULL), "metadata": msgspec.Raw(row["metadata"])}
            )
            for row in rows
        ]

    async def close(self) -> None:
        for writer in self._writers.values():
            writer.connection.terminate()
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


class _Writer:
    """The connection that appends to a shard. The statement for one command is kept prepared: with one caller, half of
    what a command costs is how it travels."""

    def __init__(self, connection: asyncpg.Connection[Any], append_one: Any, lease: LeaseEpoch | None) -> None:
        self.connection = connection
        self._append_one = append_one
        self._lease = lease

    @classmethod
    async def open(cls, dsn: str, lease: LeaseEpoch | None) -> _Writer:
        connection = await connect(dsn)
        return cls(connection, await connection.prepare(_APPEND_ONE), lease)

    async def append(self, shard: int, proposals: Sequence[Proposal]) -> Sequence[Any]:
        if self._lease is not None:
            return await self.connection.fetch(_APPEND_UNDER_LEASE, *self._lease, shard, *columns(proposals))
        if len(proposals) == 1 and len(proposals[0].events) == 1:
            rows: Sequence[Any] = await self._append_one.fetch(shard, *_scalars(proposals[0]))
            return rows
        return await self.connection.fetch(APPEND, shard, *columns(proposals))


def _columns_of_keys(keyed: Sequence[tuple[AggregateKey, Any]]) -> tuple[list[str], list[str], list[Any]]:
    return [key.type for key, _ in keyed], [key.id for key, _ in keyed], [value for _, value in keyed]


def _scalars(p: Proposal) -> tuple[Any, ...]:
    """The arguments of ``append_one``."""
    command, (event,) = p.command, p.events
    return (
        command.command_id,
        command.aggregate_type,
        command.aggregate_id,
        type(command).__name__,
        p.fingerprint,
        p.expected_sequence,
        p.absent_subject,
        p.actor,
        type(event).__name__,
        event.schema_version,
        event.subject,
        event.payload(),
        p.metadata,
        event.occurred_at or command.business_time,
    )


def columns(proposals: Sequence[Proposal]) -> list[list[Any]]:
    """The arguments of ``append``: one row per event, or one for a command without events, turned into columns."""
    rows = chain.from_iterable(map(_rows, proposals))
    return [list(column) for column in zip(*rows, strict=True)]


def _rows(p: Proposal) -> list[tuple[Any, ...]]:
    command = p.command
    head = (
        command.command_id,
        command.aggregate_type,
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
        (
            *head,
            index,
            type(e).__name__,
            e.schema_version,
            e.subject,
            e.payload(),
            p.metadata,
            e.occurred_at or occurred_at,
        )
        for index, e in enumerate(p.events)
    ]
