"""A session has what results, promises and hashes depend on, whatever database and role set; else it is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import sql

from foldbook.audit.verify import verify
from foldbook.cli.exits import Exit
from foldbook.errors import SessionRefused
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres import blocking, sessions
from foldbook.postgres.connection import connect, create_pool
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import ENGINE, OWNER, as_role
from foldbook.resources import ROOT
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place
from tests.conftest import prepare
from tests.machinery.cli import foldbook
from tests.machinery.servers import MAJORS, Server, servers
from tests.readside.projecting import assert_equal_to_fresh_folds, caught_up, projecting

BAD = {
    "synchronous_commit": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "300ms",
    "lock_timeout": "1ms",
    "idle_session_timeout": "300ms",
    "idle_in_transaction_session_timeout": "1ms",
    "search_path": "evil, pg_catalog",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "row_security": "on",
    "client_encoding": "LATIN1",
    "TimeZone": "Pacific/Chatham",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "lc_numeric": "POSIX",
    "lc_monetary": "POSIX",
    "lc_time": "POSIX",
    "xmlbinary": "hex",
    "xmloption": "document",
    "exit_on_error": "on",
    "plan_cache_mode": "force_custom_plan",
    "jit": "on",
    "tcp_keepalives_idle": "7200",
    "restrict_nonsystem_relation_kind": "view",
    "transaction_timeout": "300ms",
    "default_table_access_method": "evil",
    "client_min_messages": "error",
    "foldbook.slice": "1",
    "foldbook.slices": "2",
    "foldbook.planned_for": "1000000",
}
"""For each setting that is pinned, a value that changes a result, or breaks something."""

LEFT = {
    "default_transaction_read_only": "a fence, or a full disk: answered with 503, and doctor says so",
    "transaction_isolation transaction_read_only transaction_deferrable": "of a transaction",
    "default_tablespace temp_tablespaces": "where files are",
    "check_function_bodies": "a migration sets it",
    "lc_messages": "nobody reads messages but people",
    "escape_string_warning backslash_quote": "no string has a backslash (test_no_sql_depends_on_backslashes)",
    "default_toast_compression synchronize_seqscans": "the same values; where an order matters, it is stated",
    "password_encryption scram_iterations md5_password_warnings createrole_self_grant": "of logins, which others make",
    "default_text_search_config gin_fuzzy_search_limit gin_pending_list_limit lo_compat_privileges": "not used",
    "local_preload_libraries session_preload_libraries dynamic_library_path extension_control_path": "what is loaded",
    "event_triggers timezone_abbreviations icu_validation_level extension_destdir": "not used",
    "tcp_user_timeout client_connection_check_interval deadlock_timeout": "when something is noticed",
    **dict.fromkeys((f"vacuum_{what}_age" for what in ("failsafe", "multixact_failsafe")), "maintenance"),
    **dict.fromkeys((f"vacuum_freeze_{what}_age" for what in ("min", "table")), "maintenance"),
    **dict.fromkeys((f"vacuum_multixact_freeze_{what}_age" for what in ("min", "table")), "maintenance"),
}
LEFT_CATEGORIES = (
    *("Resource Usage", "Query Tuning", "Reporting and Logging", "Statistics", "Developer Options", "Vacuuming"),
    *("Replication", "Preset Options", "Customized Options", "Process Title", "Write-Ahead Log"),
)
"""Memory, plans and logs are the operator's."""


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with servers(request.param) as rack:
        server = rack.primary()
        # Before it starts to be bad: an access method, and operators that lie.
        server.execute("create access method evil type table handler heap_tableam_handler", "foldbook")
        yield server


def known(server: Server) -> dict[str, str]:
    """Those of ``BAD`` that this version has, and our own."""
    names = {name for (name,) in server.execute("select name from pg_settings")}
    return {name: value for name, value in BAD.items() if name in names or "." in name}


@pytest.fixture
def spoilt(server: Server) -> Iterator[Server]:
    """A database with every bad setting, and a login with them."""
    with psycopg.connect(server.superuser_dsn, autocommit=True) as superuser:
        superuser.execute(f"create database spoilt owner {OWNER}".encode())
        for name, value in known(server).items():
            parts = [sql.Literal(part) for part in (value.split(", ") if name == "search_path" else [value])]
            for place in (sql.SQL("database spoilt"), sql.SQL("role {}").format(sql.Identifier(OWNER))):
                statement = sql.SQL("alter {} set {} = {}")
                superuser.execute(statement.format(place, sql.Identifier(name), sql.SQL(", ").join(parts)))
        superuser.execute(f"grant pg_monitor to {OWNER}".encode())
        yield server
        superuser.execute(f"alter role {OWNER} reset all".encode())
        superuser.execute("drop database spoilt with (force)")


