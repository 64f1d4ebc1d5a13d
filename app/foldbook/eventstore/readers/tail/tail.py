"""The tail of a shard: each new range is read once, whoever follows it, and kept for a while in a ring.

A reader takes what it selects from the ring, at its own pace. One that the ring has left behind does not read fast
enough, and is refused more: it can come back and read the past. While nobody follows, nothing is read.

The log is what is read. A notification is a hint to look, and a poll finds what a lost one hid.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from foldbook.errors import FoldbookError, LogChanged, StoreUnavailable
from foldbook.eventstore.readers.hints import Hints
from foldbook.eventstore.readers.reconnecting import Reconnecting
from foldbook.eventstore.readers.server_watch import ServerWatch
from foldbook.eventstore.readers.tail.history import History, Start, reached
from foldbook.eventstore.readers.tail.ring import Frame, Interests, Range, Ring, entries_of
from foldbook.eventstore.readers.tail.selection import Selection
from foldbook.postgres.calls import call
from foldbook.postgres.connection import Connection

RANGE_EVENTS_MAX = 1_000
INTERVAL_S = 0.02
"""Ranges are read at most this often: events that arrive in between form one."""
PAUSE_SHARE = 4
"""The pause after a range, as a share of the processor time that sending it took: the writers have most of it."""
PAUSE_S_MAX = 0.1
POLL_INTERVAL_S = 0.5
RING_EVENTS_MAX = 50_000
RING_BYTES_MAX = 64 << 20
CHUNK_BYTES_MAX = 256 << 10
"""What a reader takes at once, or a little more."""
READY_TIMEOUT_S = 5.0

_HEAD = call("eventstore.head", 1)
_READ_EVENTS = call("eventstore.read_events", 3)
_START = call("eventstore.stream_start", 2)

Seal = Callable[[Start], bytes]
"""Encodes which commit a range ends with."""


class FellBehind(
    FoldbookError, code="reader-too-slow", status=503, title="The reader does not take events as fast as they come"
):
    retry_after_s = 1


class Tail:
    """One per shard and process. Its ``hint`` takes notifications of ``foldbook_log``."""

    def __init__(
        self,
        dsn: str,
        shard: int,
        frame: Frame,
        seal: Seal = lambda _: b"",
        *,
        interval_s: float = INTERVAL_S,
        poll_interval_s: float = POLL_INTERVAL_S,
        events_max: int = RING_EVENTS_MAX,
        bytes_max: int = RING_BYTES_MAX,
    ) -> None:
        self.shard = shard
        self.interests = Interests()
        self.ring: Ring | None = None
        self._frame = frame
        self._seal = seal
        self._watch = ServerWatch()
        self._is_unchecked = False
        """Another server was met, and whether its log is this one was not answered."""
        self._end: Start | None = None
        """Where the ring ends, and the commit that wrote it."""
        self._interval_s = interval_s
        self._poll_interval_s = poll_interval_s
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._loop = Reconnecting(f"the tail of shard {shard}", dsn, self._read)
        self._followers: set[Follower] = set()
        self._waiting: defaultdict[Selection, set[Follower]] = defaultdict(set)
        self._hints = Hints(shard)
        self.hint = self._hints.take
        """Takes a notification of ``foldbook_log``."""
        self._is_followed = asyncio.Event()
        self._is_ready = asyncio.Event()

    async def start(self) -> None:
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    @contextmanager
    def followed(
        self, history: History, selection: Selection, position: int, *, wants_seals: bool = False
    ) -> Iterator[Follower]:
        """A reader of what comes after ``position``. ``wants_seals``: it is told which commits that ends with."""
        follower = Follower(self, history, selection, position, wants_seals=wants_seals)
        self._followers.add(follower)
        self.interests.add(selection)
        self._is_followed.set()
        try:
            yield follower
        finally:
            follower.leave()
            self._followers.remove(follower)
            self.interests.remove(selection)

    async def ready(self) -> Ring:
        """The ring, once the log can be read. Raises ``StoreUnavailable``."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._is_ready.wait()
        except TimeoutError:
            raise StoreUnavailable("the log cannot be read at the moment") from None
        assert self.ring is not None
        return self.ring

    async def _read(self, connection: Connection) -> None:
        # Owed until it is answered: the connection may break in between, and the next one meets no other server.
        self._is_unchecked |= await self._watch.is_another(connection)
        if self._is_unchecked:
            if not await self._has_end(connection):
                self._begin_again()
            self._is_unchecked = False
        while not self._loop.stopping.is_set():
            self._loop.is_well()
            if not self._followers:
                await self._rest()
            elif await self._read_range(connection):
                continue
            else:
                self._hints.reached(None if self.ring is None else self.ring.end)
                await self._hints.wait(self._poll_interval_s)

    async def _has_end(self, connection: Connection) -> bool:
        """Whether the log has the commit that the ring ends with."""
        if self.ring is None or self._end is None:
            return True
        found = await self._start(connection, self.ring.end)
        return (found.log_id, found.commit, found.hash) == (self._end.log_id, self._end.commit, self._end.hash)

    async def _start(self, connection: Connection, position: int) -> Start:
        row = await connection.fetchrow(_START, self.shard, position)
        assert row is not None
        return Start(shard=self.shard, **row)

    async def _rest(self) -> None:
        self.ring = None
        self._is_ready.clear()
        self._is_followed.clear()
        await self._is_followed.wait()

    async def _read_range(self, connection: Connection) -> bool:
        """Read what is new. Returns whether there is more. Pauses afterwards: under load more events share a range."""
        is_hinted = self._hints.look()
        if self.ring is None:
            head = await connection.fetchrow(_HEAD, self.shard)
            assert head is not None
            self._end = await self._start(connection, head["last_position"])
            self.ring = Ring(head["last_position"], events_max=self._events_max, bytes_max=self._bytes_max)
            self._is_ready.set()
        rows = await connection.fetch(_READ_EVENTS, self.shard, self.ring.end, RANGE_EVENTS_MAX)
        to = reached(rows, RANGE_EVENTS_MAX)
        if to < self.ring.end:
            self._begin_again()
        elif to == self.ring.end and is_hinted:
            await asyncio.sleep(self._interval_s)  # However many notifications there are of nothing.
        elif to > self.ring.end:
            self._end = await self._start(connection, to)
            began_s = time.thread_time()
            self._publish(to, rows)
            await asyncio.sleep(0)  # Those who were waiting send what they are woken for.
            await asyncio.sleep(0)  # The event loop writes it.
            busy_s = time.thread_time() - began_s
            await asyncio.sleep(min(max(self._interval_s, busy_s * PAUSE_SHARE), PAUSE_S_MAX))
        return len(rows) == RANGE_EVENTS_MAX

    def _publish(self, to: int, rows: list[Any]) -> None:
        assert self.ring is not None
        entries = entries_of(self.shard, rows, self._frame)
        assert self._end is not None
        new = Range(self.ring.end, to, entries, self.interests.select(entries), self._seal(self._end))
        self.ring.add(new)
        for selection in new.selected:
            for follower in self._waiting.pop(selection, ()):
                follower.wake(new.after)

    def _begin_again(self) -> None:
        """The log does not have what was read: it is another one. Nobody may go on as if it were not."""
        self.ring = None
        self._is_ready.clear()
        for follower in self._followers:
            follower.is_lost = True
            follower.wake(0)

    def wait(self, follower: Follower) -> None:
        self._waiting[follower.selection].add(follower)

    def forget(self, follower: Follower) -> None:
        waiting = self._waiting.get(follower.selection)
        if waiting is not None:
            waiting.discard(follower)
            if not waiting:
                del self._waiting[follower.selection]


