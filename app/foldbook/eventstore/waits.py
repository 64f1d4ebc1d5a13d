"""Waiting for an event, but not for ever."""

from __future__ import annotations

import asyncio


async def is_set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for the event, at most so long; None: as long as it takes. Returns whether it came.

    ``asyncio.wait_for`` of Python 3.11 forgets that it was cancelled if the event comes at the same moment; whoever
    cancels once, and waits then, would wait for ever.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
