"""What a projection is made from: one SQL file, which declares what it folds.

The first lines of the file are comments of three kinds, each of which may go on in lines that begin with ``--   ``::

    -- Aggregate types: counter
    -- Folds: Added, Subtracted
    -- Ignores: Renamed,
    --   Explained

A list without names is written ``nothing``. The projection is given the events of these aggregate types and of no
others. Each of their event types is either folded or ignored, and a test holds the file to that: a new event type is
not overlooked.

Below that, a file creates its tables, their indexes, and a function ``project_<name>(shard, from, to)`` that folds a
range of positions into them. All its names are unqualified, and so is the log's (``from log``); they are looked up
whenever the function runs, so its body is a string. The same file thus makes the live tables in schema ``read`` and the
shadow copies of a rebuild or a verification in schemas of their own, and workers can fill a shadow copy side by side,
each with a slice of the log. Three rules follow: the rows must not depend on how the log is cut into ranges, a row
belongs to one aggregate, and an event that can't be folded raises an error.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from foldbook.errors import ProjectionError, register

register({"projection-malformed": (500, "The projection's file does not declare what it folds")})

_HEADER = re.compile(
    r"-- Aggregate types: (?P<aggregate_types>.*(?:\n--   .*)*)\n"
    r"-- Folds: (?P<folds>.*(?:\n--   .*)*)\n"
    r"-- Ignores: (?P<ignores>.*(?:\n--   .*)*)\n"
)
_NOTHING = "nothing"
_CONTINUED = re.compile(r"\n--   ")
_AGGREGATE_TYPE = re.compile(r"[a-z][a-z0-9_]*")
_EVENT_TYPE = re.compile(r"[A-Z][A-Za-z0-9]*")


@dataclass(frozen=True, slots=True)
class Definition:
    """A file of ``sql/<domain>/projections``.

    Its name is the projection's, and its SHA-256 shows when it changed. ``aggregate_types`` are the kinds of aggregates
    whose events it is given; ``folds`` and ``ignores`` are the types of those events.
    """

    name: str
    sql: str
    sha256: str
    aggregate_types: tuple[str, ...]
    folds: frozenset[str]
    ignores: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ``ProjectionError`` projection-malformed if the file does not declare what it folds."""
        return cls.parse(path.stem, path.read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, name: str, sql: str) -> Self:
        """The definition of projection ``name`` whose file holds ``sql``. Raises as ``read`` does."""
        header = _HEADER.match(sql)
        if header is None:
            raise _malformed(
                name, "the file must begin with the comments `-- Aggregate types:`, `-- Folds:` and `-- Ignores:`"
            )
        aggregate_types = _names(name, header["aggregate_types"], _AGGREGATE_TYPE)
        folds = _names(name, header["folds"], _EVENT_TYPE)
        ignores = _names(name, header["ignores"], _EVENT_TYPE)
        if not aggregate_types or not folds:
            raise _malformed(name, "it must name at least one aggregate type and one event type that it folds")
        if both := sorted({*folds} & {*ignores}):
            raise _malformed(name, f"it says of {', '.join(both)} that it folds and that it ignores it")
        digest = hashlib.sha256(sql.encode()).hexdigest()
        return cls(name, sql, digest, aggregate_types, frozenset(folds), frozenset(ignores))


def _names(projection: str, declared: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    """The names in a list. Raises ``ProjectionError`` if one is malformed or comes twice."""
    text = _CONTINUED.sub(" ", declared).strip()
    names = () if text == _NOTHING else tuple(name.strip() for name in text.split(","))
    for name in names:
        if not pattern.fullmatch(name):
            raise _malformed(projection, f"{name!r} is not a name; names are separated by commas")
    if len(set(names)) < len(names):
        raise _malformed(projection, f"a name occurs twice in: {text}")
    return names


def _malformed(name: str, why: str) -> ProjectionError:
    return ProjectionError("projection-malformed", f"projection {name} does not declare what it folds: {why}")
