"""The definition of a projection: one SQL file, which declares what it folds.

The file begins with three comments. Each may continue on lines that begin with ``--   ``::

    -- Aggregate types: counter
    -- Folds: Added, Subtracted
    -- Ignores: Renamed,
    --   Explained

An empty list is written ``nothing``. The projection gets the events of these aggregate types and of no others. Each of
their event types is either folded or ignored; a test checks that the file names them all, so that a new event type is
not overlooked.

After that, the file creates its tables, their indexes, and a function ``project_<name>(shard, from, to)`` that folds a
range of positions into them. All names are unqualified, that of the log included (``from log``). They are looked up
whenever the function runs, so its body is a string. So the same file creates the live tables in schema ``read`` and the
shadow copies of a rebuild or a verification in their own schemas, and workers can fill a shadow copy in parallel, each
with a slice of the log. Three rules follow: the rows must not depend on how the log is cut into ranges, a row belongs
to one aggregate, and an event that can't be folded raises an error.
"""

from __future__ import annotations

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

    Its name is the projection's, which gets the events of ``aggregate_types``; ``folds`` and ``ignores`` are the types
    of those events. Whether the tables in a database were made by this definition, and by today's functions and
    upcasters, the database says: ``eventstore.projection_fingerprint``.
    """

    name: str
    sql: str
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
            raise _malformed(name, f"it both folds and ignores {', '.join(both)}")
        return cls(name, sql, aggregate_types, frozenset(folds), frozenset(ignores))


def _names(projection: str, declared: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    """The names in a list. Raises ``ProjectionError`` if one is malformed or occurs twice."""
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
