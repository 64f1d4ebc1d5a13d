"""Doctor names who holds what, and what ends it; asked as an auditor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

import foldbook.engine.doctor.checks.holding as holding_check
import foldbook.engine.doctor.checks.writing as writing_check
from foldbook.config import Settings
from foldbook.engine.doctor.checks import clocks, holding, writing
from foldbook.engine.doctor.examine import unreachable
from foldbook.engine.doctor.finding import Check, Finding, Patient
from foldbook.postgres.roles import AUDITOR, as_role
from tests.conftest import prepare
from tests.machinery.servers import MAJORS, Server, servers
from tests.waiting import block_until

SECRET = "hunter2"


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    settings = {"max_prepared_transactions": "4", "wal_level": "logical", "max_connections": "30"}
    with servers(request.param, settings) as rack:
        primary = rack.primary()
        prepare(primary.dsn)
        primary.execute(f"alter role {AUDITOR} login")
        yield primary


def findings(server: Server, check: Check) -> list[Finding]:
    with psycopg.connect(as_role(server.dsn, AUDITOR), autocommit=True) as connection:
        return list(check(Patient(Settings(database_url=SecretStr(server.dsn)), connection)))


def found(server: Server, check: Check, says: Callable[[Finding], bool]) -> Finding:
    """The finding that there is, or will be in a moment."""
    told: list[Finding] = []

    def is_there() -> bool:
        with suppress(psycopg.OperationalError):  # until there is a connection again
            told[:] = [finding for finding in findings(server, check) if says(finding)]
        return len(told) > 0

    block_until(is_there)
    return told[0]


@pytest.fixture
def other(server: Server) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(server.dsn, application_name="somebody")) as connection:
        yield connection


def test_nothing_is_wrong(server: Server) -> None:
    assert [
        finding for check in (holding.check, writing.check, clocks.check) for finding in findings(server, check)
    ] == []


def test_who_holds_the_writers_lock(server: Server, other: psycopg.Connection[Any]) -> None:
    other.execute("select eventstore.lock_shard(0)")
    other.execute("lock table eventstore.commits in row exclusive mode")
    finding = found(server, holding.check, lambda finding: "writer's lock" in finding.problem)
    assert f"session {other.info.backend_pid} of foldbook (somebody, 127.0.0.1)" in finding.problem
    assert "lock table eventstore.commits" in finding.problem
    assert f"pg_terminate_backend({other.info.backend_pid})" in finding.mend and "--owner" in finding.mend


def test_whom_others_wait_for(server: Server, other: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_check, "STUCK_S", 0.0)
    with closing(psycopg.connect(server.dsn_of(AUDITOR))) as auditor:
        auditor.execute("lock table read.orders in access share mode")
        foldbook = server.dsn_of("postgres", "foldbook")
        with psycopg.connect(foldbook) as waiting, ThreadPoolExecutor(1) as thread:
            drop = thread.submit(waiting.execute, "lock table read.orders in access exclusive mode")
            finding = found(server, holding.check, lambda finding: "sessions wait for" in finding.problem)
            waiting.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                drop.result()
        assert f"1 sessions wait for session {auditor.info.backend_pid} of {AUDITOR}" in finding.problem


def test_a_long_transaction(server: Server, other: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_check, "LONG_S", 0.0)
    other.execute("create temporary table secrets (word text)")
    other.execute(f"insert into secrets values ('{SECRET}')".encode())
    finding = found(server, holding.check, lambda finding: "lasted for long" in finding.problem)
    assert (
        f"session {other.info.backend_pid} of foldbook (somebody, 127.0.0.1), in a transaction for" in finding.problem
    )
    assert "idle in transaction: insert into secrets" in finding.problem
    assert SECRET not in str(finding)


def test_a_prepared_transaction(server: Server, other: psycopg.Connection[Any]) -> None:
    other.execute("select pg_current_xact_id()")
    other.execute("prepare transaction 'who''s'")
    finding = found(server, holding.check, lambda finding: "prepared" in finding.problem)
    assert "rollback prepared 'who''s'" in finding.mend
    server.execute("rollback prepared 'who''s'", "foldbook")


def test_a_full_table_of_locks(server: Server, other: psycopg.Connection[Any]) -> None:
    other.execute("select count(pg_advisory_lock(n)) from generate_series(1, 1000) n")
    finding = found(server, holding.check, lambda finding: "locks of the" in finding.problem)
    assert f"session {other.info.backend_pid} of foldbook" in finding.problem


def test_connections_that_run_out(server: Server) -> None:
    taken: list[psycopg.Connection[Any]] = []
    try:
        with pytest.raises(psycopg.OperationalError) as refused:
            while True:
                taken.append(psycopg.connect(server.dsn, application_name="greedy"))
        assert "max_connections" in unreachable(str(refused.value)).mend
        taken.pop().close()
        finding = found(server, holding.check, lambda finding: "connections to the server are left" in finding.problem)
        assert f"{len(taken)} of foldbook (greedy)" in finding.problem
    finally:
        for connection in taken:
            connection.close()


def test_a_slot_that_keeps_the_wal(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_check, "KEPT_BYTES_MAX", 0)
    server.execute("select pg_create_physical_replication_slot('forgotten', true)")
    server.execute("create table more (x integer)")
    finding = found(server, writing.check, lambda finding: "forgotten" in finding.problem)
    assert "pg_drop_replication_slot('forgotten')" in finding.mend
    server.execute("select pg_drop_replication_slot('forgotten')")


def test_commits_that_wait_for_nobody(server: Server) -> None:
    server.configure(synchronous_standby_names="nobody")
    try:
        finding = found(server, writing.check, lambda finding: "wait for replicas" in finding.problem)
        assert "(nobody)" in finding.problem
    finally:
        server.execute("alter system reset synchronous_standby_names")
        server.execute("select pg_reload_conf()")


def test_sessions_that_are_read_only(server: Server) -> None:
    server.execute("alter database foldbook set default_transaction_read_only = on")
    try:
        assert found(server, writing.check, lambda finding: "read-only" in finding.problem)
    finally:
        server.execute("alter database foldbook reset default_transaction_read_only")


def test_a_clock_that_was_ahead(server: Server, other: psycopg.Connection[Any]) -> None:
    other.execute(
        "insert into eventstore.commits select 0, 1, 1, 0, clock_timestamp() + interval '1 hour', h.hash, h.hash"
        " from eventstore.head(0) h"
    )
    other.execute(
        "insert into eventstore.leases select 'gateway:x', 1, 'me', now(), t, t"
        " from (values (now() + interval '1 hour')) v (t)"
    )
    other.commit()
    try:
        told = findings(server, clocks.check)
        assert "ahead of the server's" in told[0].problem
        assert "the lease gateway:x was taken" in told[1].problem
    finally:
        server.execute("delete from eventstore.leases", "foldbook")
        server.execute("alter table eventstore.commits disable trigger refuse_change", "foldbook")
        server.execute("delete from eventstore.commits", "foldbook")
        server.execute("alter table eventstore.commits enable always trigger refuse_change", "foldbook")
