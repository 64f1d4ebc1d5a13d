"""Read your own writes: wait until a read table has reached a position.

Checkpoints arrive by notification. Because a notification can be lost, one query reads all checkpoints once per poll
interval, on behalf of all waiting readers.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from contextlib import suppress
from itertools import count

from foldbook.errors import Overloaded
from foldbook.eventstore.readers.listener import CHECKPOINT_CHANNEL, Listener
from foldbook.eventstore.readers.reconnecting import Reconnecting
from foldbook.postgres.calls import call
from foldbook.postgres.connection import Connection

POLL_INTERVAL_S = 0.5
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
        self._waiters: defaultdict[_Place, list[_Waiter]] = defaultdict(list)
        self._waiting = 0
        self._tickets = count()
        self._someone_waits = asyncio.Event()

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
        if self._checkpoints.get(place, -1) >= position:
            return True
        if self._waiting >= WAITERS_MAX:
            raise Overloaded(f"{self._waiting} readers are already waiting for read tables")
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (position, next(self._tickets), reached)
        heapq.heappush(self._waiters[place], waiter)
        self._waiting += 1
        self._someone_waits.set()
        try:
            await asyncio.wait([reached], timeout=timeout_s)
            return reached.done()
        finally:
            self._waiting -= 1
            if not reached.done():  # The time is up, or the reader went away.
                self._waiters[place].remove(waiter)
                heapq.heapify(self._waiters[place])

    def _hint(self, payload: str | None) -> None:
        if payload is None:
            self._checkpoints.clear()
            return
        with suppress(ValueError):  # Any session can notify; ignore a payload that is not a checkpoint.
            name, shard, checkpoint = payload.rsplit(":", 2)
            self._learn((name, int(shard)), int(checkpoint))

    def _learn(self, place: _Place, checkpoint: int) -> None:
        self._checkpoints[place] = checkpoint
        waiters = self._waiters.get(place, [])
        while waiters and waiters[0][0] <= checkpoint:
            _, _, reached = heapq.heappop(waiters)
            if not reached.done():
                reached.set_result(None)

    async def _poll(self, connection: Connection) -> None:
        while not self._loop.stopping.is_set():
            known = dict(self._checkpoints)
            for name, shard, checkpoint in await connection.fetch(_CHECKPOINTS):
                place = (name, shard)
                if self._checkpoints.get(place) == known.get(place):  # else a notification overtook the answer
                    self._learn(place, checkpoint)
            self._loop.is_well()
            if self._waiting > 0:
                await self._loop.pause(self._poll_interval_s)
            else:
                self._someone_waits.clear()
                await self._someone_waits.wait()
