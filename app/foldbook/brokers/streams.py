"""A stream of reports for one reader: it keeps what comes until it is read, up to a bound."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from foldbook.brokers.port import BrokerUnavailable, Report

WAITING_MAX = 10_000
"""Reports that wait for a reader. When there are more, the stream ends: it drops none in silence."""


class ReportStream(AsyncIterator[Report]):
    """What is put in comes out in order; after ``end`` what was put in before comes out, then ``BrokerUnavailable``."""

    def __init__(self) -> None:
        self._waiting: deque[Report] = deque()
        self._is_there = asyncio.Event()
        self._ended: str | None = None

    def put(self, report: Report) -> None:
        if self._ended is not None:
            return
        if len(self._waiting) >= WAITING_MAX:
            self.end(f"{WAITING_MAX} reports wait to be read")
            return
        self._waiting.append(report)
        self._is_there.set()

    def end(self, reason: str) -> None:
        self._ended = self._ended or reason
        self._is_there.set()

    async def __anext__(self) -> Report:
        while not self._waiting:
            if self._ended is not None:
                raise BrokerUnavailable(f"the stream of reports has ended: {self._ended}")
            self._is_there.clear()
            await self._is_there.wait()
        return self._waiting.popleft()
