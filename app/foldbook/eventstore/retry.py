"""Calling the store again while it cannot be reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from foldbook.errors import StoreUnavailable

T = TypeVar("T")

PAUSE_S_MIN = 0.02
PAUSE_S_MAX = 0.5


async def retry_while_unavailable(call: Callable[[], Awaitable[T]], outage_max_s: float) -> T:
    """Call again while the store is unavailable, with growing pauses, for ``outage_max_s`` seconds at most.

    Raises the last ``StoreUnavailable``.
    """
    deadline = time.monotonic() + outage_max_s
    pause_s = PAUSE_S_MIN
    while True:
        try:
            return await call()
        except StoreUnavailable:
            if time.monotonic() + pause_s > deadline:
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S_MAX)
