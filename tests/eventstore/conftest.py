"""Every store that keeps the contract, and a bus on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.memory_store import MemoryStore
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import EventStore
from foldbook.postgres.connection import connect
from foldbook.trading.book import ORDER_BOOK


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[EventStore]:
    opened: EventStore = MemoryStore()
    if request.param == "postgres":
        dsn = request.getfixturevalue("database")
        connection = await connect(dsn)
        await connection.execute("insert into eventstore.shards values (1)")
        await connection.close()
        opened = PostgresStore(dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def bus(store: EventStore) -> AsyncIterator[CommandBus]:
    running = CommandBus(store, ORDER_BOOK)
    await running.start()
    yield running
    await running.stop()
