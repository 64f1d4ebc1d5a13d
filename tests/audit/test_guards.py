"""Whatever is done to what protects the log is found, by verify and by doctor, and mended by migrate or named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from foldbook.audit import reference
from foldbook.audit.guards import ELSEWHERE, MIGRATE, REBUILD, Missing, missing_guards, missing_guards_on
from foldbook.audit.reference import Reference
from foldbook.config import Settings
from foldbook.engine.doctor.checks import guards
from foldbook.engine.doctor.finding import Patient
from foldbook.postgres.binaries import EmbeddedPostgresError
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role
from tests.audit.conftest import as_superuser
from tests.audit.manipulations import IN_READ, MANIPULATIONS, STRANGER, Manipulation
from tests.conftest import Postgres, prepare
from tests.machinery.cli import foldbook
from tests.machinery.servers import MAJORS, servers
from tests.readside.projecting import administering

Connection = psycopg.Connection[Any]

HIDE_OTHERS = {"no trigger", "a trigger for TRUNCATE only", "a function with its caller's rights"}
"""Where many are done at once, these would hide another, or be undone by it."""


@pytest.fixture(scope="module")
def superuser(postgres: Postgres, shared_ledger: str) -> Iterator[Connection]:
    with psycopg.connect(as_superuser(postgres, shared_ledger)) as connection:
        yield connection


def manipulate(connection: Connection, manipulation: Manipulation) -> None:
    row = connection.execute("select nspowner::regrole::text from pg_namespace where nspname = 'eventstore'").fetchone()
    assert row is not None
    connection.execute(manipulation.statement.replace("{owner}", row[0]).encode())


def is_said(manipulation: Manipulation, found: list[Missing]) -> bool:
    return any(guard.startswith(manipulation.said) for guard, _ in found)


def test_nothing_is_found_where_nothing_was_done(shared_ledger: str) -> None:
    assert missing_guards(as_role(shared_ledger, AUDITOR)) == []


@pytest.mark.parametrize("manipulation", [*MANIPULATIONS, *IN_READ], ids=lambda m: m.name)
def test_it_is_found(superuser: Connection, manipulation: Manipulation) -> None:
    try:
        manipulate(superuser, manipulation)
        found = missing_guards_on(superuser)
        assert is_said(manipulation, found), found
        told = list(guards.check(Patient(Settings(), superuser)))
        assert [(finding.problem, finding.mend) for finding in told] == [tuple(missing) for missing in found]
    finally:
        superuser.rollback()


@pytest.mark.parametrize("major", MAJORS)
def test_it_is_repaired_or_named(major: int) -> None:
    """By every version of the server, whose catalogs and whose way of writing definitions differ."""
    with servers(major) as rack:
        server = rack.primary()
        prepare(server.dsn)
        asked = as_role(server.dsn, AUDITOR)
        assert missing_guards(asked) == []
        with psycopg.connect(server.dsn_of("postgres")) as connection:
            connection.execute(STRANGER)
            for one in (*MANIPULATIONS, *IN_READ):
                if one.name not in HIDE_OTHERS:
                    manipulate(connection, one._replace(statement=one.statement.replace(STRANGER, "")))
        found = missing_guards(asked)
        assert {one.name for one in (*MANIPULATIONS, *IN_READ) if not is_said(one, found)} <= HIDE_OTHERS
        # Else the owner may not replace it.
        server.execute("alter view audit.command_log owner to foldbook", "foldbook")
        migrate(server.dsn, shard_count=1, is_forced=True)
        left = missing_guards(asked)
        repaired = [one for one in (*MANIPULATIONS, *IN_READ) if one.is_repaired]
        # The view runs the upcaster that is still there.
        assert [one.name for one in repaired if is_said(one, left)] == ["a view log that lies"]
        named = [one for one in (*MANIPULATIONS, *IN_READ) if not one.is_repaired and one.name not in HIDE_OTHERS]
        assert [one.name for one in named if not is_said(one, left)] == ["another owner"]
        assert [guard for guard, mend in left if mend == MIGRATE and "eventstore.log" not in guard] == []


def test_the_command_line_says_what_it_repaired_and_what_it_did_not(ledger: str, postgres: Postgres) -> None:
    repaired = next(m for m in MANIPULATIONS if m.name == "a view log that lies")
    named = next(m for m in MANIPULATIONS if m.name == "a trigger of somebody else")
    assert foldbook("audit", "verify", DATABASE_URL=ledger).returncode == 0
    with psycopg.connect(as_superuser(postgres, ledger)) as superuser:
        for manipulation in (repaired, named):
            manipulate(superuser, manipulation)
    verified = foldbook("audit", "verify", DATABASE_URL=ledger)
    assert verified.returncode == 5
    for manipulation in (repaired, named):
        assert f"not protected: {manipulation.said}" in verified.stderr
    migrated = foldbook("migrate", DATABASE_URL=ledger)
    assert migrated.returncode == 5
    assert f"repaired: {repaired.said}" in migrated.stderr
    assert f"not repaired: {named.said}" in migrated.stderr
    with psycopg.connect(ledger) as owner:
        owner.execute("drop trigger forge on eventstore.events")
    assert foldbook("migrate", DATABASE_URL=ledger).returncode == 0


async def test_what_the_engine_did_to_its_read_tables_is_found_and_a_rebuild_mends_it(ledger: str) -> None:
    with psycopg.connect(as_role(ledger, ENGINE)) as engine:
        engine.execute("create or replace view input_orders.log as select * from eventstore.log where false")
        engine.execute("alter function read.project_fills set search_path = public")
        engine.execute("alter table read.fills add column note text")
    assert {missing.mend for missing in missing_guards(ledger)} == {MIGRATE, REBUILD.format("fills")}
    async with administering(ledger) as admin:
        await admin.rebuild("fills")
    migrate(ledger, shard_count=1, is_forced=True)
    assert missing_guards(ledger) == []


def test_a_projection_that_waits_for_its_rebuild_is_named_and_not_compared(ledger: str) -> None:
    with psycopg.connect(ledger) as owner:
        owner.execute("update eventstore.projections set definition_hash = 'old' where name = 'orders'")
        owner.execute("alter table read.orders add column note text")
    (found,) = missing_guards(ledger)
    assert found.guard == "projection orders was not made by the program's files"


def test_what_others_may_only_read_is_theirs(ledger: str, postgres: Postgres) -> None:
    with psycopg.connect(as_superuser(postgres, ledger)) as superuser:
        superuser.execute(
            "grant usage on schema eventstore to pg_monitor; grant select on eventstore.log to pg_monitor"
        )
    assert missing_guards(ledger) == []
    migrate(ledger, shard_count=1, is_forced=True)
    with psycopg.connect(ledger) as owner:
        asked = "select has_schema_privilege('pg_monitor', 'eventstore', 'usage')"
        assert owner.execute(asked).fetchone() == (True,)


def test_where_no_reference_can_be_made_that_is_said(
    shared_ledger: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_server(*_: object) -> None:
        raise EmbeddedPostgresError("there is no server for this machine")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(reference, "EmbeddedPostgres", no_server)
    (found,) = missing_guards(shared_ledger)
    assert found.mend == ELSEWHERE
    assert "there is no server for this machine" in found.guard


def test_a_reference_that_others_could_have_written_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = Reference()
    (kept,) = (tmp_path / "foldbook").glob("reference-*.json")
    kept.write_bytes(kept.read_bytes().replace(b"refuse_change", b"refuse_nothing"))
    assert Reference().catalog != made.catalog  # whoever may write it may change the program, too
    kept.chmod(0o666)
    assert Reference().catalog == made.catalog


UNPINNED = """
select p.oid::regprocedure::text
from pg_proc p
where p.pronamespace = 'audit'::regnamespace
    and p.prokind <> 'a'
    and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)
"""


def test_every_function_of_the_audit_finds_the_same_names_for_everybody(shared_ledger: str) -> None:
    with psycopg.connect(shared_ledger) as connection:
        assert connection.execute(UNPINNED).fetchall() == []
