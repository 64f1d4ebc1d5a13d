"""From a source to its sinks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

from foldbook.market.feeds.told import Lost, Opened, Sink, Source

YIELD_EVERY = 64
"""Data after which others may run, even if the source never waits."""

logger = logging.getLogger(__name__)


async def pump(source: Source, sinks: Sequence[Sink], *, waits: bool) -> int:
    """Give everything to every sink, until the source ends. Returns how many data that were.

    ``waits``: only as fast as every sink takes it, so that nothing is dropped. What the source has lost is logged.
    """
    count = 0
    async with aclosing(source.stream()) as stream:
        async for told in stream:
            if isinstance(told, Lost):
                how_many = "an unknown number of" if told.count is None else told.count
                logger.warning("%s data lost: %s", how_many, told.why)
                continue
            for sink in sinks:
                if waits:
                    await sink.room()
                sink.put(told)
            count += not isinstance(told, Opened)
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
    return count
