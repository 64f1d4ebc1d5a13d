"""Keeps the read tables up to date: one subscription per projection and shard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

import asyncpg

from foldbook.errors import FoldbookError, ProjectionError, reason_of
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.listener import LOG_CHANNEL, Listener
from foldbook.eventstore.readers.status import ProjectionStatus, projection_status
from foldbook.eventstore.readers.subscription import POLL_INTERVAL_S, ROUND_INTERVAL_S, Round, Subscription
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, Connection, connect

EVENTS_PER_ROUND = 50_000
"""Bounds the time and memory of a round: a fraction of a second, some 30 MB."""

_INSTALL = call("eventstore.projection_install", 3)
_FINGERPRINT = call("eventstore.projection_fingerprint", 1)
_ROUND = call("eventstore.projection_round", 4)
_NARROW = call("eventstore.projection_narrow", 3)
_SHRINK = call("eventstore.projection_shrink", 5)
_TOO_MUCH = (
    TimeoutError,  # the client's
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
)
"""What a round may meet that is smaller the next time. No event is to blame."""

REBUILD_PAUSE_S_MIN = 1.0
REBUILD_PAUSE_S_MAX = 300.0
"""Between two rebuilds of the same projection: each may read the whole log."""

logger = logging.getLogger(__name__)


async def install_projections(connection: Connection, definitions: Iterable[Definition]) -> list[str]:
    """Create the empty tables of each projection that is not installed yet. Returns the names of those.

    Two processes may do so at once. An installed projection is left alone, even if its file has changed.
    """
    return [d.name for d in definitions if await connection.fetchval(_INSTALL, d.name, d.sql, d.aggregate_types)]


class LiveRounds:
    """The rounds of a live projection on one shard: the work of its subscription."""

    def __init__(self, name: str, shard: int) -> None:
        self._name = name
        self._shard = shard
        self._limit = EVENTS_PER_ROUND
        self._lost: Exception | None = None
        self._losses = 0
        """Rounds in a row that lost the connection, and what the last one raised."""

    async def __call__(self, connection: Connection) -> Round | None:
        """One round. Raises ``ProjectionError`` if the projection fails on an event, or if the round takes too long."""
        if self._lost is not None and self._losses > 1:
            lost, self._lost = self._lost, None
            await self._halve(connection, lost)
        try:
            done = await self._round(connection)
        except _TOO_MUCH as error:
            await self._halve(connection, error)
        except UNREACHABLE as error:
            # Once may be chance. A second time in a row, the round may be what the server breaks at.
            self._lost, self._losses = error, self._losses + 1
            raise
        self._lost, self._losses = None, 0
        return done

    async def _halve(self, connection: Connection, error: Exception) -> NoReturn:
        why = f"a round took too long: {str(error) or 'no answer in time'}"
        sqlstate = getattr(error, "sqlstate", None) or asyncpg.QueryCanceledError.sqlstate
        self._limit = await connection.fetchval(_SHRINK, self._name, self._shard, self._limit, sqlstate, why)
        raise self._stopped(f"{why}; the next one takes {self._limit} events") from error

    async def _round(self, connection: Connection) -> Round | None:
        try:
            row = await connection.fetchrow(_ROUND, "live", self._name, self._shard, self._limit)
        except (*_TOO_MUCH, *UNREACHABLE):
            raise
        except asyncpg.PostgresError as error:
            failure = await connection.fetchval(_NARROW, self._name, self._shard, self._limit)
            # At an event that failed there is nothing to do but to try it again.
            self._limit = EVENTS_PER_ROUND if failure is None else 1
            if failure is not None:
                raise self._stopped(failure.decode()) from error
            return None
        if row is None:
            return None
        done = Round(*row)
        # A limit that was reduced grows again, step by step while there is a backlog.
        grown = self._limit + max(self._limit // 8, 1)
        self._limit = EVENTS_PER_ROUND if done.to_position >= done.head else min(grown, EVENTS_PER_ROUND)
        return done

    def _stopped(self, why: str) -> ProjectionError:
        return ProjectionError("projection-failed", f"projection {self._name} stopped: {why}")


class ProjectionRunner:
    """Runs all projections of a database.

    Several processes may run the same projections; only one of them works at a time. ``rebuild(name)`` is called for
    each projection whose tables were made by other code, its own or such as it uses, or whose rebuild was interrupted.
    """

    def __init__(
        self,
        dsn: str,
        definitions: Sequence[Definition],
        rebuild: Callable[[str], Awaitable[object]],
        *,
        interval_s: float = ROUND_INTERVAL_S,
        poll_interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        self._dsn = dsn
        self._definitions = {definition.name: definition for definition in definitions}
        self._rebuild = rebuild
        self._interval_s = interval_s
        self._poll_interval_s = poll_interval_s
        self._listener = Listener(dsn)
        self._subscriptions: list[Subscription] = []
        self._rebuilds: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Install what is missing and begin. Raises connection errors if the database can't be reached."""
        connection = await connect(self._dsn)
        try:
            await install_projections(connection, self._definitions.values())
            statuses = await projection_status(connection)
            stale = await self._stale(connection, statuses)
        finally:
            await connection.close()

        for status in statuses:
            if status.name not in self._definitions:
                continue
            subscription = self._subscription(status.name, status.shard)
            self._listener.listen(LOG_CHANNEL, subscription.hint)
            self._subscriptions.append(subscription)
        await self._listener.start()
        for subscription in self._subscriptions:
            await subscription.start()
        self._rebuilds = asyncio.create_task(self._rebuild_all(stale), name="rebuilds")

    async def stop(self) -> None:
        if self._rebuilds is not None:
            self._rebuilds.cancel()
            with suppress(asyncio.CancelledError):
                await self._rebuilds
        await asyncio.gather(*(subscription.stop() for subscription in self._subscriptions))
        await self._listener.stop()

    def _subscription(self, name: str, shard: int) -> Subscription:
        return Subscription(
            name,
            shard,
            LiveRounds(name, shard),
            self._dsn,
            interval_s=self._interval_s,
            poll_interval_s=self._poll_interval_s,
        )

    async def _stale(self, connection: Connection, statuses: Sequence[ProjectionStatus]) -> Sequence[str]:
        """The projections that are to be rebuilt."""
        fingerprints = {
            name: await connection.fetchval(_FINGERPRINT, definition.sql)
            for name, definition in self._definitions.items()
        }
        return sorted(
            {
                status.name
                for status in statuses
                if status.name in fingerprints and _needs_rebuild(status, fingerprints[status.name])
            }
        )

    async def _rebuild_all(self, names: Sequence[str]) -> None:
        """What does not succeed for a reason that passes is tried again, unless another process has done it."""
        backoff = Backoff(REBUILD_PAUSE_S_MIN, REBUILD_PAUSE_S_MAX)
        while names := [name for name in names if not await self._try_rebuild(name)]:
            await asyncio.sleep(backoff.next_s())
            with suppress(FoldbookError, *UNREACHABLE):
                connection = await connect(self._dsn)
                try:
                    stale = await self._stale(connection, await projection_status(connection))
                finally:
                    await connection.close()
                names = [name for name in names if name in stale]

    async def _try_rebuild(self, name: str) -> bool:
        """False: it failed, and may succeed later."""
        logger.info("what makes projection %s has changed: rebuilding it while its old tables serve", name)
        try:
            await self._rebuild(name)
        except (FoldbookError, asyncpg.PostgresError, *UNREACHABLE) as error:
            is_passing = _passes(error)
            until = "yet" if is_passing else "and is not until the next start"
            logger.warning("projection %s was not rebuilt %s: %s", name, until, reason_of(error))
            return not is_passing
        return True


def _passes(error: Exception) -> bool:
    """May a rebuild succeed later that has failed like this? On a full disk it would fill it again."""
    cause = error.__cause__ or error
    if isinstance(cause, UNREACHABLE):
        return not isinstance(cause, asyncpg.DiskFullError)
    return isinstance(error, ProjectionError) and error.code == "projection-busy"


def _needs_rebuild(status: ProjectionStatus, fingerprint: str) -> bool:
    is_interrupted = status.run is not None and status.run.kind == "rebuild" and status.run.state == "interrupted"
    return status.definition_hash != fingerprint or is_interrupted
