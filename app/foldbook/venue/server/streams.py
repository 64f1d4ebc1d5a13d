"""The streams of reports and of market data: who listens, and what waits to be sent to each.

A listener that is too slow to take reports is disconnected, because a gap that nobody tells of is worse than a broken
connection. Of market data only the latest counts: a slow listener misses some, and is told how many.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from foldbook.venue.server.documents import MarketFrame

WAITING_MAX = 10_000
"""Reports that may wait for one listener."""
MARKET_WAITING_MAX = 1_000
"""Symbols and kinds of data, likewise."""
BATCH_MAX = 500
"""Reports in one frame, for those who take several."""
_encode = msgspec.json.Encoder().encode


async def until_one_ends(*works: Coroutine[Any, Any, object]) -> None:
    """Run them at once until one of them ends, in whatever way. Then none is left."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Listener:
    """A stream to one client. It has ended when ``ended`` is set: ``why_ended`` says why."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.why_ended = ""
        self._some = asyncio.Event()

    def end(self, why: str) -> None:
        """End the stream now: what waits is not sent any more."""
        self.why_ended = self.why_ended or why
        self._forget()
        self.ended.set()

    def _forget(self) -> None:
        raise NotImplementedError

    async def next(self) -> bytes:
        """The next frame, as soon as there is one."""
        while (frame := self._take()) is None:
            self._some.clear()
            await self._some.wait()
        return frame

    def _take(self) -> bytes | None:
        raise NotImplementedError


class ReportListener(Listener):
    """What waits to be sent to one listener. ``account``: whose reports; None: everybody's. ``batch_max``: so many of
    them in a frame, a line each."""

    def __init__(self, account: str | None, *, waiting_max: int = WAITING_MAX, batch_max: int = 1) -> None:
        super().__init__()
        self.account = account
        self._batch_max = batch_max
        self._waiting: deque[bytes] = deque()
        self._waiting_max = waiting_max

    def add(self, frame: bytes) -> None:
        if len(self._waiting) >= self._waiting_max:
            self.end("the listener is too slow")
            return
        self._waiting.append(frame)
        self._some.set()

    def _forget(self) -> None:
        self._waiting.clear()

    def _take(self) -> bytes | None:
        if not self._waiting:
            return None
        return b"\n".join(self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_max)))


class MarketListener(Listener):
    """Likewise for market data: of each symbol and kind, the latest. ``now``: the time, for what was lost.

    ``first`` is sent before anything else, and never lost.
    """

    def __init__(self, symbols: frozenset[str] | None, now: Callable[[], str], first: bytes | None = None) -> None:
        super().__init__()
        self.symbols = symbols
        self._now = now
        self._waiting: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._first = first
        self._lost = 0

    def wants(self, symbol: str) -> bool:
        return self.symbols is None or symbol in self.symbols

    def add(self, kind: str, symbol: str, frame: bytes) -> None:
        key = (kind, symbol)
        if self._waiting.pop(key, None) is not None:
            self._lost += 1
        elif len(self._waiting) >= MARKET_WAITING_MAX:
            self._waiting.popitem(last=False)
            self._lost += 1
        self._waiting[key] = frame
        self._some.set()

    def _forget(self) -> None:
        self._waiting.clear()

    def _take(self) -> bytes | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._lost:
            lost, self._lost = self._lost, 0
            return _encode(MarketFrame(kind="LOST", time=self._now(), count=lost))
        return self._waiting.popitem(last=False)[1] if self._waiting else None
