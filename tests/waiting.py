"""Wait for a condition, and fail if it does not come true. Nothing is measured by how long that may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 60


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return as soon as ``holds()``."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = holds()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.01)


def block_until(holds: Callable[[], bool]) -> None:
    """``until``, where there is no event loop."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"still waiting after {PATIENCE_S} s"
        time.sleep(0.02)
