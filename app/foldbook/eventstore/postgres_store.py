"""The log in PostgreSQL: each method of the store is one call of one SQL function."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, NamedTuple

import asyncpg
import msgspec

from foldbook.errors import FoldbookError, LogMismatch, StoreUnavailable
from foldbook.eventstore.events import AggregateKey, CommandKey, RecordedEvent
from foldbook.eventstore.postgres_run import ServerRun, commit_in
from foldbook.eventstore.seen import Commit, Loss
from foldbook.eventstore.store import Fate, FirstResult, Proposal, Snapshot, StoredEvent, SubjectEvent, Verdict
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, Connection, connect, create_pool
from foldbook.postgres.sqlstates import raise_if_unavailable

_ASK_DOCTOR = "`foldbook doctor` says what is in the way"
_FATES = {fate.value: fate for fate in Fate}
_NULL = b"null"
"""What an upcaster has left of a payload, if it returned nothing."""

APPEND = call("eventstore.append", 18)
_APPEND_ONE = call("eventstore.append_one", 15)
_APPEND_UNDER_LEASE = call("eventstore.append_under_lease", 21)
_READ_AGGREGATES = call("eventstore.read_aggregates", 4)
_READ_SUBJECTS = call("eventstore.read_subjects", 4)
_COMMAND_RESULTS = call("eventstore.command_results", 4)
_READ_SNAPSHOTS = call("eventstore.read_snapshots", 4)
_WRITE_SNAPSHOT = call("eventstore.write_snapshot", 6)
_READ_LOG = call("eventstore.read_log", 6)
_HEAD = call("eventstore.head", 1)
_PROVE = call("eventstore.prove_writable", 2)

PROOF_TIMEOUT_S = 1.5
PROOF_PATIENCE_MS = 1_000
"""How long a proof waits for the writer's lock."""

LEASE_LOST = "FB015"
NO_SUCH_SHARD = "FB016"

NOTIFYING_MAX = 3
"""Times an append is sent if the queue of notifications is full. From the second on, append sees that and notifies
nobody, unless the queue was emptied and filled again meanwhile."""


class LeaseLost(FoldbookError, code="lease-lost", status=503, title="Another process has taken the lease"):
    """An append was refused, because another process may do what this one did until now. Nothing was written."""


class LeaseEpoch(NamedTuple):
    """A lease, as one process holds it. After a failover to a replica that lagged, another may have the same number."""

    name: str
    holder: str
    epoch: int


