"""A dump taken under load, restored into a fresh cluster: the same log, and everything goes on from there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.binaries import client_program
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account
from tests.conftest import embedded_postgres, prepare
from tests.proof.rebuilding import full_write_load
from tests.proof.soundness import assert_sound, head_of
from tests.readside.projecting import assert_equal_to_fresh_folds, caught_up, connected, projecting
from tests.waiting import until


async def run(program: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(client_program(program), *arguments)
    assert await process.wait() == 0


async def dump_under_load(dsn: str, dump: Path) -> None:
    engine = as_role(dsn, ENGINE)
    async with projecting(engine), full_write_load(engine) as bus:

        async def is_under_way() -> bool:
            return bus.commands_total > 1000

        await until(is_under_way)
        await run("pg_dump", "--format=custom", f"--file={dump}", dsn)


async def test_a_dump_restored_into_a_fresh_cluster_goes_on(own_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    dump = tmp_path / "foldbook.dump"
    asked_before = open_account()
    store = PostgresStore(own_postgres.dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    first = await bus.execute(asked_before)
    await bus.stop()
    await store.close()
    await dump_under_load(own_postgres.dsn, dump)
    with connected(own_postgres.dsn) as connection:
        log = connection.execute("select log_id from eventstore.log_info").fetchone()

    with embedded_postgres() as fresh:
        # Over the empty log that a first start has made. The objects of the dump replace it.
        prepare(fresh.dsn)
        await run(
            *("pg_restore", "--exit-on-error", "--single-transaction", "--clean", "--if-exists"),
            *(f"--dbname={fresh.dsn}", str(dump)),
        )
        prepare(fresh.dsn)
        with connected(fresh.dsn) as connection:
            assert connection.execute("select log_id from eventstore.log_info").fetchone() == log
            assert_sound(connection)
            number, position = head_of(connection)
            assert position > 1000
        engine = as_role(fresh.dsn, ENGINE)
        await assert_equal_to_fresh_folds(engine)

        store = PostgresStore(engine)
        bus = CommandBus(store, ORDER_BOOK)
        await bus.start()
        async with projecting(engine):
            assert (await bus.execute(asked_before)).position == first.position == 1
            assert (await bus.execute(open_account("after/the/backtest"))).position == position + 1
            await caught_up(fresh.dsn)
        await bus.stop()
        await store.close()
        await assert_equal_to_fresh_folds(engine)
        with connected(fresh.dsn) as connection:
            assert head_of(connection) == (number + 1, position + 1)
            assert_sound(connection)
