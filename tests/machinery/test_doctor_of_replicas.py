"""A commit that waits for a replica: doctor tells of the replicas, and names no session to be ended in vain."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from pydantic import SecretStr

import foldbook.engine.doctor.checks.holding as holding_check
from foldbook.config import Settings
from foldbook.engine.doctor.checks import holding, writing
from foldbook.engine.doctor.finding import Finding, Patient
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role
from tests.conftest import prepare
from tests.machinery.servers import MAJORS, Rack, Server, servers
from tests.waiting import block_until

PROVE = "select eventstore.prove_writable(0, 60000)"
"""Takes the writer's lock and commits, as an append does."""
WAITING = """
select case when wait_event = 'SyncRep' then wait_event else wait_event_type end
from pg_stat_activity
where wait_event = 'SyncRep' or wait_event_type = 'Lock'
order by 1
"""


@pytest.fixture(scope="module", params=MAJORS)
def rack(request: pytest.FixtureRequest) -> Iterator[Rack]:
    with servers(request.param) as rack:
        yield rack


@pytest.fixture(scope="module")
def primary(rack: Rack) -> Server:
    """With a replica s2."""
    primary = rack.primary()
    prepare(primary.dsn)
    rack.replica(primary, "s2")
    return primary


def findings(server: Server) -> list[Finding]:
    with psycopg.connect(as_role(server.dsn, AUDITOR), autocommit=True) as connection:
        patient = Patient(Settings(database_url=SecretStr(server.dsn)), connection)
        return [finding for check in (writing.check, holding.check) for finding in check(patient)]


@contextmanager
def committing(server: Server) -> Iterator[None]:
    """Two engines commit, and wait: one for the replicas, the other for the first."""

    def commit() -> None:
        with psycopg.connect(as_role(server.dsn, ENGINE), autocommit=True) as connection:
            connection.execute(PROVE)

    def are_waiting() -> bool:
        return server.execute(WAITING) == [("Lock",), ("SyncRep",)]

    with ThreadPoolExecutor(2) as threads:
        commits = [threads.submit(commit) for _ in range(2)]
        try:
            block_until(are_waiting)
            yield
        finally:
            server.execute("alter system reset synchronous_standby_names")
            server.execute("select pg_reload_conf()")
            for each in commits:
                each.result()


@pytest.mark.parametrize("names", ["FIRST 1 (s1)", "ANY 2 (s1, s2)"])
def test_another_replica_is_attached(primary: Server, names: str) -> None:
    primary.configure(synchronous_standby_names=names)
    with committing(primary):
        told: list[Finding] = []

        def is_told() -> bool:
            told[:] = findings(primary)
            return len(told) > 0

        block_until(is_told)
        (finding,) = told
    assert finding.problem.startswith(f"commits wait for replicas ({names}), and those that are connected")
    assert "not enough: s2; 1 sessions wait" in finding.problem
    assert "pg_terminate_backend" not in finding.mend and "synchronous_standby_names" in finding.mend
    assert findings(primary) == []


def test_nobody_who_waits_for_a_replica_is_to_be_ended(primary: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_check, "STUCK_S", 0.0)
    monkeypatch.setattr(holding_check, "LONG_S", 0.0)
    primary.configure(synchronous_standby_names="s1")
    with committing(primary):
        ends = [finding for finding in findings(primary) if "pg_terminate_backend" in finding.mend]
        waiting = primary.execute("select pid from pg_stat_activity where wait_event = 'SyncRep'")
        assert len(waiting) == 1
        assert not [finding for finding in ends if f"pg_terminate_backend({waiting[0][0]})" in finding.mend]


def test_before_anybody_waits(primary: Server) -> None:
    """If the owner may see whether a replica is synchronous."""
    primary.execute("grant pg_read_all_stats to foldbook")
    try:
        for names, is_enough in (("s1", False), ("s2", True), ("ANY 1 (s1, s2)", True)):
            primary.configure(synchronous_standby_names=names)
            block_until(lambda expected=is_enough: (findings(primary) == []) is expected)  # type: ignore[misc]
            assert is_enough or "not enough: s2 (async)" in findings(primary)[0].problem
    finally:
        primary.execute("alter system reset synchronous_standby_names")
        primary.execute("select pg_reload_conf()")
        primary.execute("revoke pg_read_all_stats from foldbook")
