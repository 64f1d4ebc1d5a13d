"""A real pgbouncer: session mode works like a direct connection; any other mode is refused by name."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from foldbook.cli.exits import Exit
from foldbook.errors import SessionRefused, StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres import blocking, pooling
from foldbook.postgres.connection import connect, create_pool
from foldbook.postgres.roles import ENGINE, OWNER, as_role, as_role_if_separated
from foldbook.postgres.urls import DatabaseUrl
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place
from tests.conftest import prepare
from tests.machinery.pooler import pooler
from tests.machinery.servers import MAJORS, Server, servers
from tests.readside.projecting import caught_up, projecting

TELLS = "pgbouncer: pool_mode = transaction or statement.*use a direct connection or session pooling"


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with servers(request.param) as rack:
        server = rack.primary()
        prepare(server.dsn)
        yield server


async def open_one(dsn: str) -> None:
    (await connect(dsn)).terminate()


async def open_pool(dsn: str) -> None:
    (await create_pool(dsn, min_size=1, max_size=2)).terminate()


OPENERS: dict[str, Callable[[str], object]] = {
    "asyncpg": lambda dsn: asyncio.run(open_one(dsn)),
    "pool": lambda dsn: asyncio.run(open_pool(dsn)),
    "psycopg": lambda dsn: blocking.connect(dsn).close(),
}


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("transaction", {}),
        ("transaction", {"server_round_robin": "1", "min_pool_size": "3"}),
        ("transaction", {"default_pool_size": "1"}),
        ("transaction", {"ignore_startup_parameters": "options", "server_reset_query_always": "1"}),
        ("statement", {}),
    ],
)
def test_other_modes_are_refused_by_name(
    server: Server, mode: str, settings: dict[str, str], opener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "PATIENCE_S", 0.3)
    with pooler(server.port, mode, **settings) as url, pytest.raises(SessionRefused, match=TELLS):
        OPENERS[opener](as_role(url, ENGINE))


@pytest.mark.parametrize("settings", [{}, {"server_round_robin": "1", "min_pool_size": "3"}])
def test_a_pooler_that_knows_prepared_statements_is_refused_too(
    server: Server, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pgbouncer since 1.21: no statement is lost, so only the server connections tell."""
    whole = DatabaseUrl.for_asyncpg
    monkeypatch.setattr(DatabaseUrl, "for_asyncpg", lambda url: whole(url) | {"statement_cache_size": 0})
    with pooler(server.port, "transaction", **settings) as url:
        for opener in OPENERS.values():
            with pytest.raises(SessionRefused, match="the same server connection"):
                opener(as_role(url, ENGINE))


def test_a_busy_pooler_is_refused_too(server: Server) -> None:
    """Others take and release the server connections all the time."""
    with pooler(server.port, "transaction", default_pool_size="5") as url:

        async def busy() -> None:
            others = [asyncio.create_task(use()) for _ in range(8)]
            try:
                for _ in range(5):
                    with pytest.raises(SessionRefused, match="session pooling"):
                        await open_one(as_role(url, ENGINE))
            finally:
                for other in others:
                    other.cancel()
                await asyncio.gather(*others, return_exceptions=True)

        async def use() -> None:
            connection = await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None)
            async with connection:
                while True:
                    await connection.execute("select pg_sleep(0.001)")

        asyncio.run(busy())


@pytest.mark.parametrize("settings", [{}, {"ignore_startup_parameters": "options"}])
def test_session_mode_is_like_a_direct_connection(server: Server, settings: dict[str, str]) -> None:
    """Also if the pooler drops the options of a connection, which name the role."""
    with pooler(server.port, "session", default_pool_size="40", **settings) as url:
        engine = as_role_if_separated(url, ENGINE)
        assert engine == as_role(url, ENGINE)
        assert asyncio.run(users_of(engine)) == [(ENGINE, "on", "pg_catalog, pg_temp")] * 2
        with blocking.connect(engine) as connection:
            assert connection.execute("select current_user::text").fetchone() == (ENGINE,)
        asyncio.run(trade(engine))


async def users_of(dsn: str) -> list[tuple[Any, ...]]:
    question = "select current_user::text, current_setting('synchronous_commit'), current_setting('search_path')"
    connection = await connect(dsn)
    pool = await create_pool(dsn, min_size=1, max_size=1)
    await pool.fetchrow(question)
    found = [tuple(await connection.fetchrow(question) or ()), tuple(await pool.fetchrow(question) or ())]
    await connection.close()
    await pool.close()
    return found


numbers = itertools.count(1)


async def trade(dsn: str) -> None:
    store = PostgresStore(dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    async with projecting(dsn):
        await bus.execute(open_account(f"trader-{next(numbers)}/binance/simulated"))
        await caught_up(dsn)
    await bus.stop()
    await store.close()


def test_a_pool_without_a_connection_to_spare_is_no_reason_to_refuse(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe waits in vain; the session answers all the same."""
    monkeypatch.setattr(pooling, "PATIENCE_S", 0.3)
    for opener in OPENERS.values():
        with pooler(server.port, "session", default_pool_size="1") as url:
            opener(as_role(url, ENGINE))


def test_every_command_says_so(server: Server) -> None:
    with pooler(server.port, "transaction") as url:
        running = {
            command: subprocess.Popen(
                [sys.executable, "-m", "foldbook.cli", *command.split()],
                env=os.environ | {"DATABASE_URL": url},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for command in ("migrate", "serve", "projections run", "doctor")
        }
        for command, process in running.items():
            said, _ = process.communicate(timeout=120)
            assert "use a direct connection or session pooling" in said, command
            assert "Traceback" not in said
            assert process.returncode == (Exit.UNWELL if command == "doctor" else Exit.UNREACHABLE), said


async def test_a_store_says_so(server: Server) -> None:
    """To whoever sent a command or a question: 503."""
    with pooler(server.port, "transaction") as url:
        store = PostgresStore(as_role(url, ENGINE))
        with pytest.raises(StoreUnavailable, match="session pooling"):
            await store.read_log(0, 0, 10)
        with pytest.raises(StoreUnavailable, match="session pooling"):
            await store.append(0, [])
        await store.close()


def test_the_owner_of_the_log_is_who_the_pooler_says(server: Server) -> None:
    """A hoster's pooler takes a login that the server does not know."""
    with pooler(server.port, "session") as url:
        with blocking.connect(url.replace(f"//{OWNER}@", "//postgres.abcdefgh@")) as connection:
            assert connection.execute("select current_user::text").fetchone() == (OWNER,)
        assert place("o-1").order_id == "o-1"