class PostgresStore:
    """``EventStore`` over asyncpg: one connection per shard for appends, a small pool for reads.

    Under a ``lease``, an append raises ``LeaseLost`` once that has another epoch. All connections lead to the same run
    of the same server. ``on_another_run`` is awaited when that is another one, and ``losses`` are known. One that
    ``reads_only`` reads a replica, too.
    """

    def __init__(
        self, dsn: str, *, read_connections_max: int = 4, lease: LeaseEpoch | None = None, reads_only: bool = False
    ) -> None:
        self._dsn = dsn
        self._lease = lease
        self._read_connections_max = read_connections_max
        self._writers: dict[int, _Writer] = {}
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._openings: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pool: asyncpg.Pool[Any] | None = None
        self._pool_lock = asyncio.Lock()
        self._promised: dict[int, int] = {}
        """The run that ``ready`` returned last, of each shard."""
        self._server = ServerRun(self._close_connections, self._tell, takes_replicas=reads_only)
        self.on_another_run: Callable[[], Awaitable[None]] | None = None

    @property
    def run(self) -> int:
        return self._server.number

    @property
    def losses(self) -> Sequence[Loss]:
        return self._server.losses

    async def ready(self, shard: int, shard_count: int) -> int:
        await self._writer(shard)
        self._server.check_shards(shard_count)
        self._promised[shard] = self._server.number
        return self._server.number

    async def check(self) -> None:
        async with self._reading() as connection:
            await self._server.check(connection)

    async def is_another(self, connection: Connection) -> bool:
        """Whether somebody else's new connection leads to another run than the store's first."""
        return await self._server.admit(connection) > 0

    async def append(self, shard: int, proposals: Sequence[Proposal]) -> list[Verdict]:
        async with self._turns[shard]:
            writer = await self._writer(shard)
            if self._promised.get(shard, self._server.number) != self._server.number:
                raise StoreUnavailable("the server is another one than a moment ago")
            try:
                rows = await _until_notified(writer, shard, proposals)
            except UNREACHABLE as error:
                writer.connection.terminate()
                raise StoreUnavailable(f"the connection broke during an append: {error}", in_doubt=True) from error
            except asyncpg.PostgresError as error:
                if error.sqlstate == LEASE_LOST:
                    raise LeaseLost(str(error)) from error
                if error.sqlstate == NO_SUCH_SHARD:
                    raise LogMismatch(f"{error}; set FOLDBOOK_SHARDS to that") from error
                raise_if_unavailable(error)
                raise
            if (commit := commit_in(rows)) is not None:
                self._server.seen[shard].see(commit)
        return [Verdict(_FATES[fate], position, sequence, same) for fate, position, sequence, same, _, _ in rows]

    async def _writer(self, shard: int) -> _Writer:
        if (writer := self._open_writer(shard)) is not None:
            return writer
        async with self._openings[shard]:
            if (writer := self._open_writer(shard)) is not None:
                return writer
            try:
                writer = await _Writer.open(self._dsn, self._lease, self._server)
            except UNREACHABLE as error:
                raise StoreUnavailable(f"no connection to the log: {error}") from error
            if writer.run != self._server.number:
                writer.connection.terminate()
                raise StoreUnavailable("while this connection was made, another one met another server")
            self._writers[shard] = writer
            return writer

    def _open_writer(self, shard: int) -> _Writer | None:
        writer = self._writers.get(shard)
        return None if writer is None or writer.connection.is_closed() else writer

    async def read_aggregates(self, shard: int, after: Sequence[tuple[AggregateKey, int]]) -> list[StoredEvent]:
        async with self._reading() as connection:
            rows = await connection.fetch(_READ_AGGREGATES, shard, *_columns_of_keys(after))
            # Later than the events, so that it covers them; and where they were read.
            head = await connection.fetchrow(_HEAD, shard)
            self._server.seen[shard].see(Commit(head["number"], head["last_position"], head["hash"]))
        return [StoredEvent(*row) for row in rows]

    async def read_subjects(self, shard: int, subjects: Sequence[tuple[AggregateKey, str]]) -> list[SubjectEvent]:
        rows = await self._read(_READ_SUBJECTS, shard, *_columns_of_keys(subjects))
        return [SubjectEvent(*row) for row in rows]

    async def command_results(self, shard: int, commands: Sequence[CommandKey]) -> list[FirstResult]:
        rows = await self._read(_COMMAND_RESULTS, shard, *_columns_of_keys(commands))
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

    async def prove(self, shard: int) -> None:
        try:
            async with asyncio.timeout(PROOF_TIMEOUT_S):
                (before,) = await self._read(_HEAD, shard)
                try:
                    await self._take_lock(shard)
                except asyncpg.LockNotAvailableError:
                    (after,) = await self._read(_HEAD, shard)
                    if after["number"] == before["number"]:
                        raise _held(shard) from None
        except TimeoutError:
            raise (
                _held(shard)
                if self._turns[shard].locked()
                else StoreUnavailable(f"a commit to shard {shard} did not come back: {_ASK_DOCTOR}")
            ) from None
        except UNREACHABLE as error:
            raise StoreUnavailable(f"the log cannot be written: {error}") from error
        except asyncpg.PostgresError as error:
            raise StoreUnavailable(f"the log cannot be written: {error}. {error.detail or ''}".strip()) from error

    async def _take_lock(self, shard: int) -> None:
        async with self._turns[shard]:
            writer = await self._writer(shard)
            await writer.connection.execute(_PROVE, shard, PROOF_PATIENCE_MS)

    async def close(self) -> None:
        self._close_connections()

    def _close_connections(self) -> None:
        for writer in self._writers.values():
            writer.connection.terminate()
        self._writers.clear()
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def _tell(self) -> None:
        if self.on_another_run is not None:
            await self.on_another_run()

    async def _read(self, query: str, *arguments: object) -> list[Any]:
        async with self._reading() as connection:
            rows: list[Any] = await connection.fetch(query, *arguments)
            return rows

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Any]:
        try:
            pool, connection = await self._acquire()
            try:
                yield connection
            finally:
                await pool.release(connection)
        except UNREACHABLE as error:
            raise StoreUnavailable(f"the log cannot be read: {error}") from error
        except asyncpg.PostgresError as error:
            raise_if_unavailable(error)
            raise

    async def _acquire(self) -> tuple[asyncpg.Pool[Any], Any]:
        """A connection for reading, and the pool that it belongs to."""
        while True:
            async with self._pool_lock:
                if self._pool is None:
                    self._pool = await create_pool(
                        self._dsn, min_size=0, max_size=self._read_connections_max, admit=self._server.admit
                    )
                pool = self._pool
            try:
                return pool, await pool.acquire()
            except asyncpg.InterfaceError:
                if pool is self._pool:  # Else another run has begun meanwhile, which has a pool of its own.
                    raise


