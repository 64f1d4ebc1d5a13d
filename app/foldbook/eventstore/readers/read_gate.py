"""Read your own writes: wait until a read table has reached a position.

One query reads all checkpoints on behalf of all waiting readers: when a notification says that one of them moved, and
once per poll interval, because a notification can be lost. What a notification says is not believed: every session can
send one.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from itertools import count

from foldbook.errors import Overloaded
from foldbook.eventstore.readers.listener import CHECKPOINT_CHANNEL, Listener
from foldbook.eventstore.readers.reconnecting import Reconnecting
from foldbook.eventstore.waits import is_set_within
from foldbook.postgres.calls import call
from foldbook.postgres.connection import Connection

POLL_INTERVAL_S = 0.5
PAUSE_S = 0.005
"""Checkpoints are read at most this often, however many notifications there are."""
FRESH_S = 0.02
"""For so long, what was read is an answer."""
WAITERS_MAX = 10_000

_CHECKPOINTS = call("eventstore.checkpoints", 0)

_Place = tuple[str, int]
_Waiter = tuple[int, int, asyncio.Future[None]]


class ReadGate:
    """One per process that answers queries. Call ``listen`` before its listener is started, then ``start``."""

    def __init__(self, dsn: str, *, poll_interval_s: float = POLL_INTERVAL_S) -> None:
        self._loop = Reconnecting("the read gate", dsn, self._poll)
        self._poll_interval_s = poll_interval_s
        self._checkpoints: dict[_Place, int] = {}
        self._read_at_s = -FRESH_S
        self._waiters: dict[_Place, list[_Waiter]] = {}
        self._waiting = 0
        self._tickets = count()
        self._woken = asyncio.Event()

    def listen(self, listener: Listener) -> None:
        listener.listen(CHECKPOINT_CHANNEL, self._hint)

    async def start(self) -> None:
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    async def wait(self, projection: str, shard: int, position: int, timeout_s: float) -> bool:
        """Wait until the projection has reached ``position`` of the shard. False: it did not within ``timeout_s``.

        Raises ``Overloaded`` if ``WAITERS_MAX`` readers are waiting already.
        """
        place = (projection, shard)
        if time.monotonic() < self._read_at_s + FRESH_S and self._checkpoints.get(place, -1) >= position:
            return True
        if self._waiting >= WAITERS_MAX:
            raise Overloaded(f"{self._waiting} readers are already waiting for read tables")
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (position, next(self._tickets), reached)
        heapq.heappush(self._waiters.setdefault(place, []), waiter)
        self._waiting += 1
        self._woken.set()
        try:
            await asyncio.wait([reached], timeout=timeout_s)
            return reached.done()
        finally:
            self._waiting -= 1
            if not reached.done():  # The time is up, or the reader went away.
                self._waiters[place].remove(waiter)
                heapq.heapify(self._waiters[place])
            if not self._waiters.get(place, True):
                del self._waiters[place]

    def _hint(self, _: str | None) -> None:
        if self._waiting > 0:
            self._woken.set()

    async def _poll(self, connection: Connection) -> None:
        while not self._loop.stopping.is_set():
            self._woken.clear()
            read_at_s = time.monotonic()
            rows = await connection.fetch(_CHECKPOINTS)
            self._checkpoints = {(name, shard): checkpoint for name, shard, checkpoint in rows}
            self._read_at_s = read_at_s
            self._loop.is_well()
            self._let_through()
            await self._loop.pause(PAUSE_S)
            await is_set_within(self._woken, self._poll_interval_s if self._waiting > 0 else None)

    def _let_through(self) -> None:
        for place, waiters in self._waiters.items():
            checkpoint = self._checkpoints.get(place, -1)
            while waiters and waiters[0][0] <= checkpoint:
                _, _, reached = heapq.heappop(waiters)
                if not reached.done():
                    reached.set_result(None)
