"""Whether a command could be answered now, for those who ask again and again: one proof serves all."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from foldbook.errors import StoreUnavailable

INTERVAL_S = 1.0
"""For so long a commit, or a proof, shows that commits are possible."""
FAILED_INTERVAL_S = 0.25
"""For so long a failed proof is not tried again."""


class WriteProof:
    """Of one shard. ``prove`` raises ``StoreUnavailable`` with the reason; ``committed_at_s`` is when something was
    last committed, on the monotonic clock."""

    def __init__(self, prove: Callable[[], Awaitable[None]], committed_at_s: Callable[[], float]) -> None:
        self._prove = prove
        self._committed_at_s = committed_at_s
        self._asked: asyncio.Task[None] | None = None
        self._answered_at_s = -math.inf
        self._failure: StoreUnavailable | None = None

    async def ask(self) -> None:
        """Raises ``StoreUnavailable`` if nothing can be committed."""
        now_s = time.monotonic()
        if now_s < self._committed_at_s() + INTERVAL_S:
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
