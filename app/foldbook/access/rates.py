"""How often a key may ask: a token bucket for each."""

from __future__ import annotations

import math
from collections.abc import Callable

from foldbook.errors import FoldbookError

BUCKETS_MAX = 2_000


class RateLimited(FoldbookError, code="rate-limited", status=429, title="The key sends too many requests"):
    def __init__(self, per_s: int, retry_after_s: int) -> None:
        super().__init__(f"a key may send {per_s} requests in a second")
        self.retry_after_s = retry_after_s


class Rates:
    """``per_s``: requests of one key in a second. As many may come at once. ``now_s``: a clock that never goes back."""

    def __init__(self, per_s: int, now_s: Callable[[], float]) -> None:
        self._per_s = per_s
        self._now_s = now_s
        self._buckets: dict[str, list[float]] = {}
        """What is left, and when that was."""

    def take(self, key_id: str) -> None:
        """Raises ``RateLimited``."""
        now_s = self._now_s()
        bucket = self._buckets.get(key_id)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._buckets.clear()
            bucket = self._buckets[key_id] = [float(self._per_s), now_s]
        left = min(self._per_s, bucket[0] + (now_s - bucket[1]) * self._per_s)
        bucket[1] = now_s
        if left < 1:
            bucket[0] = left
            raise RateLimited(self._per_s, math.ceil((1 - left) / self._per_s))
        bucket[0] = left - 1
