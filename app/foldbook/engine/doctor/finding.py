"""Something that is wrong, as an operator is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import psycopg

from foldbook.config import Settings


class Finding(NamedTuple):
    """``problem``: what is wrong, with names and figures. ``why``: what it leads to. ``mend``: the command that mends
    it, or what to do if there is none. No secrets."""

    problem: str
    why: str
    mend: str


class Patient(NamedTuple):
    """What is examined: the settings, and an auditor's connection to a migrated database."""

    settings: Settings
    connection: psycopg.Connection[tuple[Any, ...]]


Check: TypeAlias = Callable[[Patient], Iterator[Finding]]