class Follower:
    """A reader: first of the past, in pages, then of the ring."""

    def __init__(self, tail: Tail, history: History, selection: Selection, position: int, *, wants_seals: bool) -> None:
        self._wants_seals = wants_seals
        self.selection = selection
        self.position = position
        """What is selected up to it was taken."""
        self.is_lost = False
        """The log has become another one."""
        self._tail = tail
        self._history = history
        self._present: int | None = None
        """Where the past ends; known once it is taken from the ring."""
        self._is_selected_from: int | None = None
        """Ranges after this position know this reader's selection."""
        self._woken: asyncio.Future[bool] | None = None
        self._idle_at_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_in_present(self) -> bool:
        """Whether it has taken all of the past."""
        return self._present is not None and self.position >= self._present

    async def take(self, idle_s: float) -> bytes:
        """The next frames, and ``position`` moves to the last of them. Empty if for ``idle_s`` there was nothing, if
        nothing was found on a part of the way through the past, or if that ends here.

        Raises ``FellBehind``, ``LogChanged``, ``PositionAhead`` and ``StoreUnavailable``: the reader can come back.
        """
        self._check_log()
        if self._present is None:
            if await self._enter_present():
                return self._take_from_ring()
            page = await self._history.read(self._tail.shard, self.position, self.selection)
            self.position = page.to
            return page.frames
        while not (frames := self._take_from_ring()):
            if not await self._wait(idle_s):
                break
            self._check_log()
        return frames

    def _check_log(self) -> None:
        if self.is_lost:
            raise LogChanged("the log does not have what was read: it is another one")

    async def _enter_present(self) -> bool:
        ring = await self._tail.ready()
        if self._is_selected_from is None:
            self._is_selected_from = ring.end
        if self.position < max(ring.begin, self._is_selected_from):
            return False
        self._present = ring.end
        return True

    def _take_from_ring(self) -> bytes:
        ring = self._tail.ring
        if ring is None or self.position < ring.begin:
            raise FellBehind(f"position {self.position} is no longer at hand: begin again after it")
        parts: list[bytes] = []
        size = 0
        seal = b""
        for one in ring.after(self.position):
            frames = one.frames(self.selection, self.position)
            self.position = one.to
            if frames:
                parts.append(frames)
                seal = one.seal
                size += len(frames)
                if size >= CHUNK_BYTES_MAX:
                    break
        if self._wants_seals:
            parts.append(seal)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _wait(self, idle_s: float) -> bool:
        """Until there is something. False: for so long there was nothing."""
        loop = asyncio.get_running_loop()
        self._woken = loop.create_future()
        self._idle_at_s = loop.time() + idle_s
        if self._timer is None:
            self._timer = loop.call_at(self._idle_at_s, self._look_at_clock)
        self._tail.wait(self)
        try:
            return await self._woken
        finally:
            self._tail.forget(self)

    def leave(self) -> None:
        """It takes no more."""
        if self._timer is not None:
            self._timer.cancel()

    def wake(self, after: int) -> None:
        """There is something after ``after``, and nothing between where it was and there."""
        self._resume(after, is_found=True)

    def _look_at_clock(self) -> None:
        """One timer serves for many waits, most of which are short."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._idle_at_s:
            self._timer = loop.call_at(self._idle_at_s, self._look_at_clock)
            return
        self._timer = None
        ring = self._tail.ring
        self._resume(0 if ring is None else ring.end, is_found=False)

    def _resume(self, position: int, *, is_found: bool) -> None:
        """What is published before it runs again is in the ring after ``position``."""
        if self._woken is not None and not self._woken.done():
            self.position = max(self.position, position)
            self._woken.set_result(is_found)
