"""Group commit: what is told is on disk first.

Messages queue; while one write is under way, the next ones gather, without a timer. So one ``fdatasync`` serves all
requests that came in the meantime.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from foldbook.errors import FoldbookError
from foldbook.venue.journal import line_of
from foldbook.venue.messages import AnyMessage
from foldbook.venue.records import Report
from foldbook.venue.store import Capture, Store

IDLE_S = 1.0
"""How long market data that changes nothing waits to be written."""
UNWRITTEN_BYTES_MAX = 1 << 20
"""It is written sooner if there is so much of it."""


class VenueStopped(FoldbookError, code="venue-stopped", status=503, title="The venue cannot write its journal"):
    """Nobody knows what became of the request: the journal could not be written, and the venue ends."""


class Commits:
    """Writes messages to the journal, and tells what happened because of them when they are on disk."""

    def __init__(self, store: Store, publish: Callable[[list[Report]], None], fail: Callable[[], None]) -> None:
        """``publish``: called with reports, in order. ``fail``: called if the journal cannot be written."""
        self._store = store
        self._saving: asyncio.Task[None] | None = None
        self._publish = publish
        self._fail = fail
        self._lines: list[bytes] = []
        self._unwritten_bytes = 0
        self._count = 0
        self._durable = 0
        self._told = 0
        """What was told, or will be, depends on the messages up to this one."""
        self._reports: deque[tuple[int, list[Report]]] = deque()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None
        self._is_stopping = False
        self._error: OSError | None = None

    @property
    def has_failed(self) -> bool:
        """Could the journal, or a snapshot, not be written?"""
        return self._error is not None

    def add(self, message: AnyMessage, reports: list[Report], *, is_urgent: bool = True) -> None:
        """Queue a message that the exchange has applied, with what came of it."""
        line = line_of(message)
        self._lines.append(line)
        self._unwritten_bytes += len(line)
        self._count += 1
        if reports:
            self._reports.append((self._count, reports))
        if is_urgent or reports:
            self._told = self._count
            self._wake.set()
        elif self._unwritten_bytes > UNWRITTEN_BYTES_MAX:
            self._wake.set()
        elif self._idle is None:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._wake.set)

    async def durable(self) -> None:
        """Wait until all that something came of is on disk. Raises ``VenueStopped``."""
        if self._error is not None:
            raise self._stopped()
        if self._durable >= self._told:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._told, done))
        await done

    async def run(self) -> None:
        """Write until ``stop``."""
        while not self._is_stopping or self._lines:
            await self._wake.wait()
            self._wake.clear()
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            try:
                await self._write()
            except OSError as error:
                self._error = error
                self._break()
                return
        if self._saving is not None:
            await self._saving

    async def _write(self) -> None:
        """Write what waits; if the journal is full, begin a new one with a snapshot of what has come of it."""
        is_full = self._store.is_snapshot_due and (self._saving is None or self._saving.done())
        capture = self._store.capture() if is_full else None
        lines, self._lines, self._unwritten_bytes = b"".join(self._lines), [], 0
        count = self._count
        await asyncio.to_thread(self._store.journal.write, lines)
        self._durable = count
        self._release(count)
        if capture is not None:
            self._store.begin_journal()
            self._saving = asyncio.create_task(self._save(capture))

    async def _save(self, capture: Capture) -> None:
        try:
            await asyncio.to_thread(self._store.save, capture)
        except OSError as error:
            # The snapshot before it and the journals since then are still all there is to know.
            self._error = error
            self._break()

    def stop(self) -> None:
        """Let ``run`` end when all that was added is written. Nothing is added any more."""
        self._is_stopping = True
        self._wake.set()

    def _release(self, count: int) -> None:
        while self._reports and self._reports[0][0] <= count:
            self._publish(self._reports.popleft()[1])
        while self._waiting and self._waiting[0][0] <= count:
            done = self._waiting.popleft()[1]
            if not done.done():
                done.set_result(None)

    def _break(self) -> None:
        for _, done in self._waiting:
            if not done.done():
                done.set_exception(self._stopped())
        self._waiting.clear()
        self._fail()

    def _stopped(self) -> VenueStopped:
        return VenueStopped(f"the journal cannot be written: {self._error}")
