"""The checkpointed reader loop: a named reader of one shard of the log.

A subscription works in rounds. A round takes a bounded range of events after the checkpoint, does the work for it, and
moves the checkpoint in the same transaction. While there is a backlog, rounds follow each other without a pause.
Otherwise each round waits for a hint that something was appended, but no longer than the poll interval, in case a hint
was lost.

Rounds are committed asynchronously. A crash of the server may undo the last ones, checkpoint and effect together; then
they are repeated from the log. No promise depends on them. (360 fsyncs a second became 107 at 500 commands/s.)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from foldbook.errors import FoldbookError
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.readers.hints import Hints
from foldbook.eventstore.readers.reconnecting import Reconnecting
from foldbook.postgres.connection import Connection, connect

POLL_INTERVAL_S = 0.5
ROUND_INTERVAL_S = 0.003
ROUND_INTERVAL_S_MAX = 0.05
PAUSE_SHARE = 1 / 3
"""The pause after a round, as a share of the round's time."""
FAILURE_BACKOFF_S_MIN = 0.5
FAILURE_BACKOFF_S_MAX = 10.0
STOP_TIMEOUT_S = 5.0
SETTINGS = {"synchronous_commit": "off"}
"""For the sessions that do rounds, and for no others."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """A round did the work for the positions in (from_position, to_position] of a log that ends at ``head``."""

    from_position: int
    to_position: int
    head: int


Work = Callable[[Connection], Awaitable[Round | None]]
"""Does one round. None: it did nothing, because another process is doing one.

Raises ``FoldbookError`` if the work itself fails, and is then called again at growing intervals; and what a lost
connection raises."""


class Subscription:
    """Runs ``work`` for one shard until stopped. Call ``hint`` when there may be something to do."""

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
        self._interval_s = interval_s
        self._poll_interval_s = poll_interval_s
        self._loop = Reconnecting(
            f"subscription {name}:{shard}", dsn, self._read, connect=partial(connect, settings=SETTINGS)
        )
        self._failures = Backoff(FAILURE_BACKOFF_S_MIN, FAILURE_BACKOFF_S_MAX)
        self._in_vain = Backoff(ROUND_INTERVAL_S, ROUND_INTERVAL_S_MAX)
        """After rounds that a hint led to and that found nothing: whoever may connect can send hints without end."""
        self._hints = Hints(shard)
        self.hint = self._hints.take
        """Takes a notification of ``foldbook_log``."""

    async def start(self) -> None:
        await self._loop.start()

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Wait at most ``timeout_s`` for the current round to end; then interrupt it, which undoes it."""
        self._loop.stopping.set()
        self.hint(None)
        await self._loop.stop(grace_s=timeout_s)

    async def _read(self, connection: Connection) -> None:
        self._hints.reached(None)  # A server that comes back may have lost the last rounds.
        while not self._loop.stopping.is_set():
            began_s = time.monotonic()
            is_hinted = self._hints.look()
            done = await self._round(connection)
            if done is not None and done.to_position < done.head:
                continue
            if done is not None and done.to_position > done.from_position:
                self._in_vain.reset()
                await self._let_writers_write(time.monotonic() - began_s)
            elif is_hinted:
                await self._loop.pause(self._in_vain.next_s())
            await self._hints.wait(self._poll_interval_s)

    async def _round(self, connection: Connection) -> Round | None:
        """One round. If it fails, wait, so that the next one can begin at once."""
        try:
            done = await self._work(connection)
        except FoldbookError as error:
            self._loop.is_well()
            pause_s = self._failures.next_s()
            logger.warning(
                "subscription %s:%d failed and will try again in %.1f s: %s", self.name, self.shard, pause_s, error
            )
            await self._loop.pause(pause_s)
            self.hint(None)
            return None
        self._loop.is_well()
        self._failures.reset()
        self._hints.reached(None if done is None else done.to_position)
        return done

    async def _let_writers_write(self, took_s: float) -> None:
        """Under load a round takes longer, because more events have gathered. A pause in proportion leaves the machine
        to the writers, merges ranges, and writes hot rows less often; a longer pause would delay every read."""
        await asyncio.sleep(min(max(self._interval_s - took_s, took_s * PAUSE_SHARE), ROUND_INTERVAL_S_MAX))
