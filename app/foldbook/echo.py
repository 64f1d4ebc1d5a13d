"""What clients cause to be written, bounded: a flood of requests must not become one of log lines, nor a long request a
long line or a long answer."""

from __future__ import annotations

import logging
import time
import traceback

LINES_PER_S_MAX = 10
FAILURE_CHARS_MAX = 8_000
SHOWN_CHARS_MAX = 500

logger = logging.getLogger(__name__)


def shown(text: str) -> str:
    """A text that may repeat what a request said, cut."""
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"


class LineLimit:
    """At most ``LINES_PER_S_MAX`` lines of a kind in a second. The next line tells how many were left out."""

    def __init__(self) -> None:
        self._second = 0
        self._count = 0
        self._left_out = 0

    def may_write(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count > LINES_PER_S_MAX:
            self._left_out += 1
            return False
        return True

    def left_out(self) -> str:
        """What to add to a line that is written."""
        text = f" ({self._left_out} more before)" if self._left_out else ""
        self._left_out = 0
        return text


def failure_text(error: BaseException) -> str:
    """The traceback. Of a long one, the beginning and the end."""
    text = "".join(traceback.format_exception(error, limit=-30))
    half = FAILURE_CHARS_MAX // 2
    return text if len(text) <= FAILURE_CHARS_MAX else f"{text[:half]}\n[...]\n{text[-half:]}"


_failures = LineLimit()


def log_failure(error: Exception) -> None:
    """That a request failed through no fault of its sender."""
    if _failures.may_write():
        logger.error("a request failed%s: %s", _failures.left_out(), failure_text(error))
