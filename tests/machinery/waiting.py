"""Wait for what must come, and say so if it does not."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60


def until(holds: Callable[[], bool]) -> None:
    """Return as soon as ``holds()``; fail when that takes too long to be still coming."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"still waiting after {PATIENCE_S} s"
        time.sleep(0.02)
