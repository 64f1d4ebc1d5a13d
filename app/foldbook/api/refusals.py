"""Requests that were refused for want of a right, in the log: who was refused what. A key never stands there."""

from __future__ import annotations

import logging
import time

from foldbook.access.principal import Principal
from foldbook.api.problems import Problem

STATUSES = (401, 403, 421, 429)
LINES_PER_S_MAX = 10
"""A flood of refused requests must not become one of log lines."""

logger = logging.getLogger(__name__)


class _Lines:
    def __init__(self) -> None:
        self.second = 0
        self.count = 0
        self.left_out = 0

    def may_write(self) -> bool:
        second = int(time.monotonic())
        if second != self.second:
            self.second, self.count = second, 0
        self.count += 1
        if self.count > LINES_PER_S_MAX:
            self.left_out += 1
            return False
        return True


_lines = _Lines()


def log_refusal(problem: Problem, principal: Principal, method: str, template: str) -> None:
    if problem.status not in STATUSES or not _lines.may_write():
        return
    more, _lines.left_out = f" ({_lines.left_out} more were refused)" if _lines.left_out else "", 0
    logger.warning("refused %s %s to %s: %s%s", method, template, principal.name or "nobody", problem.code, more)
