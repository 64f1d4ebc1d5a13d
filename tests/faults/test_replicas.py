"""A synchronous replica has whatever was answered, however it came to be answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foldbook.errors import StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.lease import Lease
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.connection import connect
from foldbook.trading.book import ORDER_BOOK
from tests.builders import ACCOUNT, cancel, open_account, place
from tests.eventstore.test_store_contract import opened, placed, propose
from tests.faults.failing_over import Pair
from tests.machinery.servers import MAJORS, servers
from tests.waiting import until

REFUSED = propose(place("refused"), reason=b'{"code":"unknown-order"}')
NO_OP = propose(cancel("gone"))
BATCHES = {
    "one command with one event": [placed("o-1", expected=None)],
    "many": [placed("o-2", expected=None), placed("o-3", expected=None)],
    "a refusal": [REFUSED],
    "a command without events": [NO_OP],
}


async def is_waiting_again(pair: Pair, session: int, answer: asyncio.Task[Any]) -> bool:
    """Wait until the append that is sent again is answered, or waits for the replica."""
    waits: list[bool] = []

    async def is_over() -> bool:
        waits[:] = [pair_waits(pair, session)]
        return waits[0] or answer.done()

    await until(is_over)
    return waits[0] and not answer.done()


def pair_waits(pair: Pair, session: int) -> bool:
    rows = pair.primary.execute("select pid from pg_stat_activity where wait_event = 'SyncRep'")
    return any(pid != session for (pid,) in rows)


@pytest.mark.parametrize("end", ["pg_terminate_backend", "pg_cancel_backend"])
@pytest.mark.parametrize("major", MAJORS)
async def test_what_is_answered_a_second_time_waits_for_the_replica_too(major: int, end: str) -> None:
    """A commit waits for its replica, somebody ends its session or the wait, and the append is sent again: the primary
    has it, and nobody else. Whatever the second answer is, a replica must have it."""
    with servers(major) as rack:
        pair = Pair(rack, is_synchronous=True)
        store = PostgresStore(pair.dsn)
        await store.append(0, [opened(expected=None)])
        connection = await connect(pair.dsn)
        lease = Lease("test", "a test", 60.0, lambda: b"{}")
        assert await lease.acquire(connection)
        leased = PostgresStore(pair.dsn, lease=lease.as_epoch)
        cases = [*((store, batch) for batch in BATCHES.values()), (leased, [placed("o-4", expected=None)])]
        for writer, batch in cases:
            with pair.silent_replica():
                first = asyncio.create_task(writer.append(0, batch))
                session = await pair.waiting_for_replica()
                pair.primary.execute(f"select {end}({session})")
                with pytest.raises(StoreUnavailable):
                    await first
                second = asyncio.create_task(writer.append(0, batch))
                assert await is_waiting_again(pair, session, second), "answered, and no replica has it"
            assert [verdict.fate.value for verdict in await second] == ["duplicate"] * len(batch)
        await connection.close()
        await asyncio.gather(store.close(), leased.close())


async def test_a_synchronous_replica_has_everything_that_was_answered() -> None:
    with servers(18) as rack:
        pair = Pair(rack, is_synchronous=True)
        store = PostgresStore(pair.dsn)
        bus = CommandBus(store, ORDER_BOOK)
        await bus.start()
        await bus.execute(open_account())
        first, twice = place("o-1"), place("o-2")
        answered = [await bus.execute(first)]
        with pair.silent_replica():
            waiting = asyncio.create_task(bus.execute(twice))
            session = await pair.waiting_for_replica()
            pair.primary.execute(f"select pg_terminate_backend({session})")
            assert await is_waiting_again(pair, session, waiting), "the bus found it and answered"
        answered.append(await waiting)
        await asyncio.to_thread(pair.fail_over)
        again = await asyncio.gather(bus.execute(first), bus.execute(twice))
        assert [(r.position, r.sequence) for r in again] == [(r.position, r.sequence) for r in answered]
        assert not bus.losses
        after = await bus.execute(place("o-3"))
        assert isinstance(after, CommandResult)
        assert (after.aggregate_id, after.position) == (ACCOUNT, 4)
        await bus.stop()
        await store.close()
