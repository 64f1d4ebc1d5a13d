"""Read your own writes: wait until a read table has reached a position.

Checkpoints are told by notification, which is a hint; one query for everybody who waits, asked at most once per poll
interval, is the truth.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from itertools import count
from typing import Any

import asyncpg

from foldbook.errors import Overloaded
from foldbook.eventstore.readers.listener import CHECKPOINT_CHANNEL, Listener
from foldbook.postgres.connection import UNREACHABLE, connect

POLL_INTERVAL_S = 0.5
WAITERS_MAX = 10_000

_CHECKPOINTS = "select name, shard, checkpoint from eventstore.subscriptions"

logger = logging.getLogger(__name__)

_Place = tuple[str, int]
_Waiter = tuple[int, int, asyncio.Future[None]]


class ReadGate:
    """For the process that answers queries: ``listen`` to its listener before that one is started, then ``start``."""

    def __init__(self, dsn: str, *, poll_interval_s: float = POLL_INTERVAL_S) -> None:
        self._dsn = dsn
        self._poll_interval_s = poll_interval_s
        self._checkpoints: dict[_Place, int] = {}
        self._waiters: defaultdict[_Place, list[_Waiter]] = defaultdict(list)
        self._waiting = 0
        self._tickets = count()
        self._someone_waits = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def listen(self, listener: Listener) -> None:
        listener.listen(CHECKPOINT_CHANNEL, self._hint)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="read gate")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def wait(self, projection: str, shard: int, position: int, timeout_s: float) -> bool:
        """Wait until the projection has reached ``position`` of the shard. False: it has not within ``timeout_s``.

        Raises ``Overloaded`` if too many wait already.
        """
        place = (projection, shard)
        if self._checkpoints.get(place, -1) >= position:
            return True
        if self._waiting >= WAITERS_MAX:
            raise Overloaded(f"{self._waiting} readers wait for read tables already")
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
            if not reached.done():  # too late, or the reader went away
                self._waiters[place].remove(waiter)
                heapq.heapify(self._waiters[place])

    def _hint(self, payload: str | None) -> None:
        if payload is None:
            self._checkpoints.clear()
            return
        name, shard, checkpoint = payload.rsplit(":", 2)
        self._learn((name, int(shard)), int(checkpoint))

    def _learn(self, place: _Place, checkpoint: int) -> None:
        self._checkpoints[place] = checkpoint
        waiters = self._waiters.get(place, [])
        while waiters and waiters[0][0] <= checkpoint:
            _, _, reached = heapq.heappop(waiters)
            if not reached.done():
                reached.set_result(None)

    async def _run(self) -> None:
        while True:
            try:
                connection = await connect(self._dsn)
                try:
                    await self._poll(connection)
                finally:
                    connection.terminate()
            except UNREACHABLE as error:
                logger.warning("the read gate lost its connection, trying again: %s", error)
            except Exception:
                logger.exception("the read gate failed, trying again")
            await asyncio.sleep(self._poll_interval_s)

    async def _poll(self, connection: asyncpg.Connection[Any]) -> None:
        while True:
            if self._waiting == 0:
                self._someone_waits.clear()
                await self._someone_waits.wait()
            known = dict(self._checkpoints)
            for name, shard, checkpoint in await connection.fetch(_CHECKPOINTS):
                place = (name, shard)
                if self._checkpoints.get(place) == known.get(place):  # else a notification overtook the answer
                    self._learn(place, checkpoint)
            await asyncio.sleep(self._poll_interval_s)
