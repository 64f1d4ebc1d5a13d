"""Pauses that grow from one failure to the next, for every loop that tries again.

Written here because the libraries cost too much when nothing fails. tenacity, stamina and backoff add 13, 15 and 2 us
to each successful call, such as the retry around an append; a plain ``except`` adds 0.05 us. None of them keeps a
connection open, which is what the reconnecting loop needs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

_random = random.SystemRandom().random


@dataclass(slots=True)
class Backoff:
    """Call ``next_s`` after each failure and ``reset`` after a success.

    ``jitter`` returns a number from 0 to 1. A pause lasts between half of its nominal length and all of it, so that
    processes that failed together do not return together.
    """

    min_s: float
    max_s: float
    growth: float = 2.0
    jitter: Callable[[], float] = _random
    _nominal_s: float = field(init=False)

    def __post_init__(self) -> None:
        assert 0 < self.min_s <= self.max_s and self.growth >= 1
        self._nominal_s = self.min_s

    def next_s(self) -> float:
        """How long to wait now, in seconds, at most ``max_s``."""
        nominal_s = self._nominal_s
        self._nominal_s = min(nominal_s * self.growth, self.max_s)
        return nominal_s * (1 + self.jitter()) / 2

    def reset(self) -> None:
        """Make the next pause short again."""
        self._nominal_s = self.min_s