def test_every_pinned_setting_has_a_bad_value_here() -> None:
    assert {*sessions.PINNED, "jit", "tcp_keepalives_idle"} == {*BAD}


def test_everything_works_where_everything_is_set_badly(spoilt: Server) -> None:
    """Migration, engine, projector, verification, with upcasters: the same log as anywhere."""
    dsn = spoilt.dsn_of(OWNER, "spoilt")
    prepare(dsn)
    asyncio.run(_trade(as_role(dsn, ENGINE)))
    with blocking.connect(dsn) as connection:
        found = connection.execute("select versions from eventstore.upcaster_chain()").fetchall()
        assert connection.execute("select count(*) from eventstore.events").fetchone() == (21,)
    with psycopg.connect(dsn, autocommit=True) as connection:  # somebody's psql, with all of it
        assert connection.execute("select versions from eventstore.upcaster_chain()").fetchall() == found


async def _trade(dsn: str) -> None:
    store = PostgresStore(dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    async with projecting(dsn):
        await bus.execute(open_account())
        for number in range(20):
            await bus.execute(place(f"o-{number}"))
        await caught_up(dsn)
    await bus.stop()
    await store.close()
    await assert_equal_to_fresh_folds(dsn, ["orders"])
    report = await verify(dsn)
    assert report.ok and not report.missing_guards


@pytest.mark.parametrize("library", ["asyncpg", "pool", "psycopg"])
def test_a_session_has_what_is_pinned(spoilt: Server, library: str) -> None:
    dsn = as_role(spoilt.dsn_of(OWNER, "spoilt"), "pg_monitor")
    names = [name for name in sessions.PINNED if name in known(spoilt)]
    found = dict(zip(names, _ask(library, dsn, names), strict=True))
    assert found == {name: sessions.PINNED[name] for name in names}
    assert _ask(library, dsn, ["role", "jit"]) == ["pg_monitor", "off"]


def _ask(library: str, dsn: str, names: list[str]) -> list[Any]:
    question = "select current_setting(name) from unnest({}::text[]) with ordinality s (name, n) order by n"

    async def ask() -> list[Any]:
        if library == "asyncpg":
            connection = await connect(dsn)
            rows = await connection.fetch(question.format("$1"), names)
            await connection.close()
        else:
            pool = await create_pool(dsn, min_size=1, max_size=1)
            for _ in range(3):  # what is returned to the pool stays as it is
                rows = await pool.fetch(question.format("$1"), names)
            await pool.close()
        return [row[0] for row in rows]

    if library != "psycopg":
        return asyncio.run(ask())
    with blocking.connect(dsn) as connection:
        connection.execute("select 1")
        connection.rollback()  # what a transaction sets ends with it
        return [row[0] for row in connection.execute(question.format("%s").encode(), [names])]


def test_a_stronger_commit_is_not_weakened(server: Server) -> None:
    for given, kept in (("remote_apply", "remote_apply"), ("remote_write", "on"), ("local", "on")):
        server.execute(f"alter role {OWNER} set synchronous_commit = {given}")
        assert _ask("asyncpg", server.dsn, ["synchronous_commit"]) == [kept]
        assert _ask("psycopg", server.dsn, ["synchronous_commit"]) == [kept]
    server.execute(f"alter role {OWNER} reset all")


@pytest.mark.parametrize("name", ["session_replication_role", "zero_damaged_pages", "ignore_checksum_failure"])
def test_what_only_a_superuser_can_set_is_refused_by_name(server: Server, name: str) -> None:
    server.execute(f"alter role {OWNER} set {name} = {'replica' if name.startswith('session') else 'on'}")
    try:
        for attempt in (lambda: asyncio.run(_open(server.dsn)), lambda: blocking.connect(server.dsn)):
            with pytest.raises(SessionRefused, match=f"{name}.*alter role … reset {name}"):
                attempt()
    finally:
        server.execute(f"alter role {OWNER} reset all")


async def _open(dsn: str) -> None:
    (await connect(dsn)).terminate()


def test_a_setting_that_something_resets_is_refused_by_name() -> None:
    """As a proxy does that filters or rewrites statements."""
    asked = sessions.wanted({}, {}, ENGINE)
    good = {**sessions.PINNED, **{name: values[0] for name, values in sessions.REQUIRED.items()}}
    for name, value in {**BAD, "session_replication_role": "replica", "server_encoding": "LATIN1"}.items():
        values = [({**good, name: value})[each] for each in asked.to_look_at]
        if name in ("jit", "tcp_keepalives_idle"):
            continue
        with pytest.raises(SessionRefused, match=name):
            sessions.check(asked, sessions.Found(ENGINE, 1, values, False))
    values = [good[each] for each in asked.to_look_at]
    with pytest.raises(SessionRefused, match=f"runs as {OWNER} and not as {ENGINE}"):
        sessions.check(asked, sessions.Found(OWNER, 1, values, False))
    sessions.check(asked, sessions.Found(ENGINE, 1, values, False))
    unknown = [None if each == "transaction_timeout" else good[each] for each in asked.to_look_at]
    sessions.check(asked, sessions.Found(ENGINE, 1, unknown, False))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_another_encoding_than_utf8_is_refused(server: Server, encoding: str) -> None:
    server.execute(f"create database other owner {OWNER} encoding '{encoding}' locale 'C' template template0")
    dsn = server.dsn_of(OWNER, "other")
    try:
        with pytest.raises(SessionRefused, match=f"server_encoding = {encoding}.*encoding 'UTF8'"):
            migrate(dsn, shard_count=1)
        with pytest.raises(SessionRefused, match="UTF8"):
            asyncio.run(_open(dsn))
        if encoding == "LATIN1":
            return
        doctor = foldbook("doctor", DATABASE_URL=dsn)
        assert (doctor.returncode, "encoding 'UTF8' template template0" in doctor.stdout) == (Exit.UNWELL, True)
        assert foldbook("migrate", DATABASE_URL=dsn).returncode == Exit.UNREACHABLE
    finally:
        server.execute("drop database other with (force)")


def test_rows_that_a_policy_hides_are_an_error_and_not_a_smaller_result(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("alter table eventstore.events enable row level security")
        connection.execute("create policy few on eventstore.events for select to foldbook_engine using (position < 0)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        asyncio.run(_count(as_role(database, ENGINE)))


async def _count(dsn: str) -> None:
    connection = await connect(dsn)
    try:
        await connection.fetch("select * from eventstore.events")
    finally:
        connection.terminate()


@pytest.mark.parametrize("major", MAJORS)
def test_a_killed_server_loses_no_order_where_commits_are_asynchronous(major: int) -> None:
    """60 orders, answered one by one; the server is killed at the last answer."""
    with servers(major, {"wal_writer_delay": "10s"}) as rack:
        server = rack.primary()
        prepare(server.dsn)
        for where in ("database foldbook", f"role {OWNER}", "role foldbook_engine"):
            server.execute(f"alter {where} set synchronous_commit = off")
        server.configure(synchronous_commit="off")

        async def order() -> None:
            store = PostgresStore(as_role(server.dsn, ENGINE))
            bus = CommandBus(store, ORDER_BOOK)
            await bus.start()
            await bus.execute(open_account())
            for number in range(60):
                await bus.execute(place(f"o-{number}"))
            server.kill()
            await store.close()
            await bus.stop()

        asyncio.run(order())
        server.start()
        ((found,),) = server.execute("select count(*) from eventstore.events", "foldbook")
        assert found == 61


def test_every_setting_of_a_session_is_decided_on(server: Server) -> None:
    """A newer PostgreSQL has settings that nobody has thought about: this names them."""
    decided = {name.lower() for name in (*sessions.PINNED, *sessions.PREFERRED, *sessions.REQUIRED)}
    left = {word for words in LEFT for word in words.split()}
    found = server.execute("select name, category from pg_settings where context ~ 'user|backend'")
    open_questions = [
        name
        for name, category in found
        if str(name).lower() not in decided and name not in left and not str(category).startswith(LEFT_CATEGORIES)
    ]
    assert open_questions == []


def test_every_setting_of_our_own_is_pinned() -> None:
    """Anybody can set one, with any value: for a database, a login, or a session that a pooler hands on."""
    read = re.compile(r"current_setting\(\s*'(\w+\.\w+)'")
    sources = [*(ROOT / "sql").rglob("*.sql"), *(ROOT / "app").rglob("*.py"), *(ROOT / "app").rglob("*.sql")]
    found = {name for path in sources for name in read.findall(path.read_text())}
    assert found - {"foldbook.code_schemas"} == {name for name in sessions.PINNED if "." in name}
    assert "foldbook.code_schemas" in found, "a migration sets it in the transaction that reads it"


def test_no_sql_depends_on_backslashes() -> None:
    """standard_conforming_strings says what a backslash in a string means, also in somebody's psql."""
    for path in (ROOT / "sql").rglob("*.sql"):
        for line in path.read_text().splitlines():
            code = line.partition("--")[0]
            assert "\\" not in code.replace("E'\\n", ""), f"{path.name}: {line}"