class _Writer:
    """The connection that appends to a shard. The statement for one command is kept prepared: with one caller, half of
    what a command costs is how it travels."""

    def __init__(
        self, connection: asyncpg.Connection[Any], run: int, append_one: Any, lease: LeaseEpoch | None
    ) -> None:
        self.connection = connection
        self.run = run
        self._append_one = append_one
        self._lease = lease
        self._warning: str | None = None
        connection.add_log_listener(self._take_message)

    @classmethod
    async def open(cls, dsn: str, lease: LeaseEpoch | None, server: ServerRun) -> _Writer:
        connection = await connect(dsn)
        try:
            run = await server.admit(connection)
            return cls(connection, run, await connection.prepare(_APPEND_ONE), lease)
        except BaseException:
            connection.terminate()
            raise

    async def append(self, shard: int, proposals: Sequence[Proposal]) -> Sequence[Any]:
        """The rows that ``append`` returns, once the commit is everywhere where it has to be."""
        self._warning = None
        rows = await self._append(shard, proposals)
        if self._warning is not None:
            raise ConnectionError(self._warning)
        return rows

    def _take_message(self, _: object, message: asyncpg.PostgresLogMessage) -> None:
        """Append warns of nothing. Its commit does if somebody ends the wait for a replica, and succeeds without it."""
        if message.severity_en == "WARNING":
            self._warning = str(message)

    async def _append(self, shard: int, proposals: Sequence[Proposal]) -> Sequence[Any]:
        if self._lease is not None:
            return await self.connection.fetch(_APPEND_UNDER_LEASE, *self._lease, shard, *columns(proposals))
        if len(proposals) == 1 and len(proposals[0].events) == 1:
            rows: Sequence[Any] = await self._append_one.fetch(shard, *_scalars(proposals[0]))
            return rows
        return await self.connection.fetch(APPEND, shard, *columns(proposals))


async def _until_notified(writer: _Writer, shard: int, proposals: Sequence[Proposal]) -> Sequence[Any]:
    """Append; again if the queue of notifications was full, in which case nothing was written."""
    for attempt in range(1, NOTIFYING_MAX + 1):
        try:
            return await writer.append(shard, proposals)
        except asyncpg.ProgramLimitExceededError:
            if attempt == NOTIFYING_MAX:
                raise
    raise AssertionError


def _held(shard: int) -> StoreUnavailable:
    return StoreUnavailable(
        f"nothing was committed to shard {shard} for a second, and its writer's lock is held: {_ASK_DOCTOR}"
    )


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
