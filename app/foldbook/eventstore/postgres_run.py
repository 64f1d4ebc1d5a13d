"""Which run of which server a store is connected to, and whether its log is the one that this process saw before.

Every new connection is asked. One that leads to another server, to one that was started again, or to a log that was put
back in place begins a new run: nothing that was read before it is believed any more, and all other connections go,
because they may still lead to the server before.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg

from foldbook.errors import LogMismatch, StoreUnavailable
from foldbook.eventstore.seen import Commit, Loss, Seen
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, Connection

LOSSES_MAX = 100

_IDENTITY = call("eventstore.server_identity", 0)
_FIND = call("eventstore.find_commits", 3)
_RECORD = call("eventstore.record_loss", 6)

logger = logging.getLogger(__name__)


class ServerRun:
    """``number`` counts the runs that were met, from 0. When another one begins, ``drop_connections`` is called, and
    ``changed`` once it is known what was lost."""

    def __init__(
        self,
        drop_connections: Callable[[], None],
        changed: Callable[[], Awaitable[None]],
        *,
        takes_replicas: bool = False,
    ) -> None:
        self.number = 0
        self.shard_count: int | None = None
        self.losses: deque[Loss] = deque(maxlen=LOSSES_MAX)
        self.seen: defaultdict[int, Seen] = defaultdict(Seen)
        self._drop_connections = drop_connections
        self._changed = changed
        self._takes_replicas = takes_replicas
        self._log_id: str | None = None
        self._started_at: datetime | None = None
        self._is_told = True
        """Everybody knows of this run, and what its log lacks is known."""
        self._admitting = asyncio.Lock()

    async def admit(self, connection: Connection) -> int:
        """Look where a new connection leads. Returns the number of that run.

        Raises ``StoreUnavailable`` for a replica if none is wanted, and ``LogMismatch`` for another log than before.
        """
        async with self._admitting:
            row = await connection.fetchrow(_IDENTITY)
            if row is None:
                raise LogMismatch("this version's log is not in the database: run `foldbook migrate`")
            if row["is_in_recovery"] and not self._takes_replicas:
                raise StoreUnavailable("the server is a replica, which takes no commands")
            if self._log_id not in (None, row["log_id"]):
                raise LogMismatch(
                    f"the database now has the log {row['log_id']}, and this process began with {self._log_id}: "
                    "start it again if that is meant"
                )
            is_other = self._started_at not in (None, row["started_at"])
            self._log_id, self._started_at, self.shard_count = row["log_id"], row["started_at"], row["shard_count"]
            if is_other:
                self._begin("the log is on another server, or on one that was started again")
            await self._compare(connection)
            return self.number

    async def check(self, connection: Connection) -> None:
        """Look whether the log has what was seen of it."""
        async with self._admitting:
            await self._compare(connection)

    def check_shards(self, shard_count: int) -> None:
        """Raises ``LogMismatch``."""
        assert self.shard_count is not None, "a connection was admitted before"
        if self.shard_count != shard_count:
            raise LogMismatch.of_shards(self.shard_count, shard_count)

    def _begin(self, why: str) -> None:
        self.number += 1
        self._is_told = False
        logger.warning("%s: all cached states are dropped", why)
        self._drop_connections()

    async def _compare(self, connection: Connection) -> None:
        """Find out what the log lacks of what was seen, and tell it. If this connection is lost meanwhile, the next one
        does it."""
        found = {shard: await _found(connection, shard, seen) for shard, seen in list(self.seen.items())}
        now = datetime.now(UTC)
        losses = [loss for shard in found if (loss := self.seen[shard].compare(shard, found[shard], now)) is not None]
        for loss in losses:
            self.losses.append(loss)
            logger.error("the log does not have what this process saw: %s", loss.describe())
            await _record(connection, loss)
        if losses and self._is_told:
            self._begin("the log was put back in place")
        if not self._is_told:
            self._is_told = True
            await self._changed()


async def _found(connection: Connection, shard: int, seen: Seen) -> dict[int, bool]:
    """Which of the commits that were seen the log has: if it has the last one, no other is looked up."""
    found: dict[int, bool] = {}
    for commits in ([seen.last], seen.remembered()):
        rows = await connection.fetch(_FIND, shard, [c.number for c in commits], [c.hash for c in commits])
        found |= dict(rows)
        if found[commits[-1].number]:
            break
    return found


async def _record(connection: Connection, loss: Loss) -> None:
    """For ``foldbook doctor``. Without it the loss is told by this process only."""
    process = f"process {os.getpid()} on {socket.gethostname()}"
    arguments: tuple[Any, ...] = (loss.after_position, loss.last_position, loss.last_commit, loss.hash, process)
    try:
        await connection.execute(_RECORD, loss.shard, *arguments)
    except (asyncpg.PostgresError, *UNREACHABLE) as error:
        logger.warning("the loss was not recorded: %s", error)


def commit_in(rows: Any) -> Commit | None:
    """The commit that an append made, in what it returned. None: it made none."""
    for row in reversed(rows):
        if (position := row["position"]) is not None:
            return Commit(rows[0]["commit"], position, rows[0]["hash"])
    return None
