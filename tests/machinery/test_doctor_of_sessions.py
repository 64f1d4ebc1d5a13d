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


def found_by(words: str, dsn: str) -> Finding:
    """The one finding whose problem says that."""
    (found,) = [finding for finding in findings(dsn) if words in finding.problem]
    return found


def test_a_good_database_has_none(server: Server) -> None:
    assert findings(server.dsn) == []


def test_a_server_that_forgets(server: Server) -> None:
    for name in ("fsync", "full_page_writes"):
        server.configure(**{name: "off"})
        assert f"set {name} = on" in found_by(name, server.dsn).mend
        server.configure(**{name: "on"})
    assert findings(server.dsn) == []


def test_a_database_that_takes_nothing(server: Server) -> None:
    server.execute("alter database foldbook set default_transaction_read_only = on")
    assert "503" in found_by("default_transaction_read_only", server.dsn).why
    server.execute("begin read write; alter database foldbook reset default_transaction_read_only; commit")
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
    assert "grant foldbook_engine, foldbook_auditor" in found_by("not separated", dsn).mend


def test_a_newer_program_and_a_session_that_is_refused(server: Server) -> None:
    server.execute("update eventstore.log_info set program = '99.0'", "foldbook")
    assert "run 99.0 or newer" in found_by("99.0", server.dsn).mend
    server.execute("update eventstore.log_info set program = null", "foldbook")
    server.execute("alter role foldbook set session_replication_role = replica")
    assert "reset" in found_by("session_replication_role = replica", server.dsn).mend
    server.execute("alter role foldbook reset all")


def test_a_projection_that_is_too_slow(server: Server) -> None:
    error = """jsonb_build_object('position', 1, 'sqlstate', '57014', 'message', 'a round took too long', 'events', 7,
        'attempts', 1, 'since', now())"""
    server.execute(f"update eventstore.subscriptions set error = {error} where name = 'orders'", "foldbook")
    found = found_by("7 events", server.dsn)
    assert "smaller" in found.why and "projections status orders" in found.mend
    server.execute("update eventstore.subscriptions set error = null", "foldbook")
