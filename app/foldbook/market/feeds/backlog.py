"""A bounded queue of market data in which the latest quote wins.

While its reader keeps up, everything passes in order. When it is full, of each symbol only the latest quote stays; if
that is not enough, the oldest data go. What was dropped is counted, so that somebody can be told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from foldbook.market.feeds.told import Told
from foldbook.market.records import Quote

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """Holds at most ``limit`` items, which are data or stand for some."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        self._limit = limit
        self._waiting: deque[T] = deque()
        self._dropped = 0
        self._arrived = asyncio.Event()
        self._left = asyncio.Event()
        self._left.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, told: T) -> None:
        if len(self._waiting) >= self._limit:
            self._make_room()
        self._waiting.append(told)
        self._arrived.set()
        if len(self._waiting) >= self._limit:
            self._left.clear()

    def first(self) -> T | None:
        """The oldest, which stays; None: there is nothing."""
        return self._waiting[0] if self._waiting else None

    def take(self) -> T | None:
        """The oldest; None: there is nothing."""
        if not self._waiting:
            return None
        told = self._waiting.popleft()
        self._left.set()
        if not self._waiting:
            self._arrived.clear()
        return told

    def take_dropped(self) -> int:
        """How many were dropped since this was asked last."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    async def wait(self) -> None:
        """Until there is something."""
        await self._arrived.wait()

    async def room(self) -> None:
        """Until there is room for one more."""
        await self._left.wait()

    def _make_room(self) -> None:
        """At least half of it, so that a full queue is looked through once in a while, and not at each datum."""
        before = len(self._waiting)
        latest = {self._quoted(told): told for told in self._waiting}
        self._waiting = deque(
            told for told in self._waiting if (symbol := self._quoted(told)) is None or told is latest[symbol]
        )
        while len(self._waiting) > self._limit // 2:
            self._waiting.popleft()
        self._dropped += before - len(self._waiting)

    def _quoted(self, told: T) -> str | None:
        """Whose quote it is; None: it is none."""
        raise NotImplementedError


class Backlog(BoundedQueue[Told]):
    """A queue of data themselves."""

    def _quoted(self, told: Told) -> str | None:
        return told.symbol if isinstance(told, Quote) else None
