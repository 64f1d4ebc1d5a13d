"""Projections: read tables as folds of the log, each made by one SQL file, and what keeps them up to date.

A file creates its tables, their indexes, and a function ``project_<name>(shard, from, to)`` that folds a range of
positions into them. All its names are unqualified, the log's too (``from log``), so that the same file makes the live
tables in schema ``read`` and the shadow copies of a rebuild or a verification in schemas of their own, and so that
workers can fill a shadow copy side by side, each with a slice of the log (``rebuild.py``). Three rules follow: the rows
must not depend on how the log is cut into ranges, a row belongs to one aggregate, and an event that can't be folded
raises an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg
import msgspec

from foldbook.errors import ProjectionError
from foldbook.eventstore.readers.listener import LOG_CHANNEL, Listener
from foldbook.eventstore.readers.subscription import (
    POLL_INTERVAL_S,
    ROUND_INTERVAL_S,
    Connection,
    Round,
    Subscription,
    Work,
)
from foldbook.postgres.connection import UNREACHABLE, connect

EVENTS_PER_ROUND = 50_000
"""Bounds a round's time and memory: a fraction of a second, some 30 MB."""

_INSTALL = "select eventstore.projection_install($1, $2, $3)"
_ROUND = "select * from eventstore.projection_round('live', $1, $2, $3)"
_NARROW = "select eventstore.projection_narrow($1, $2, $3)"
_STATUS = "select * from eventstore.projection_status($1)"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Definition:
    """A file of ``sql/<domain>/projections``. Its name is the projection's, its SHA-256 tells when it changed."""

    name: str
    sql: str
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Definition:
        text = path.read_bytes()
        return cls(path.stem, text.decode(), hashlib.sha256(text).hexdigest())


class Run(msgspec.Struct, frozen=True):
    """The last reset, rebuild or verification. ``state``: running, finished, failed; interrupted: its process died."""

    kind: str
    state: str
    events_done: int
    events_total: int
    events_per_second: int
    started_at: datetime
    eta_seconds: float | None = None
    finished_at: datetime | None = None
    error: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """The event that a projection stopped at, and why. It is tried again, ever less often."""

    position: int
    sqlstate: str
    message: str
    attempts: int
    since: datetime


class ProjectionStatus(msgspec.Struct, frozen=True):
    """One projection on one shard. ``state``: live, failed, resetting; rebuilding: its old tables serve meanwhile.
    ``skipped``: events that an operator had it leave out."""

    name: str
    shard: int
    checkpoint: int
    head: int
    lag: int
    state: str
    definition_hash: str
    skipped: int
    error: Failure | None
    run: Run | None


async def projection_status(connection: Connection, name: str | None = None) -> list[ProjectionStatus]:
    """One element per projection and shard. Raises ``ProjectionError`` if there is none of that name."""
    rows = await connection.fetch(_STATUS, name)
    if name is not None and not rows:
        raise unknown(name)
    return [
        ProjectionStatus(
            **{
                **row,
                "error": row["error"] and msgspec.json.decode(row["error"], type=Failure),
                "run": row["run"] and msgspec.json.decode(row["run"], type=Run),
            }
        )
        for row in rows
    ]


async def install_projections(connection: Connection, definitions: Iterable[Definition]) -> list[str]:
    """Make the empty tables of each projection that is not there yet; the names of those.

    Two processes may do so at once. One that is there is left as it is, whatever it was made from.
    """
    return [d.name for d in definitions if await connection.fetchval(_INSTALL, d.name, d.sha256, d.sql)]


def live_work(name: str, shard: int) -> Work:
    """One round of a live projection. Raises ``ProjectionError`` at an event that it fails on."""
    is_failing = False

    async def work(connection: Connection) -> Round | None:
        nonlocal is_failing
        # Behind an event that failed there is nothing to do but to try that one again.
        limit = 1 if is_failing else EVENTS_PER_ROUND
        try:
            row = await connection.fetchrow(_ROUND, name, shard, limit)
        except UNREACHABLE:
            raise
        except asyncpg.PostgresError as error:
            failure = await connection.fetchval(_NARROW, name, shard, limit)
            is_failing = failure is not None
            if failure is not None:
                raise ProjectionError("projection-failed", f"projection {name} stopped: {failure.decode()}") from error
            return None
        is_failing = False
        return row and Round(*row)

    return work


class ProjectionRunner:
    """Keeps all projections of a database up to date: one subscription per projection and shard.

    Several processes may run the same projections; one of them works at a time. ``rebuild(name)`` is called for each
    projection whose definition is not the installed one, or whose rebuild was interrupted.
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
        self._definitions = definitions
        self._rebuild = rebuild
        self._interval_s = interval_s
        self._poll_interval_s = poll_interval_s
        self._listener = Listener(dsn)
        self._subscriptions: list[Subscription] = []
        self._rebuilds: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Install what is missing and begin. Raises what a database that can't be reached raises."""
        connection = await connect(self._dsn)
        try:
            await install_projections(connection, self._definitions)
            statuses = await projection_status(connection)
        finally:
            await connection.close()

        known = {d.name: d for d in self._definitions}
        for status in statuses:
            if status.name in known:
                subscription = Subscription(
                    status.name,
                    status.shard,
                    live_work(status.name, status.shard),
                    self._dsn,
                    interval_s=self._interval_s,
                    poll_interval_s=self._poll_interval_s,
                )
                self._listener.listen(LOG_CHANNEL, subscription.hint)
                self._subscriptions.append(subscription)
        await self._listener.start()
        for subscription in self._subscriptions:
            await subscription.start()
        stale = {s.name for s in statuses if s.name in known and _needs_rebuild(s, known[s.name])}
        self._rebuilds = asyncio.create_task(self._rebuild_stale(sorted(stale)), name="rebuilds")

    async def stop(self) -> None:
        if self._rebuilds is not None:
            self._rebuilds.cancel()
            with suppress(asyncio.CancelledError):
                await self._rebuilds
        await asyncio.gather(*(subscription.stop() for subscription in self._subscriptions))
        await self._listener.stop()

    async def _rebuild_stale(self, names: Sequence[str]) -> None:
        for name in names:
            logger.info("projection %s is not what its file says: rebuilding it, its old tables serve meanwhile", name)
            try:
                await self._rebuild(name)
            except (ProjectionError, *UNREACHABLE) as error:
                logger.warning("projection %s was not rebuilt: %s", name, error)


def _needs_rebuild(status: ProjectionStatus, definition: Definition) -> bool:
    is_interrupted = status.run is not None and status.run.kind == "rebuild" and status.run.state == "interrupted"
    return status.definition_hash != definition.sha256 or is_interrupted


def unknown(name: str) -> ProjectionError:
    return ProjectionError("unknown-projection", f"there is no projection {name!r}")
