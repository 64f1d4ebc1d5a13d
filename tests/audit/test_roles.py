"""The engine can write the log through one function, auditors can read it, and neither can do more."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from foldbook.audit.verify import verify
from foldbook.errors import FoldbookError
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.connection import connect
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role, as_role_if_separated
from foldbook.trading.book import ORDER_BOOK
from tests.audit.conftest import as_superuser
from tests.builders import open_account, place, trade
from tests.conftest import Postgres, embedded_postgres
from tests.readside.projecting import NAMES, administering, assert_equal_to_fresh_folds, caught_up, projecting

LOG = ("events", "commands", "commits")
CHANGES = [
    statement.format(table)
    for table in LOG
    for statement in (
        "insert into eventstore.{0} select * from eventstore.{0} limit 0",
        "update eventstore.{} set shard = 1 where false",
        "delete from eventstore.{} where false",
        "truncate eventstore.{}",
        "alter table eventstore.{} disable trigger refuse_change",
        "drop table eventstore.{}",
    )
]
APPEND = "select eventstore.append(0" + 17 * ", '{}'" + ")"
ELSEWHERE = [
    "update eventstore.log_info set shard_count = 2",
    "delete from eventstore.code",
    "create table eventstore.mine (x integer)",
    "create schema mine",
    "create role mine",
    "create or replace function eventstore.shard_of(text) returns integer language sql return 1",
    "copy eventstore.events to program 'true'",
    "set role {superuser}",
    "set role pg_execute_server_program",
    "select lo_import('/etc/passwd')",
]


def ask(dsn: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(question.encode()).fetchall()


@pytest.mark.parametrize("change", [*CHANGES, *ELSEWHERE])
@pytest.mark.parametrize("role", [ENGINE, AUDITOR])
def test_what_neither_may(shared_ledger: str, postgres: Postgres, role: str, change: str) -> None:
    """As the role itself, not as a member who took it on and could drop it again."""
    with psycopg.connect(as_superuser(postgres, shared_ledger)) as connection:
        superuser = '"' + connection.info.user + '"'
        connection.execute(f"set session authorization {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(change.replace("{superuser}", superuser).encode())


@pytest.mark.parametrize(
    "change",
    [
        "insert into eventstore.subscriptions values (0, 'mine')",
        "delete from read.orders",
        "create table read.mine (x integer)",
        "select eventstore.projection_make_schema('rebuild', 'orders')",
        APPEND,
        "select eventstore.acquire_lease('mine', 'me', 1000)",
        "select eventstore.prove_writable(0, 1000)",
        "select eventstore.projection_end_readers('orders', 0)",
        "select eventstore.projection_take_turn('orders')",
        "select brokers.move_cursors('{a}', '{b}')",
        "select brokers.request_reconciliation('alice/binance/simulated')",
        "insert into brokers.cursors values ('a', 'b')",
    ],
)
def test_what_an_auditor_may_not(shared_ledger: str, change: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(as_role(shared_ledger, AUDITOR), change)


def test_what_a_stranger_may_not(shared_ledger: str, postgres: Postgres) -> None:
    with psycopg.connect(as_superuser(postgres, shared_ledger)) as connection:
        connection.execute("create role stranger")
        connection.execute("set role stranger")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from eventstore.events")


@pytest.mark.parametrize(
    "question",
    [
        "select count(*) from eventstore.events",
        "select count(*) from eventstore.log",
        "select count(*) from audit.command_log",
        "select count(*) from read.orders",
        "select * from audit.verify_commits(0, 1, 12)",
        "select * from audit.verify_ends(0)",
        "select audit.summarize_commands()",
        "select * from audit.missing_guards",
        "select * from audit.order_history('alice/binance/simulated', 'a-1')",
        "select * from audit.events_between('-infinity', 'infinity')",
        "select * from audit.export_events(0, 0, 10)",
        "select * from eventstore.lease_status('')",
        "select * from eventstore.projection_status()",
        "select * from eventstore.clock_ahead()",
        "select * from audit.sessions()",
        "select * from audit.writer_lock_holders()",
        "select * from audit.clock_steps()",
        "select brokers.query_doubts(null, 10)",
    ],
)
def test_what_an_auditor_may(shared_ledger: str, question: str) -> None:
    assert ask(as_role(shared_ledger, AUDITOR), question) is not None


def test_functions_with_more_rights_than_their_caller_look_nowhere_else(shared_ledger: str) -> None:
    loose = """
        select p.oid::regprocedure
        from pg_proc p
        where p.prosecdef
            and p.pronamespace in (
                'eventstore'::regnamespace, 'audit'::regnamespace, 'read'::regnamespace, 'brokers'::regnamespace
            )
            and not coalesce(p.proconfig, '{}') @> '{"search_path=pg_catalog, pg_temp"}'
    """
    assert ask(shared_ledger, loose) == []
    named = "select count(*) from pg_proc where prosecdef and pronamespace = 'eventstore'::regnamespace"
    assert ask(shared_ledger, named) == [(12,)], "append thrice, its proof, leases, losses, snapshots, projections"


async def test_nobody_else_can_hold_the_lock_of_a_shard(database: str) -> None:
    for role in (AUDITOR, ENGINE):
        for statement in (
            "select from eventstore.shards for key share",
            "select from eventstore.shards for no key update",
            "select eventstore.lock_shard(0)",
            "lock table eventstore.shards in row exclusive mode",
            "lock table eventstore.commits in row exclusive mode",
        ):
            with psycopg.connect(as_role(database, role)) as connection, pytest.raises(InsufficientPrivilege):
                connection.execute(statement.encode())
    with psycopg.connect(as_role(database, AUDITOR)) as connection:
        connection.execute("select pg_advisory_lock(1178553163, 0)")
        connection.execute("select pg_advisory_lock(1178553162)")
        store = PostgresStore(as_role(database, ENGINE))
        bus = CommandBus(store, ORDER_BOOK)
        await bus.start()
        assert (await bus.execute(open_account())).position == 1
        await bus.stop()
        await store.close()


async def test_the_engine_trades_projects_and_rebuilds(database: str) -> None:
    engine = as_role(database, ENGINE)
    await trade_and_project(engine)
    assert ask(as_role(database, AUDITOR), "select count(*) from read.orders") == [(5,)], "after a rebuild, too"
    assert (await verify(engine)).ok
    owners = "select distinct relowner::regrole::text from pg_class where relnamespace = 'read'::regnamespace"
    assert ask(database, owners) == [(ENGINE,)]


async def trade_and_project(engine: str) -> None:
    """Five orders, and every read table made in each of the ways there are."""
    store = PostgresStore(engine)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    for n in range(5):
        await bus.execute(place(f"o-{n}"))
        await bus.execute(trade(f"e-{n}", "1", order_id=f"o-{n}"))
    await bus.stop()
    await store.close()
    async with projecting(engine):
        await caught_up(engine)
        async with administering(engine) as admin:
            for name in NAMES:
                await admin.rebuild(name)
                await admin.reset(name)
        await caught_up(engine)
    await assert_equal_to_fresh_folds(engine)


def test_read_tables_that_somebody_else_made_become_the_engine_s(database: str) -> None:
    owner = ask(database, "select current_user::text")[0][0]
    with psycopg.connect(database) as connection:
        connection.execute(f"alter table read.orders owner to {owner}".encode())
        connection.execute(f"alter function read.project_orders owner to {owner}".encode())
    migrate(database, shard_count=1)
    owners = """
        select relowner::regrole::text from pg_class where oid = 'read.orders'::regclass
        union
        select proowner::regrole::text from pg_proc where proname = 'project_orders'
    """
    assert ask(database, owners) == [(ENGINE,)]


def test_a_cluster_older_than_a_role_gets_it(own_postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(own_postgres.superuser_dsn.replace("/postgres?", "/foldbook?"), autocommit=True) as superuser:
        superuser.execute("reassign owned by foldbook_engine, foldbook_auditor to foldbook")
        superuser.execute("drop owned by foldbook_engine")
        superuser.execute("drop owned by foldbook_auditor")
        superuser.execute("drop role foldbook_engine, foldbook_auditor")
    own_postgres.stop()
    for role in (ENGINE, AUDITOR):
        own_postgres.password_file(role).unlink()
    own_postgres.start()
    assert migrate(own_postgres.dsn, shard_count=1)
    assert ask(own_postgres.dsn_of(ENGINE), "select current_user::text, session_user::text") == [(ENGINE, ENGINE)]
    assert ask(own_postgres.dsn_of(AUDITOR), "select count(*) from eventstore.events") == [(0,)]


@pytest.mark.parametrize(
    ("copy", "projection", "is_made"),
    [
        ("rebuild", "orders", True),
        ("verify", "fills", True),
        ("rebuild", "nothing", False),
        ("foldbook", "auditor", False),
        ("pg", "temp", False),
        (None, "orders", False),
        ("rebuild", None, False),
    ],
)
def test_the_engine_makes_no_schema_but_its_projections(
    shared_ledger: str, postgres: Postgres, copy: str | None, projection: str | None, is_made: bool
) -> None:
    """One of another name could be in the search_path of whoever has more rights: `"$user"` is, by default."""
    with psycopg.connect(as_superuser(postgres, shared_ledger)) as connection:
        connection.execute(f"set session authorization {ENGINE}".encode())
        question = "select eventstore.projection_make_schema(%s, %s)"
        if is_made:
            connection.execute(question, [copy, projection])
        else:
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(question, [copy, projection])
            assert refused.value.sqlstate == "FB030"
        connection.rollback()


def test_a_url_takes_on_a_role_beside_its_other_options() -> None:
    url = "postgresql://me:p%40ss@h1:1/db?options=-c%20jit%3Doff&host=%2Ftmp%2Fa%20b"
    assert as_role(url, ENGINE) == (
        "postgresql://me:p%40ss@h1:1/db?host=%2Ftmp%2Fa%20b&options=-c%20jit%3Doff%20-c%20role%3Dfoldbook_engine"
    )


def test_roles_are_created_once_by_a_login_that_may() -> None:
    """On a server without the roles: three databases are migrated at once, one of them by a mere tenant."""
    with embedded_postgres() as server:
        with psycopg.connect(server.superuser_dsn, autocommit=True) as superuser:
            superuser.execute("drop role foldbook_engine, foldbook_auditor")
            superuser.execute("alter role foldbook createrole")
            superuser.execute("create role tenant login password 'x'")
            superuser.execute("create database tenancy owner tenant")
            for name in ("one", "two", "three"):
                superuser.execute(f"create database {name} owner foldbook".encode())

        tenant = server.dsn.replace("foldbook@/foldbook", "tenant:x@/tenancy")
        assert not migrate(tenant, shard_count=1), "he may not make them, and nobody has"
        assert as_role_if_separated(tenant, ENGINE) == tenant
        with pytest.raises(FoldbookError, match="foldbook migrate"):
            asyncio.run(connect(as_role(tenant, ENGINE)))
        asyncio.run(trade_and_project(tenant))

        dsns = [server.dsn.replace("@/foldbook", f"@/{name}") for name in ("one", "two", "three")]
        migrations = [
            subprocess.Popen([sys.executable, "-m", "foldbook.cli", "migrate"], env=os.environ | {"DATABASE_URL": dsn})
            for dsn in dsns
        ]
        assert [migration.wait(60) for migration in migrations] == [0, 0, 0]
        for dsn in dsns:
            assert ask(as_role(dsn, ENGINE), "select shard_count from eventstore.log_info") == [(1,)]

        assert not migrate(tenant, shard_count=1), "they are there, and not for him"
        with psycopg.connect(server.superuser_dsn, autocommit=True) as superuser:
            superuser.execute("grant foldbook_engine, foldbook_auditor to tenant")
        assert as_role_if_separated(tenant, ENGINE) == tenant, "he may, and the engine has not been given anything yet"
        assert migrate(tenant, shard_count=1)
        assert as_role_if_separated(tenant, ENGINE) == as_role(tenant, ENGINE)
        assert ask(as_role(tenant, ENGINE), "select count(*) from read.orders") == [(5,)]
        asyncio.run(assert_equal_to_fresh_folds(as_role(tenant, ENGINE)))

        with psycopg.connect(server.superuser_dsn, autocommit=True) as superuser:
            superuser.execute("revoke foldbook_engine from tenant")
        with pytest.raises(FoldbookError, match="grant foldbook_engine, foldbook_auditor to tenant"):
            migrate(tenant, shard_count=1)
