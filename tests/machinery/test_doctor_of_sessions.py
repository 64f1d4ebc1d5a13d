"""Doctor on what a server does to every session: the problem, why it matters, and a command that mends it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from foldbook.config import Settings
from foldbook.engine.doctor.examine import examine
from foldbook.engine.doctor.finding import Finding
from tests.conftest import prepare
from tests.machinery.servers import Server, servers


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with servers() as rack:
        server = rack.primary()
        prepare(server.dsn)
        yield server


def findings(dsn: str) -> list[Finding]:
    return examine(Settings(database_url=SecretStr(dsn))).findings


def test_a_good_database_has_none(server: Server) -> None:
    assert findings(server.dsn) == []


def test_a_server_that_forgets(server: Server) -> None:
    for name in ("fsync", "full_page_writes"):
        server.configure(**{name: "off"})
        (found,) = findings(server.dsn)
        assert name in found.problem and f"set {name} = on" in found.mend
        server.configure(**{name: "on"})
    assert findings(server.dsn) == []


def test_a_database_that_takes_nothing(server: Server) -> None:
    server.execute("alter database foldbook set default_transaction_read_only = on")
    (found,) = findings(server.dsn)
    assert "read-only" in found.problem and "503" in found.why
    server.execute("alter database foldbook reset default_transaction_read_only")
    assert findings(server.dsn) == []


def test_roles_that_are_not_separated(server: Server) -> None:
    server.execute("create role tenant login")
    server.execute("create database tenancy owner tenant")
    dsn = server.dsn_of("tenant", "tenancy")
    with psycopg.connect(dsn) as connection:
        connection.execute("select 1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.conftest.as_role", lambda url, _role: url)
        prepare(dsn)
    (found,) = findings(dsn)
    assert "not separated" in found.problem and "grant foldbook_engine, foldbook_auditor" in found.mend


def test_a_newer_program_and_a_session_that_is_refused(server: Server) -> None:
    server.execute("update eventstore.log_info set program = '99.0'", "foldbook")
    (found,) = findings(server.dsn)
    assert "99.0" in found.problem and "run 99.0 or newer" in found.mend
    server.execute("update eventstore.log_info set program = null", "foldbook")
    server.execute("alter role foldbook set session_replication_role = replica")
    (found,) = findings(server.dsn)
    assert "session_replication_role = replica" in found.problem and "reset" in found.mend
    server.execute("alter role foldbook reset all")


def test_a_projection_that_is_too_slow(server: Server) -> None:
    error = """jsonb_build_object('position', 1, 'sqlstate', '57014', 'message', 'a round took too long', 'events', 7,
        'attempts', 1, 'since', now())"""
    server.execute(f"update eventstore.subscriptions set error = {error} where name = 'orders'", "foldbook")
    (found,) = findings(server.dsn)
    assert "7 events" in found.problem and "smaller" in found.why and "projections status orders" in found.mend
    server.execute("update eventstore.subscriptions set error = null", "foldbook")
