"""SQL functions, called by name: no SQL is written in Python."""

from __future__ import annotations

import re
from functools import cache

_NAME = re.compile(r"[a-z_]+\.[a-z_]+")


@cache
def call(function: str, arguments: int) -> str:
    """The text of a query that calls a set-returning or scalar SQL function by name: ``select * from f($1, $2)``.

    ``function``: the name with its schema. Raises ``ValueError`` for anything else.
    """
    if not _NAME.fullmatch(function):
        raise ValueError(f"{function!r} is not the name of an SQL function with its schema")
    places = ", ".join(f"${n}" for n in range(1, arguments + 1))
    return f"select * from {function}({places})"  # noqa: S608 - the name is checked above
