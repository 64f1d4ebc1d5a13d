"""The database goes away under load and comes back: every caller is answered, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from foldbook.errors import StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place
from tests.faults.test_writers import assert_sound, whole_log

CALLERS = 32


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_the_database_restarts_under_load(own_postgres: EmbeddedPostgres, how: str) -> None:
    store = PostgresStore(own_postgres.dsn)
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(outage_max_s=60))
    await bus.start()
    await bus.execute(open_account())
    acknowledged: dict[str, CommandResult] = {}
    is_over = asyncio.Event()

    async def call(caller: int) -> None:
        n = 0
        while not is_over.is_set():
            n += 1
            order_id = f"o-{caller}-{n}"
            acknowledged[order_id] = await bus.execute(place(order_id))

    async def until(count: int) -> None:
        while len(acknowledged) < count:
            await asyncio.sleep(0.01)

    calls = asyncio.gather(*(call(caller) for caller in range(CALLERS)))
    await until(500)
    if how == "killed":
        assert own_postgres.pid is not None
        os.kill(own_postgres.pid, signal.SIGKILL)
    else:
        await asyncio.to_thread(own_postgres.stop)
    await asyncio.to_thread(own_postgres.start)
    await until(len(acknowledged) + 500)
    is_over.set()
    await calls
    await bus.stop()
    log = await whole_log(store)
    assert_sound(log)
    assert {e.subject: (e.position, e.sequence) for e in log if e.subject} == {
        order_id: (result.position, result.sequence) for order_id, result in acknowledged.items()
    }
    assert not any(result.replayed for result in acknowledged.values())
    await store.close()


async def test_an_outage_that_lasts_is_reported_and_recovered_from(own_postgres: EmbeddedPostgres) -> None:
    store = PostgresStore(own_postgres.dsn)
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(outage_max_s=0.2))
    await bus.start()
    await bus.execute(open_account())
    await asyncio.to_thread(own_postgres.stop)
    commands = [place(f"o-{n}") for n in range(300)]
    answers = await asyncio.gather(*(bus.execute(command) for command in commands), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    await asyncio.to_thread(own_postgres.start)
    results = await asyncio.gather(*(bus.execute(command) for command in commands))
    assert sorted(result.sequence for result in results) == list(range(2, 302))
    assert_sound(await whole_log(store))
    await bus.stop()
    await store.close()


async def test_a_terminated_writer_is_replaced(database: str) -> None:
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    futures = [bus.submit(place(f"o-{n}")) for n in range(400)]
    writer = store._writers[0]
    other = PostgresStore(database)
    await other._read("select pg_terminate_backend($1)", writer.connection.get_server_pid())
    results = await asyncio.gather(*futures)
    assert sorted(result.sequence for result in results) == list(range(2, 402))
    log = await whole_log(store)
    assert len(log) == 401
    assert_sound(log)
    await bus.stop()
    await store.close()
    await other.close()
