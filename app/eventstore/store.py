"""The log in PostgreSQL: each method is one call of one SQL function, and ``EventStore`` says what they promise.

``memory.py`` keeps the same promises without a database; one contract test suite is run against both.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import msgspec

from app.eventstore.errors import StoreUnavailable
from app.eventstore.events import Command, Event, RecordedEvent
from app.postgres.connection import connect, create_pool


def shard_of(aggregate_id: str, shard_count: int) -> int:
    """The shard an aggregate lives in; the same as ``eventstore.shard_of`` in SQL."""
    if shard_count == 1:
        return 0
    return int.from_bytes(hashlib.sha256(aggregate_id.encode()).digest()[:4]) % shard_count


@dataclass(slots=True)
class Proposal:
    """A decided command on its way into the log: its events, or the reason why it was refused."""

    command: Command
    fingerprint: bytes
    expected_sequence: int | None
    """The sequence the decision was based on; None: whatever it is."""
    absent_subject: str | None
    """A subject on whose absence the decision was based."""
    actor: str | None
    metadata: bytes
    events: Sequence[Event]
    reason: bytes | None = None


class Fate(Enum):
    """What became of a proposal."""

    APPENDED = "appended"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(slots=True)
class Verdict:
    """The answer to one proposal.

    ``position`` is that of its last event, for a command without events the head of the log; None unless appended.
    ``sequence`` is the aggregate's after it, or, on a conflict, the one it really has. ``is_same_content`` tells, of a
    duplicate, whether its content was that of the first command with this id.
    """

    fate: Fate
    position: int | None
    sequence: int
    is_same_content: bool | None


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """As much of a recorded event as a fold needs."""

    aggregate_id: str
    sequence: int
    type: str
    schema_version: int
    payload: bytes


class SubjectEvent(msgspec.Struct, frozen=True, gc=False):
    """An event found by its subject."""

    aggregate_id: str
    subject: str
    position: int
    sequence: int
    type: str
    schema_version: int
    command_id: UUID
    payload: bytes


class FirstResult(msgspec.Struct, frozen=True, gc=False):
    """What a command was answered when it was first recorded. ``position`` and ``sequence``: of its last event; of a
    command without events, the head of the log after its commit, and None. ``reason``: why it was refused, as JSON."""

    command_id: UUID
    fingerprint: bytes
    reason: bytes | None
    position: int
    sequence: int | None
    event_types: Sequence[str]


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A cached fold: the state of an aggregate at a sequence, as JSON. ``fingerprint`` names the shape of the state."""

    aggregate_id: str
    sequence: int
    fingerprint: str
    state: bytes


class EventStore(Protocol):
    """What the command bus needs of a log. Shards are 0-based, positions and sequences 1-based.

    Every method raises ``StoreUnavailable`` when the log cannot be reached in time; ``in_doubt`` then tells whether an
    append may have happened.
    """

    async def append(self, shard: int, proposals: Sequence[Proposal]) -> list[Verdict]:
        """Append what holds, in one transaction, and give a verdict for each proposal, in order.

        A conflict spoils no other aggregate; but nothing of an aggregate that was decided after a command that did
        not go in goes in either, unless it expects no sequence. All that is returned is durable.
        """
        ...

    async def read_aggregates(self, shard: int, after: Sequence[tuple[str, int]]) -> list[StoredEvent]:
        """The events of each (aggregate id, after this sequence), in order within each."""
        ...

    async def read_subjects(self, shard: int, subjects: Sequence[tuple[str, str]]) -> list[SubjectEvent]:
        """The events of each (aggregate id, subject), in order within each."""
        ...

    async def command_results(self, shard: int, command_ids: Sequence[UUID]) -> list[FirstResult]:
        """The first result of each command that is known."""
        ...

    async def read_snapshots(self, shard: int, aggregate_ids: Sequence[str], fingerprint: str) -> list[Snapshot]:
        """The latest snapshots of these aggregates that have this fingerprint."""
        ...

    async def write_snapshot(self, shard: int, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless there is a later one of the same shape."""
        ...

    async def read_log(
        self, shard: int, after: int, limit: int, aggregate_id: str | None = None
    ) -> list[RecordedEvent]:
        """At most ``limit`` events after a position, ascending, without gaps; of one aggregate, if it is named."""
        ...

    async def close(self) -> None: ...


UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server's farewell between two steps of one call leaves asyncpg confused
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TransactionRollbackError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What a lost, restarting or exhausted server raises: nothing was wrong with what was asked."""

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
