"""Time taken, by the clock and by this process."""

from __future__ import annotations

import resource
import time

from bench.table import Slice


class Stopwatch:
    """Runs from its making."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._cpu_s = _cpu_s()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def slice(self, count: int) -> Slice:
        """So much was done until now."""
        seconds = self.seconds
        return Slice(count=count, seconds=seconds, cpu_share=(_cpu_s() - self._cpu_s) / seconds)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
