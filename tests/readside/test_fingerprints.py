"""Read tables are rebuilt when anything that makes them has changed, and not when something else has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from foldbook.postgres import migrations
from foldbook.postgres.code import needs_of, object_of, read_code
from foldbook.postgres.migrations import migrate
from foldbook.resources import ROOT
from tests.machinery.servers import MAJORS, servers
from tests.readside.histories import write_many
from tests.readside.projecting import DEFINITIONS, administering, caught_up, connected, projecting, status_of
from tests.waiting import until

RENAMED_1 = """
create function upcast."FillBusted_1"(payload jsonb) returns jsonb language sql immutable parallel safe
return payload
"""


def fingerprints(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, object]:
    found = {}
    for definition in DEFINITIONS:
        row = connection.execute("select eventstore.projection_fingerprint(%s)", [definition.sql]).fetchone()
        assert row is not None
        (found[definition.name],) = row
    return found


def users_of(name: str) -> set[str]:
    """The projections that use an object, themselves or through others, as the files say."""
    needs = {object_of(path): set(names) for path, names in needs_of(read_code()).items()}
    found = set()
    for definition in DEFINITIONS:
        used = {"eventstore.log", "eventstore.projection_input"} | {n for n in needs if f"{n}(" in definition.sql}
        while more := set().union(*(needs[n] for n in used)) - used:
            used |= more
        if name in used:
            found.add(definition.name)
    return found


@pytest.mark.parametrize("name", ["trading.quotient", "trading.fill_money", "eventstore.log", "access.query_keys"])
def test_it_follows_the_functions_that_a_projection_uses(database: str, name: str) -> None:
    with psycopg.connect(database) as connection:
        before = fingerprints(connection)
        connection.execute("update eventstore.code set sha256 = 'changed' where object = %s", [name])
        after = fingerprints(connection)
    assert {n for n in before if before[n] != after[n]} == users_of(name)
    assert users_of("trading.quotient") not in (set(), {d.name for d in DEFINITIONS})
    assert users_of("access.query_keys") == set()


def test_it_follows_the_upcasters_of_the_events_that_are_folded(database: str) -> None:
    with psycopg.connect(database) as connection:
        before = fingerprints(connection)
        connection.execute(RENAMED_1)
        after = fingerprints(connection)
    folding = {d.name for d in DEFINITIONS if "FillBusted" in d.folds}
    assert {n for n in before if before[n] != after[n]} == folding
    assert {d.name for d in DEFINITIONS if "FillBusted" in d.ignores}.isdisjoint(folding)


@pytest.mark.parametrize("major", MAJORS)
async def test_a_function_that_changed_leads_to_the_rebuild_of_what_uses_it(
    major: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(major) as rack:
        dsn = rack.primary().dsn
        migrate(dsn, shard_count=1)
        with connected(dsn) as connection:
            async with projecting(dsn):
                write_many(connection, 50)
                await caught_up(dsn)
            quantities = "select sum(abs(quantity)) from read.positions"
            before = connection.execute(quantities).fetchone()
            made_by = {d.name: (await status_of(dsn, d.name)).definition_hash for d in DEFINITIONS}

            monkeypatch.setattr(migrations, "read_code", doubling("sql/trading/folds/signed_quantity.sql"))
            migrate(dsn, shard_count=1)
            assert connection.execute(quantities).fetchone() == before

            async with projecting(dsn), administering(dsn) as admin:

                async def is_rebuilt() -> bool:
                    return {d.name: (await status_of(dsn, d.name)).definition_hash for d in DEFINITIONS} == wanted

                wanted = fingerprints(connection)
                await until(is_rebuilt)
                assert (await admin.verify("positions")).equal
            assert {n for n in wanted if wanted[n] != made_by[n]} == users_of("trading.signed_quantity")
            assert connection.execute(quantities).fetchone() != before


def doubling(changed: str) -> Callable[[], dict[Path, bytes]]:
    """The files, one of which says that a fill is twice as large."""

    def read() -> dict[Path, bytes]:
        files = read_code()
        files[ROOT / changed] = files[ROOT / changed].replace(b"return case", b"return 2 * case")
        return files

    return read
