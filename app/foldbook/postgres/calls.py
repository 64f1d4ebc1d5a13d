"""SQL functions are called by name; nothing else is ever put into a statement."""

from __future__ import annotations

import re
from functools import lru_cache

_FUNCTION = re.compile(r"[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}")


@lru_cache(maxsize=1024)
def call(function: str, argument_count: int) -> str:
    """The statement that calls a set-returning or scalar function, with arguments ``$1`` to ``$argument_count``.

    ``function`` is ``schema.name`` in lower case; anything else raises :class:`ValueError`. The same text comes back
    each time, so that a connection prepares each call once.
    """
    if not _FUNCTION.fullmatch(function):
        raise ValueError(f"not the name of a SQL function: {function!r}")
    arguments = ", ".join(f"${number}" for number in range(1, argument_count + 1))
    return f"select * from {function}({arguments})"  # noqa: S608 - the name is checked
