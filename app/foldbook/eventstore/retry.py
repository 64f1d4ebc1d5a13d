"""Calling the store again while it cannot be reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from foldbook.errors import StoreUnavailable
from foldbook.eventstore.backoff import Backoff

T = TypeVar("T")

PAUSE_S_MIN = 0.02
PAUSE_S_MAX = 0.5


async def retry_while_unavailable(call: Callable[[], Awaitable[T]], outage_max_s: float) -> T:
    """Call again while the store is unavailable, with growing pauses, for at most ``outage_max_s`` seconds.

    Raises the last ``StoreUnavailable``.
    """
    deadline = time.monotonic() + outage_max_s
    backoff = None
    while True:
        try:
            return await call()
        except StoreUnavailable:
            backoff = backoff or Backoff(PAUSE_S_MIN, PAUSE_S_MAX)
            pause_s = backoff.next_s()
            if time.monotonic() + pause_s > deadline:
                raise
            await asyncio.sleep(pause_s)
