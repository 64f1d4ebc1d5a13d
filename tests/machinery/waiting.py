"""Wait for a condition, and fail if it does not come true."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60


def until(holds: Callable[[], bool]) -> None:
    """Return as soon as ``holds()``; fail if that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"still waiting after {PATIENCE_S} s"
        time.sleep(0.02)
