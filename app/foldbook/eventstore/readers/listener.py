"""LISTEN as a hint: tells who waits that there may be something to look at.

A notification can be lost (the connection broke, the server restarted) and a connection can die without a word, so a
heartbeat asks it something every few seconds, and whoever waits for a hint also polls.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import asyncpg

from foldbook.postgres.connection import UNREACHABLE, connect

HEARTBEAT_INTERVAL_S = 5.0
HEARTBEAT_TIMEOUT_S = 5.0
BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 5.0

LOG_CHANNEL = "foldbook_log"
"""``<shard>:<last position>``, once per commit."""
CHECKPOINT_CHANNEL = "foldbook_checkpoint"
"""``<subscription>:<shard>:<checkpoint>``, whenever a checkpoint moved."""

logger = logging.getLogger(__name__)

Hint = Callable[[str | None], None]
"""Is called with the payload of a notification, or with None after a gap in the listening: look for yourself."""


class Listener:
    """One connection that listens, for everybody in this process. Say ``listen`` to it before ``start``."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._hints: dict[str, list[Hint]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None
        self.is_connected = False
        self.backend_pid: int | None = None
        """The server process at the other end, while connected."""

    def listen(self, channel: str, hint: Hint) -> None:
        assert self._task is None, "listen before start"
        self._hints[channel].append(hint)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="listener")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff_s = BACKOFF_S_MIN
        while True:
            try:
                connection = await connect(self._dsn)
                try:
                    await self._subscribe(connection)
                    backoff_s = BACKOFF_S_MIN
                    await self._stay(connection)
                finally:
                    self.is_connected = False
                    connection.terminate()
            except UNREACHABLE as error:
                logger.warning("the listener lost its connection, trying again: %s", error)
            except Exception:
                # Whatever it is, to be silently deaf would be worse.
                logger.exception("the listener failed, trying again")
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    async def _subscribe(self, connection: asyncpg.Connection[Any]) -> None:
        for channel in self._hints:
            await connection.add_listener(channel, self._heard)
        self.backend_pid = connection.get_server_pid()
        self.is_connected = True
        for hints in self._hints.values():
            for hint in hints:
                hint(None)

    async def _stay(self, connection: asyncpg.Connection[Any]) -> None:
        """Return when the connection has ended; raise one of ``UNREACHABLE`` when it answers no more."""
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        while not connection.is_closed():
            try:
                await asyncio.wait_for(ended.wait(), HEARTBEAT_INTERVAL_S)
            except TimeoutError:
                await connection.execute("select 1", timeout=HEARTBEAT_TIMEOUT_S)

    def _heard(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        for hint in self._hints[channel]:
            hint(str(payload))
