"""Follows one aggregate: its state in this process, as soon as the log has it.

A notification is a hint to look; a poll finds what a lost one hid. However many notifications come, the database is
asked at most once in ``PAUSE_S``. Each look reads the last event again: a log that was put back in place does not have
it, or has another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from foldbook.eventstore.decider import Decider
from foldbook.eventstore.readers.listener import LOG_CHANNEL, Listener
from foldbook.eventstore.readers.reconnecting import Reconnecting
from foldbook.eventstore.readers.server_watch import ServerWatch
from foldbook.eventstore.store import shard_of
from foldbook.eventstore.waits import is_set_within
from foldbook.postgres.calls import call
from foldbook.postgres.connection import Connection

PAUSE_S = 0.02
POLL_INTERVAL_S = 0.5

_READ = call("eventstore.read_aggregates", 4)

S = TypeVar("S")


class Following(Generic[S]):
    """Call ``listen`` before its listener is started, then ``start``. ``tell`` gets each state, the first also if it is
    the initial one."""

    def __init__(
        self,
        dsn: str,
        decider: Decider[S],
        aggregate_id: str,
        shard_count: int,
        tell: Callable[[S], None],
        *,
        poll_interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        self._decider = decider
        self._aggregate_id = aggregate_id
        self._shard = shard_of(aggregate_id, shard_count)
        self._tell = tell
        self._poll_interval_s = poll_interval_s
        self._state = decider.initial
        self._sequence = -1
        """Of the last event that was folded; -1: nothing was read yet."""
        self._last: tuple[Any, ...] = ()
        """That event, as it was read."""
        self._looks = 0
        """Begun, of which the latest may be under way."""
        self._looked = 0
        self._watch = ServerWatch()
        self._woken = asyncio.Event()
        self._moved = asyncio.Condition()
        self._loop = Reconnecting(f"the reader of {aggregate_id}", dsn, self._follow)

    def listen(self, listener: Listener) -> None:
        listener.listen(LOG_CHANNEL, lambda _: self._woken.set())

    async def start(self) -> None:
        await self._loop.start()

    async def stop(self) -> None:
        self._woken.set()
        await self._loop.stop()

    async def reach(self, sequence: int) -> None:
        """Return when the log was read after this call, and the state has the event of this sequence."""
        look = self._looks + 1
        self._woken.set()
        async with self._moved:
            await self._moved.wait_for(lambda: self._looked >= look and self._sequence >= sequence)

    async def _follow(self, connection: Connection) -> None:
        if await self._watch.is_another(connection):
            self._forget()
        while not self._loop.stopping.is_set():
            self._woken.clear()
            self._looks += 1
            await self._look(connection)
            self._loop.is_well()
            await self._loop.pause(PAUSE_S)
            await is_set_within(self._woken, self._poll_interval_s)

    async def _look(self, connection: Connection) -> None:
        look = self._looks
        if self._sequence > 0:
            last, *rows = await self._read(connection, self._sequence - 1) or [()]
            if last != self._last:
                self._forget()
        if self._sequence <= 0:
            rows = await self._read(connection, 0)
        if rows or self._sequence < 0:
            self._fold(rows)
        async with self._moved:
            self._looked = look
            self._moved.notify_all()

    async def _read(self, connection: Connection, after: int) -> list[tuple[Any, ...]]:
        """Sequence, type, version and payload of each event after that one."""
        rows = await connection.fetch(_READ, self._shard, [self._decider.name], [self._aggregate_id], [after])
        return [tuple(row)[2:] for row in rows]

    def _forget(self) -> None:
        """The log may have less than was read."""
        self._state, self._sequence = self._decider.initial, -1

    def _fold(self, rows: Sequence[tuple[Any, ...]]) -> None:
        state, last = self._state, self._last
        for last in rows:
            state = self._decider.evolve_recorded(state, *last[1:])
        self._state, self._last, self._sequence = state, last, last[0] if rows else 0
        self._tell(state)
