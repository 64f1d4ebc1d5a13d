"""What bounds an auditor's login, who sets it, and what an auditor can lift again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from foldbook.config import Settings
from foldbook.engine.doctor.checks import auditors
from foldbook.engine.doctor.finding import Patient
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.embedded import PREPARE, EmbeddedPostgres
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import AUDITOR, ENGINE, OWNER
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place
from tests.conftest import embedded_postgres, prepare
from tests.machinery.servers import MAJORS, Server, servers
from tests.readside.projecting import caught_up, projecting


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """With a log, and an auditor's login of a person."""
    with servers(request.param) as rack:
        primary = rack.primary()
        migrate(primary.dsn, shard_count=1)
        primary.execute("create role dora login in role foldbook_auditor")
        primary.execute("grant create on schema public to public", "foldbook")
        yield primary


def findings(server: Server) -> list[str]:
    with psycopg.connect(server.dsn_of("dora")) as connection:
        return [found.problem for found in auditors.check(Patient(Settings(), connection))]


def test_a_superuser_bounds_every_auditor_and_nobody_else(server: Server) -> None:
    before = findings(server)
    assert [problem.split()[0] for problem in before] == ["dora", "dora", "dora"], before
    prepared = PREPARE.read_text()
    for _ in range(2):  # it can be run again
        server.execute(prepared, "foldbook")
    assert findings(server) == []

    with psycopg.connect(server.dsn_of("dora"), autocommit=True) as dora:
        for change in (
            "create temporary table mine (x integer)",
            "select lo_create(0)",
            "create table public.mine (x integer)",
            "create table read.mine (x integer)",
            "lock table eventstore.events in share mode",
            "set temp_file_limit = -1",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), dora.transaction():
                dora.execute(change.encode())
        limits = "select string_agg(setting, ' ' order by name) from pg_settings where name = any (%s)"
        names = ["temp_file_limit", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
        assert dora.execute(limits, [names]).fetchone() == ("60000 10000 900000 1048576",)
    connections = "select rolname, rolconnlimit from pg_roles where rolname ~ '^(dora|foldbook)'"
    assert sorted(server.execute(connections)) == [("dora", 16), (OWNER, -1), (AUDITOR, 16), (ENGINE, -1)]


def test_what_was_set_before_stays(server: Server) -> None:
    server.execute("create role eve login connection limit 3 in role foldbook_auditor")
    server.execute("alter role eve set statement_timeout = '2h'")
    server.execute(PREPARE.read_text(), "foldbook")
    ((limit, settings),) = server.execute("select rolconnlimit, rolconfig from pg_roles where rolname = 'eve'")
    assert limit == 3
    assert isinstance(settings, list)
    assert "statement_timeout=2h" in settings
    assert "temp_file_limit=1GB" in settings


def test_the_embedded_server_bounds_its_auditor() -> None:
    with embedded_postgres() as server:
        prepare(server.dsn)
        with psycopg.connect(server.dsn_of(AUDITOR)) as auditor:
            assert [*auditors.check(Patient(Settings(), auditor))] == []
            assert auditor.execute("show temp_file_limit").fetchone() == ("1GB",)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                auditor.execute("create temporary table mine (x integer)")


@pytest.fixture
def reading(own_postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """An auditor who has lifted the bounds that are only defaults, and holds every lock that there is for a reader."""
    with psycopg.connect(own_postgres.dsn_of(AUDITOR), application_name="long-audit") as auditor:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"):
            auditor.execute(f"set {name} = 0".encode())
        for schema in ("eventstore", "read"):
            tables = "select relname from pg_class where relkind = 'r' and relnamespace = %s::regnamespace"
            for (table,) in auditor.execute(tables, [schema]).fetchall():
                auditor.execute(f"lock table {schema}.{table} in access share mode".encode())
        yield auditor


@pytest.mark.usefixtures("reading")
async def test_the_engine_waits_for_no_auditor(own_postgres: EmbeddedPostgres) -> None:
    engine = own_postgres.dsn_of(ENGINE)
    store = PostgresStore(engine)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    async with projecting(engine):
        await bus.execute(open_account())
        await bus.execute(place("o-1"))
        await caught_up(engine)
    await bus.stop()
    await store.close()
