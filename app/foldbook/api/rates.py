"""How often a key may send requests: a token bucket for each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from foldbook.api.problems import Problem

BUCKETS_MAX = 2_000


class Rates:
    """``per_s``: requests of one key in a second. As many may come at once."""

    def __init__(self, per_s: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._now_s = now_s
        self._buckets: dict[str, list[float]] = {}
        """What is left, and when that was."""

    def take(self, key_id: str) -> None:
        """Raises ``Problem``."""
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
            wait_s = math.ceil((1 - left) / self._per_s)
            raise Problem(
                "rate-limited",
                f"a key may send {self._per_s} requests in a second",
                headers={"Retry-After": str(wait_s)},
            )
        bucket[0] = left - 1
