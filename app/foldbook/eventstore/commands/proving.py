"""Whether a command could be answered now, for those who ask again and again: one proof serves all."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from foldbook.errors import StoreUnavailable

INTERVAL_S = 1.0
"""For so long a commit, or a proof, shows that commits are possible."""
FAILED_INTERVAL_S = 0.25
"""For so long a failed proof is not tried again."""
FAILED_APPEND_INTERVAL_S = 5.0
"""For so long an append that failed shows that commits are not possible, whatever a proof says: a proof makes no table
larger, so that it succeeds on a disk that is full."""


class LatestAppend(NamedTuple):
    """When an append ended, on the monotonic clock, and why it failed; None: it did not."""

    at_s: float = -math.inf
    failure: StoreUnavailable | None = None


class WriteProof:
    """Of one shard. ``prove`` raises ``StoreUnavailable`` with the reason; ``latest`` is the latest append."""

    def __init__(self, prove: Callable[[], Awaitable[None]], latest: Callable[[], LatestAppend]) -> None:
        self._prove = prove
        self._latest = latest
        self._asked: asyncio.Task[None] | None = None
        self._answered_at_s = -math.inf
        self._failure: StoreUnavailable | None = None

    async def ask(self) -> None:
        """Raises ``StoreUnavailable`` if nothing can be committed."""
        now_s, (at_s, failure) = time.monotonic(), self._latest()
        if failure is not None and now_s < at_s + FAILED_APPEND_INTERVAL_S:
            raise StoreUnavailable(failure.detail)
        if failure is None and now_s < at_s + INTERVAL_S:
            return
        if now_s >= self._answered_at_s + (INTERVAL_S if self._failure is None else FAILED_INTERVAL_S):
            if self._asked is None:
                self._asked = asyncio.create_task(self._answer(), name="prove that the log can be written")
            await asyncio.shield(self._asked)
        if self._failure is not None:
            raise StoreUnavailable(self._failure.detail)

    async def stop(self) -> None:
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.wait([self._asked])

    async def _answer(self) -> None:
        try:
            await self._prove()
            self._failure = None
        except StoreUnavailable as error:
            self._failure = error
        except Exception as error:
            self._failure = StoreUnavailable(f"the log cannot be written: {error}")
        finally:
            self._answered_at_s = time.monotonic()
            self._asked = None
