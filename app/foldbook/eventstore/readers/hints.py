"""The hints that one reader of a shard is given, and how it waits for the next.

A position that the reader has already reached is no news. Under load that is half of all hints: a look goes up to the
head, which is often ahead of the hint that led to it.
"""

from __future__ import annotations

import asyncio
import math

from foldbook.eventstore.waits import is_set_within


class Hints:
    """Call ``take`` when there may be something to read, ``look`` and ``reached`` around each look, and ``wait``."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._woken = asyncio.Event()
        self._reached: float = -1
        self._hinted: float = -1
        """The last position that a hint named since the last look began; infinite: look in any case."""

    def take(self, payload: str | None) -> None:
        """A notification of ``foldbook_log``; None: some may have been missed, look in any case."""
        position = _position_in(payload, self._shard)
        if position > self._reached:
            self._hinted = max(self._hinted, position)
            self._woken.set()

    def look(self) -> bool:
        """A look begins. Returns whether a hint led to it."""
        is_hinted = self._woken.is_set()
        self._woken.clear()
        self._hinted = -1
        return is_hinted

    def reached(self, position: int | None) -> None:
        """There is nothing to read up to this position. None: that is not known."""
        self._reached = -1 if position is None else position
        if self._hinted <= self._reached:
            self._woken.clear()

    async def wait(self, poll_interval_s: float) -> None:
        """Return at a hint, but no later than after the poll interval, in case one was lost."""
        await is_set_within(self._woken, poll_interval_s)


def _position_in(payload: str | None, shard: int) -> float:
    """The position that a hint names in this shard. -1: it names another shard. Infinite: unknown."""
    if payload is None:
        return math.inf
    named_shard, _, position = payload.partition(":")
    try:
        return int(position) if int(named_shard) == shard else -1
    except ValueError:
        return math.inf
