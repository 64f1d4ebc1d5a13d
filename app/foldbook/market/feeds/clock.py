"""The clock of a feed, so that a test can move it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z."""
        ...

    async def sleep_until(self, time_ns: int) -> None:
        """Return at that time, or at once if it is over."""
        ...


class WallClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    async def sleep_until(self, time_ns: int) -> None:
        await asyncio.sleep(max(time_ns - time.time_ns(), 0) / 1e9)
