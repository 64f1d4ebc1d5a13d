"""The lease on this side: who waits for it, and what he is told. What the database does is in tests/faults."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from foldbook.eventstore.lease import Lease
from foldbook.eventstore.postgres_store import LeaseLost
from foldbook.eventstore.waits import is_set_within

TERM_S = 0.5


class Database:
    """Gives the lease to everybody, and takes ``renewal_s`` to renew it."""

    def __init__(self, renewal_s: float = 0.0) -> None:
        self.renewal_s = renewal_s
        self.is_taken = False

    async def fetchval(self, query: str, *_: object) -> Any:
        if "renew" not in query:
            return 1
        await asyncio.sleep(self.renewal_s)
        return not self.is_taken


def held(database: Database) -> tuple[Lease, Any]:
    return Lease("test", "a test", TERM_S, lambda: b"{}"), cast(Any, database)


@pytest.mark.parametrize("is_second_term", [False, True])
async def test_who_waits_for_a_renewal_lets_others_run(is_second_term: bool) -> None:
    """Also in a later term: the loss of the one before is no news then."""
    lease, database = held(Database(renewal_s=0.1))
    if is_second_term:
        lease.lose()
    assert await lease.acquire(database)
    await asyncio.sleep(TERM_S / 2)
    renewing = asyncio.create_task(lease.renew(database))
    async with asyncio.timeout(10):
        await lease.wait_for(TERM_S * 0.6)
    await renewing
    assert lease.is_left(0)


async def test_who_waits_is_told_of_the_loss() -> None:
    database = Database()
    lease, connection = held(database)
    assert await lease.acquire(connection)
    waiting = asyncio.create_task(lease.wait_for(TERM_S * 2))
    await asyncio.sleep(0.01)
    database.is_taken = True
    with pytest.raises(LeaseLost):
        await lease.renew(connection)
    with pytest.raises(LeaseLost):
        await waiting


@pytest.mark.parametrize("turns", range(6))
async def test_a_wait_that_is_cancelled_as_the_event_comes_is_cancelled(turns: int) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(is_set_within(event, 10))
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    if waiting.done():
        return
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_what_does_not_come_is_waited_for_so_long_and_no_longer() -> None:
    assert not await is_set_within(asyncio.Event(), 0.01)
    event = asyncio.Event()
    event.set()
    assert await is_set_within(event, 0)
    assert await is_set_within(event, None)
