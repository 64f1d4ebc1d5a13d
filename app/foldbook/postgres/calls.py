"""Calls of SQL functions by name: the only SQL that Python writes."""

from __future__ import annotations

import re
from functools import cache

_NAME = re.compile(r"[a-z_]+\.[a-z_]+")


@cache
def call(function: str, arguments: int) -> str:
    """The text of a query that calls a set-returning or scalar SQL function by name: ``select * from f($1, $2)``."""
    if not _NAME.fullmatch(function):
        raise ValueError(f"{function!r} is not the name of a function with its schema")
    return f"select * from {function}({', '.join(f'${n}' for n in range(1, arguments + 1))})"  # noqa: S608
