"""The checkpointed reader loop: a named reader of one shard of the log, kept going.

A subscription does its work in rounds. A round takes a bounded range of events behind the checkpoint, does the work for
it and moves the checkpoint in the same transaction. Rounds follow each other without a pause while there is a backlog;
otherwise each waits for a hint that something was appended, and at most for the poll interval, which finds what a lost
hint has hidden.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

from foldbook.errors import FoldbookError
from foldbook.postgres.connection import UNREACHABLE, connect

POLL_INTERVAL_S = 0.5
ROUND_INTERVAL_S = 0.003
ROUND_INTERVAL_S_MAX = 0.05
PAUSE_SHARE = 1 / 3
"""Of what a round took."""
BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 5.0
FAILURE_BACKOFF_S_MIN = 0.5
FAILURE_BACKOFF_S_MAX = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did: the work for the positions in (from_position, to_position] of a log that ends at ``head``."""

    from_position: int
    to_position: int
    head: int


Connection: TypeAlias = "asyncpg.Connection[Any]"

Work = Callable[[Connection], Awaitable[Round | None]]
"""Does one round. None: another process is at it. Raises ``FoldbookError`` if the work itself fails: it is tried again,
ever less often; and what a lost connection raises."""


class Subscription:
    """Runs ``work`` for one shard until stopped. ``wake`` it when there may be something to do."""

    def __init__(
        self,
        name: str,
        shard: int,
        work: Work,
        dsn: str,
        *,
        interval_s: float = ROUND_INTERVAL_S,
        poll_interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        self.name = name
        self.shard = shard
        self._work = work
        self._dsn = dsn
        self._interval_s = interval_s
        self._poll_interval_s = poll_interval_s
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._failure_backoff_s = FAILURE_BACKOFF_S_MIN

    def hint(self, payload: str | None) -> None:
        """A notification of ``foldbook_log``; None: there may have been some."""
        if payload is None or payload.startswith(f"{self.shard}:"):
            self._woken.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"subscription {self.name}:{self.shard}")

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Let the round under way end, for at most ``timeout_s``; cut it off then, which undoes it."""
        self._stopping.set()
        self._woken.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout_s)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff_s = BACKOFF_S_MIN
        while not self._stopping.is_set():
            try:
                connection = await connect(self._dsn)
                try:
                    while not self._stopping.is_set():
                        await self._rounds(connection)
                        backoff_s = BACKOFF_S_MIN
                finally:
                    connection.terminate()
            except UNREACHABLE as error:
                logger.warning("subscription %s:%d lost its connection: %s", self.name, self.shard, error)
            except Exception:
                # Whatever it is, a reader that silently reads no more would be worse.
                logger.exception("subscription %s:%d failed", self.name, self.shard)
            await self._sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    async def _rounds(self, connection: Connection) -> None:
        """Do one round; if it left nothing to do, wait for a hint, and no longer than the poll interval."""
        self._woken.clear()
        began_s = time.monotonic()
        try:
            done = await self._work(connection)
        except FoldbookError as error:
            logger.warning(
                "subscription %s:%d failed, trying again in %g s: %s",
                self.name,
                self.shard,
                self._failure_backoff_s,
                error,
            )
            await self._sleep(self._failure_backoff_s)
            self._failure_backoff_s = min(self._failure_backoff_s * 2, FAILURE_BACKOFF_S_MAX)
            return
        self._failure_backoff_s = FAILURE_BACKOFF_S_MIN
        if done is not None and done.to_position < done.head:
            return
        if done is not None and done.to_position > done.from_position:
            # Under load a round takes as long as what has gathered is large. A pause in proportion leaves the machine
            # to the writers, lets ranges coalesce, and has hot rows written less often; a longer one delays every read.
            took_s = time.monotonic() - began_s
            await asyncio.sleep(min(max(self._interval_s - took_s, took_s * PAUSE_SHARE), ROUND_INTERVAL_S_MAX))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), self._poll_interval_s)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
