"""LISTEN as a hint that there may be something to read.

A notification can be lost (the connection broke, the server restarted), and every session can send one, or a million.
So no reader believes what a hint says, every reader that waits for one also polls, and of a flood only a bounded
number is passed on. A connection can also die silently, so a heartbeat queries the server every few seconds.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from foldbook.eventstore.readers.reconnecting import Reconnecting
from foldbook.eventstore.waits import is_set_within
from foldbook.postgres.connection import Connection

HEARTBEAT_INTERVAL_S = 5.0
HEARTBEAT_TIMEOUT_S = 5.0
FLOOD_WINDOW_S = 0.1
FLOOD_HINTS_MAX = 1_000
"""Notifications in a window that are passed on; instead of the others, one hint that some may have been missed."""

LOG_CHANNEL = "foldbook_log"
"""``<shard>:<last position>``, once per commit."""
CHECKPOINT_CHANNEL = "foldbook_checkpoint"
"""``<subscription>:<shard>:<checkpoint>``, whenever a checkpoint moved."""

Hint = Callable[[str | None], None]
"""Called with the payload of a notification, or with None if some may have been missed."""


class Listener:
    """One connection that listens for all readers in this process. Call ``listen`` before ``start``."""

    def __init__(self, dsn: str) -> None:
        self._hints: dict[str, list[Hint]] = defaultdict(list)
        self._loop = Reconnecting("the listener", dsn, self._listen)
        self._is_started = False
        self._window_ends_s = 0.0
        self._heard_in_window = 0
        self._flooded: set[str] = set()
        """Channels on which something was not passed on."""
        self.is_connected = False
        self.backend_pid: int | None = None
        """The server process at the other end, while connected."""

    def listen(self, channel: str, hint: Hint) -> None:
        assert not self._is_started, "listen before start"
        self._hints[channel].append(hint)

    async def start(self) -> None:
        self._is_started = True
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    async def _listen(self, connection: Connection) -> None:
        try:
            for channel in self._hints:
                await connection.add_listener(channel, self._heard)
            self.backend_pid = connection.get_server_pid()
            self.is_connected = True
            self._loop.is_well()
            for hints in self._hints.values():
                for hint in hints:
                    hint(None)
            await self._keep_alive(connection)
        finally:
            self.is_connected = False

    async def _keep_alive(self, connection: Connection) -> None:
        """Return when the connection has ended; raise one of ``UNREACHABLE`` when it no longer answers."""
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        while not connection.is_closed():
            if not await is_set_within(ended, HEARTBEAT_INTERVAL_S):
                await connection.execute("select 1", timeout=HEARTBEAT_TIMEOUT_S)

    def _heard(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._window_ends_s:
            self._window_ends_s, self._heard_in_window = loop.time() + FLOOD_WINDOW_S, 0
        self._heard_in_window += 1
        if self._heard_in_window <= FLOOD_HINTS_MAX:
            for hint in self._hints[channel]:
                hint(str(payload))
            return
        if not self._flooded:
            loop.call_at(self._window_ends_s, self._end_flood)
        self._flooded.add(channel)

    def _end_flood(self) -> None:
        flooded, self._flooded = self._flooded, set()
        for channel in flooded:
            for hint in self._hints[channel]:
                hint(None)
