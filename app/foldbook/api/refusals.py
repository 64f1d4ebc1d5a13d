"""Requests that were refused for want of a right, in the log: who was refused what. A key never stands there."""

from __future__ import annotations

import logging

from foldbook.access.principal import Principal
from foldbook.api.problems import Problem
from foldbook.echo import LineLimit

STATUSES = (401, 403, 421, 429)

logger = logging.getLogger(__name__)


_lines = LineLimit()


def log_refusal(problem: Problem, principal: Principal, method: str, template: str) -> None:
    if problem.status not in STATUSES or not _lines.may_write():
        return
    name, code, more = principal.name or "nobody", problem.code, _lines.left_out()
    logger.warning("refused %s %s to %s: %s%s", method, template, name, code, more)
