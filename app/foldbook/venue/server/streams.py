"""The streams of reports and of market data: who listens, and what waits to be sent to each.

A listener that is too slow to take reports is disconnected, because a gap that nobody tells of is worse than a broken
connection. Of market data only the latest counts: a slow listener misses some, and is told how many.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

import msgspec

from foldbook.venue.server.documents import MarketFrame

WAITING_MAX = 10_000
"""Reports that may wait for one listener."""
MARKET_WAITING_MAX = 1_000
"""Symbols and kinds of data, likewise."""
_encode = msgspec.json.Encoder().encode


class Ended(Exception):
    """The stream is over: the text says why."""


class ReportListener:
    """What waits to be sent to one listener. ``account``: whose reports; None: everybody's."""

    def __init__(self, account: str | None, waiting_max: int = WAITING_MAX) -> None:
        self.account = account
        self._waiting: deque[bytes] = deque()
        self._waiting_max = waiting_max
        self._some = asyncio.Event()
        self._why_ended: str | None = None

    def add(self, frame: bytes) -> None:
        if len(self._waiting) >= self._waiting_max:
            self.end("the listener is too slow")
            return
        self._waiting.append(frame)
        self._some.set()

    def end(self, why: str) -> None:
        """End the stream now: what waits is not sent any more."""
        self._why_ended = why
        self._waiting.clear()
        self._some.set()

    async def next(self) -> bytes:
        """The next frame. Raises ``Ended``."""
        while True:
            if self._why_ended is not None:
                raise Ended(self._why_ended)
            if self._waiting:
                return self._waiting.popleft()
            self._some.clear()
            await self._some.wait()


class MarketListener:
    """Likewise for market data: of each symbol and kind, the latest."""

    def __init__(self, symbols: frozenset[str] | None) -> None:
        self.symbols = symbols
        self._waiting: OrderedDict[tuple[str, str | None], bytes] = OrderedDict()
        self._lost = 0
        self._some = asyncio.Event()
        self._why_ended: str | None = None

    def wants(self, symbol: str) -> bool:
        return self.symbols is None or symbol in self.symbols

    def add(self, kind: str, symbol: str | None, frame: bytes) -> None:
        key = (kind, symbol)
        if self._waiting.pop(key, None) is not None:
            self._lost += 1
        elif len(self._waiting) >= MARKET_WAITING_MAX:
            self._waiting.popitem(last=False)
            self._lost += 1
        self._waiting[key] = frame
        self._some.set()

    def end(self, why: str) -> None:
        self._why_ended = why
        self._waiting.clear()
        self._some.set()

    async def next(self, now: str) -> bytes:
        """The next frame; before it, if some were lost, one that says how many. Raises ``Ended``."""
        while True:
            if self._why_ended is not None:
                raise Ended(self._why_ended)
            if self._lost:
                lost, self._lost = self._lost, 0
                return _encode(MarketFrame(kind="LOST", time=now, count=lost))
            if self._waiting:
                return self._waiting.popitem(last=False)[1]
            self._some.clear()
            await self._some.wait()
