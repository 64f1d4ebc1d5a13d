"""Time taken, by the clock and by this process."""

from __future__ import annotations

import resource
import time

from bench.table import Slice


class Stopwatch:
    """Starts when it is created."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._cpu_s = _cpu_s()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def slice(self, count: int) -> Slice:
        """The slice up to now, in which so much was done."""
        seconds = self.seconds
        return Slice(count=count, seconds=seconds, cpu_share=(_cpu_s() - self._cpu_s) / seconds)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
