"""Ready means that a command can be committed, not only that something answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest

import foldbook.eventstore.commands.proving
from foldbook.eventstore.postgres_store import PostgresStore
from tests.api.conftest import AT, Engine, assert_problem, order, projecting, serving, settings_for, until
from tests.conftest import prepare
from tests.machinery.servers import MAJORS, Server, servers

LOCKED = "select eventstore.lock_shard(0); lock table eventstore.commits in row exclusive mode"


@pytest.fixture(autouse=True)
def no_proof_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foldbook.eventstore.commands.proving, "INTERVAL_S", 0.0)


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with servers(request.param, {"max_connections": "25"}) as rack:
        primary = rack.primary()
        prepare(primary.dsn)
        yield primary


@asynccontextmanager
async def engine_on(server: Server) -> AsyncIterator[Engine]:
    async with serving(settings_for(server.dsn)) as engine:
        yield engine


async def becomes(engine: Engine, status: int) -> httpx.Response:
    answers: list[httpx.Response] = []

    async def is_so() -> bool:
        answers.append(await engine.client.get("/health/ready"))
        return answers[-1].status_code == status

    await until(is_so)
    return answers[-1]


def end_sessions(server: Server) -> None:
    server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'foldbook'")


async def test_a_server_that_takes_no_writes(server: Server) -> None:
    async with engine_on(server) as engine:
        assert (await engine.client.get("/health/ready")).status_code == 200
        server.execute("alter system set default_transaction_read_only = on")
        server.execute("select pg_reload_conf()")
        try:
            assert_problem(await becomes(engine, 503), 503, "not-ready")
        finally:
            with psycopg.connect(server.superuser_dsn, autocommit=True) as connection:
                connection.execute("set default_transaction_read_only = off")
                connection.execute("alter system reset default_transaction_read_only")
                connection.execute("select pg_reload_conf()")
        await becomes(engine, 200)


async def test_somebody_holds_the_writers_lock(server: Server) -> None:
    async with engine_on(server) as engine:
        await engine.open()
        with psycopg.connect(server.superuser_dsn.replace("/postgres", "/foldbook")) as holder:
            for statement in LOCKED.split("; "):
                holder.execute(statement.encode())
            answer = await becomes(engine, 503)
            assert_problem(answer, 503, "not-ready")
            assert "lock" in answer.json()["detail"] and "doctor" in answer.json()["detail"]
            waiting = asyncio.create_task(engine.client.post(f"{AT}/orders", json=order()))
            assert (await engine.client.get("/health/ready")).status_code == 503
            holder.rollback()
        assert (await waiting).status_code == 201
        await becomes(engine, 200)


async def test_there_is_no_connection_left(server: Server) -> None:
    async with engine_on(server) as engine:
        taken: list[psycopg.Connection[Any]] = []
        try:
            end_sessions(server)
            with pytest.raises(psycopg.OperationalError):
                while True:
                    taken.append(psycopg.connect(server.dsn))
            assert_problem(await becomes(engine, 503), 503, "not-ready")
        finally:
            for connection in taken:
                connection.close()
        await becomes(engine, 200)


async def test_a_commit_waits_for_a_replica_that_is_not_there(server: Server) -> None:
    async with engine_on(server) as engine:
        server.configure(synchronous_standby_names="nobody")
        try:
            answer = await becomes(engine, 503)
            assert "did not come back" in answer.json()["detail"]
        finally:
            with psycopg.connect(server.superuser_dsn, autocommit=True) as connection:
                connection.execute("set synchronous_commit = off")
                connection.execute("alter system reset synchronous_standby_names")
                connection.execute("select pg_reload_conf()")
        await becomes(engine, 200)
        await engine.open("bob/binance/simulated")


async def test_appends_fail_and_a_proof_would_succeed(server: Server) -> None:
    """As on a disk that is full: a proof needs no room."""

    def rename(name: str, to: str) -> None:
        with psycopg.connect(server.superuser_dsn.replace("/postgres", "/foldbook"), autocommit=True) as owner:
            for end in ("", "_one"):
                owner.execute(f"alter function eventstore.{name}{end} rename to {to}{end}".encode())

    async with engine_on(server) as engine:
        await engine.open("carol/binance/simulated")
        rename("append", "away")
        placing = asyncio.create_task(engine.client.post("/accounts/carol/binance/simulated/orders", json=order()))
        try:
            assert "append" in (await becomes(engine, 503)).json()["detail"]
        finally:
            rename("away", "append")
        assert (await placing).status_code == 201
        await becomes(engine, 200)


async def test_who_asks_shares_the_proof(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proofs = 0
    prove = PostgresStore.prove

    async def counting(self: PostgresStore, shard: int) -> None:
        nonlocal proofs
        proofs += 1
        await prove(self, shard)

    monkeypatch.setattr(PostgresStore, "prove", counting)
    monkeypatch.setattr(foldbook.eventstore.commands.proving, "INTERVAL_S", 3600.0)
    async with projecting(settings_for(database)), serving(settings_for(database)) as engine:
        answers = await asyncio.gather(*(engine.client.get("/health/ready") for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert proofs == 1


async def test_a_commit_is_proof_enough(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: PostgresStore, shard: int) -> None:
        raise AssertionError("a commit was made a moment ago")

    monkeypatch.setattr(PostgresStore, "prove", never)
    monkeypatch.setattr(foldbook.eventstore.commands.proving, "INTERVAL_S", 3600.0)
    async with projecting(settings_for(database)), serving(settings_for(database)) as engine:
        await engine.open()
        assert (await engine.client.get("/health/ready")).status_code == 200


async def test_a_proof_adds_nothing_to_the_log(database: str) -> None:
    store = PostgresStore(database)
    await store.prove(0)
    await store.close()
    with psycopg.connect(database) as connection:
        for table in ("events", "commands", "commits"):
            assert connection.execute(f"select count(*) from eventstore.{table}".encode()).fetchone() == (0,)
