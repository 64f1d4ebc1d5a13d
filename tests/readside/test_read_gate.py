"""Read your own writes: a waiting reader continues when the read table gets there, even if notifications are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import foldbook.eventstore.readers.read_gate
from foldbook.errors import Overloaded
from foldbook.eventstore.readers.listener import Listener
from foldbook.eventstore.readers.read_gate import ReadGate
from tests.readside.histories import write_book, write_many
from tests.readside.projecting import administering, caught_up, connected, projecting
from tests.waiting import until

LONG_S = 60.0


@asynccontextmanager
async def gate(dsn: str, *, is_told: bool = True) -> AsyncIterator[ReadGate]:
    opened = ReadGate(dsn)
    listener = Listener(dsn)
    opened.listen(listener)
    if is_told:
        await listener.start()
    await opened.start()
    try:
        yield opened
    finally:
        await opened.stop()
        await listener.stop()


@pytest.mark.parametrize("is_told", [True, False])
async def test_who_waits_is_let_through_once_the_position_is_there(database: str, is_told: bool) -> None:
    with connected(database) as connection:
        async with gate(database, is_told=is_told) as opened:
            waiting = [asyncio.create_task(opened.wait("orders", 0, position, LONG_S)) for position in (1, 12, 5)]
            await asyncio.sleep(0)
            assert write_book(connection) == 12
            async with projecting(database):
                assert await asyncio.gather(*waiting) == [True, True, True]
                for _ in range(5):
                    assert await opened.wait("fills", 0, write_book(connection), LONG_S)


async def test_a_wait_in_vain_is_reported(database: str) -> None:
    with connected(database) as connection:
        async with gate(database) as opened, projecting(database):
            head = write_book(connection)
            assert await opened.wait("orders", 0, head, LONG_S)
            assert not await opened.wait("orders", 0, head + 1, 0.05)
            assert not await opened.wait("nonsense", 0, 1, 0.05)
            assert await opened.wait("orders", 0, write_book(connection), LONG_S)


async def test_a_reset_takes_back_what_was_reached(database: str) -> None:
    with connected(database) as connection:
        async with gate(database) as opened, administering(database) as admin:
            async with projecting(database):
                head = write_many(connection, 20)
                assert await opened.wait("orders", 0, head, LONG_S)
                await caught_up(database)
            connection.execute(
                "select eventstore.projection_reset('orders', eventstore.projection_begin('orders', 'reset'))"
            )

            async def is_taken_back() -> bool:
                return not await opened.wait("orders", 0, head, 0.2)

            await until(is_taken_back)
            await admin.reset("orders")
            assert await opened.wait("orders", 0, head, LONG_S)


async def test_waiters_are_bounded(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foldbook.eventstore.readers.read_gate, "WAITERS_MAX", 2)
    async with gate(database) as opened:
        waiting = [asyncio.create_task(opened.wait("orders", 0, 1, LONG_S)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await opened.wait("orders", 0, 1, LONG_S)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not await opened.wait("orders", 0, 1, 0)
