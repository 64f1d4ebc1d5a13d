"""Is the database's code what this program's files say, and does nothing else protect, hide or change the log?

Functions, views, triggers, columns, constraints, indexes, owners, rights, policies, roles: all that ``audit.catalog``
lists is compared with the reference (``reference.py``). Read tables are compared for the projections that were made by
this program's files; the engine makes the others again when it starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import psycopg

from foldbook.audit.reference import Catalog, Entry, Reference, read_catalog
from foldbook.errors import FoldbookError
from foldbook.postgres.binaries import MAJOR_VERSION
from foldbook.postgres.blocking import connect
from foldbook.postgres.roles import ENGINE

ELSEWHERE = "mend that, or run foldbook audit verify on a machine where the embedded PostgreSQL runs"
REPORTED_MAX = 100
MIGRATE = "foldbook migrate"
REBUILD = "foldbook projections rebuild {}"
START = "start the engine, which rebuilds it"
DROP = "have its owner drop it, or give it back: foldbook migrate drops nothing that is not the program's"
DETAIL_CHARACTERS_MAX = 200
_DEFINITIONS = ("view", "function")
_DROPPED_BY_NOBODY = ("read.", "upcast.")
"""Migrations drop what is strange in the other schemas of code. Upcasters stay, for old events are read for ever."""
_OF_ROLES = ("role", "membership", "default privileges")

Connection = psycopg.Connection[tuple[object, ...]]


class Missing(NamedTuple):
    """``guard``: what differs, in words. ``mend``: the command that mends it, or what to do."""

    guard: str
    mend: str


def missing_guards(dsn: str) -> list[Missing]:
    """What differs, at most ``REPORTED_MAX`` of it and how much more there is. None: all is well."""
    try:
        with connect(dsn, application_name="foldbook guards") as connection:
            return missing_guards_on(connection)
    except psycopg.Error as error:
        return [_not_compared(str(error).strip())]


def missing_guards_on(connection: Connection) -> list[Missing]:
    """The same on a connection, whose transaction goes on."""
    try:
        reference = Reference()
        found = sorted(_differences(connection, reference))
    except FoldbookError as error:
        return [_not_compared(str(error))]
    more = len(found) - REPORTED_MAX
    return [*found[:REPORTED_MAX], *([Missing(f"and {more} more", MIGRATE)] if more > 0 else [])]


def _not_compared(why: str) -> Missing:
    return Missing(f"the database's code was not compared with the program's files: {why}", ELSEWHERE)


def _differences(connection: Connection, reference: Reference) -> Iterator[Missing]:
    actual = read_catalog(connection)
    expected = reference.catalog
    if not _is_separated(actual):
        expected = _without_roles(expected)
        actual = {key: entry for key, entry in actual.items() if entry.kind not in _OF_ROLES}
    projections = _objects_of_projections(expected, actual)
    stale, waiting = _stale(expected, actual, projections)
    yield from stale
    expected = _without(expected, waiting)
    actual = _without(actual, waiting)
    if connection.info.server_version // 10000 != MAJOR_VERSION:
        actual |= _rewritten(reference, expected, actual)
    for key in expected.keys() | actual.keys():
        difference = _difference(expected.get(key), actual.get(key))
        if difference is not None:
            yield Missing(difference, _mend(expected.get(key), actual.get(key), projections))


def _mend(expected: Entry | None, actual: Entry | None, projections: dict[str, str]) -> str:
    one = expected or actual
    assert one is not None
    if one.object in projections and not one.object.startswith("input_"):  # migrations make those views
        return REBUILD.format(projections[one.object])
    if expected is None and (one.object or "").startswith(_DROPPED_BY_NOBODY):
        return DROP
    is_code = one.kind in ("view", "function", "owner", "grant", "row security", "policy")
    is_made_again = expected is not None and (one.kind == "trigger" or (one.detail or "").startswith("view"))
    return MIGRATE if is_code or is_made_again else DROP


def _difference(expected: Entry | None, actual: Entry | None) -> str | None:
    if actual is None:
        assert expected is not None
        return f"{expected.kind} {expected.name} is missing"
    if expected is None:
        return f"{actual.kind} {actual.name} is not the program's{_shown(actual)}"
    if expected.detail == actual.detail:
        return None
    if expected.kind in _DEFINITIONS:
        return f"{actual.kind} {actual.name} is not what the program's file says"
    return f"{actual.kind} {actual.name} is {_short(actual.detail)}, and should be {_short(expected.detail)}"


def _shown(entry: Entry) -> str:
    return f": {_short(entry.detail)}" if entry.detail and entry.kind not in _DEFINITIONS else ""


def _short(detail: str | None) -> str:
    text = " ".join((detail or "nothing").split())
    return text if len(text) <= DETAIL_CHARACTERS_MAX else f"{text[:DETAIL_CHARACTERS_MAX]}..."


def _is_separated(catalog: Catalog) -> bool:
    owner = catalog.get(("owner", "read"))
    return owner is not None and owner.detail == ENGINE


def _without_roles(catalog: Catalog) -> Catalog:
    """The reference where the owner runs the engine: all is the owner's, and nobody is given rights."""
    return {
        key: Entry(e.object, e.kind, e.name, "owner" if e.kind == "owner" else e.detail)
        for key, e in catalog.items()
        if e.kind not in (*_OF_ROLES, "grant")
    }


def _objects_of_projections(*catalogs: Catalog) -> dict[str, str]:
    """The projection that each object of theirs belongs to."""
    objects: dict[str, str] = {}
    for entry in (entry for catalog in catalogs for entry in catalog.values() if entry.kind == "projection"):
        _, *tables = (entry.detail or "").split()
        names = [f"read.{table}" for table in tables]
        names += [f"input_{entry.name}", f"input_{entry.name}.log", f"input_{entry.name}.turn"]
        names.append(f"read.project_{entry.name}(p_shard integer, p_from bigint, p_to bigint)")
        objects |= dict.fromkeys(names, entry.name)
    return objects


def _stale(expected: Catalog, actual: Catalog, projections: dict[str, str]) -> tuple[list[Missing], set[str]]:
    """Projections that were made by other code, and the objects of those and of such as were never installed."""
    told: list[Missing] = []
    waiting: set[str] = set()
    for key, entry in expected.items():
        if entry.kind != "projection" or (key in actual and actual[key].detail == entry.detail):
            continue
        waiting.add(entry.name)
        if key in actual:
            told.append(Missing(f"projection {entry.name} was not made by the program's files", START))
    return told, {name for name, projection in projections.items() if projection in waiting}


def _without(catalog: Catalog, objects: set[str]) -> Catalog:
    return {key: entry for key, entry in catalog.items() if entry.kind != "projection" and entry.object not in objects}


def _rewritten(reference: Reference, expected: Catalog, actual: Catalog) -> Catalog:
    """The definitions of a server of another version, as the reference's server writes them."""
    differing = {
        key: entry
        for key, entry in actual.items()
        if entry.kind in _DEFINITIONS and key in expected and expected[key].detail != entry.detail
    }
    texts = reference.rewrite({key: entry.detail or "" for key, entry in differing.items()})
    return {
        key: Entry(entry.object, entry.kind, entry.name, texts[key] or entry.detail) for key, entry in differing.items()
    }
