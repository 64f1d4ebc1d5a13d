"""The primary dies, and a replica that lagged behind takes over: what was lost is told, and nothing is invented."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from foldbook.audit.verify import verify
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place, trade
from tests.faults.failing_over import Pair
from tests.machinery.servers import servers
from tests.proof.soundness import assert_sound
from tests.waiting import block_until

LIMITS = BusLimits(outage_max_s=60)


@pytest.mark.parametrize("major", [15, 18])
async def test_an_engine_forgets_what_a_lagging_replica_never_had(major: int) -> None:
    """Two engines saw an order; the server that takes over never did. A fill of it must not fit by chance."""
    with servers(major) as rack:
        pair = Pair(rack)
        stores = [PostgresStore(pair.dsn) for _ in range(2)]
        one, two = buses = [CommandBus(store, ORDER_BOOK, limits=LIMITS) for store in stores]
        for bus in buses:
            await bus.start()
        await one.execute(open_account())
        await two.execute(place("kept"))
        block_until(lambda: pair.replica.has_replayed(pair.primary))
        await asyncio.to_thread(pair.replica.stop)
        await one.execute(place("lost"))
        await two.execute(trade("x-0", "1", order_id="lost"))  # so it has read the order
        await one.execute(trade("x-1", "1", order_id="kept"))
        await asyncio.to_thread(pair.primary.kill)
        await asyncio.to_thread(pair.replica.start)
        await asyncio.to_thread(pair.replica.promote)

        # The same number of events as were lost: the sequence fits again, and the state behind it does not.
        for n in range(3):
            await one.execute(place(f"new-{n}"))
        fill = await two.execute(trade("x-2", "1", order_id="lost"))
        assert fill.events == ("UnmatchedExecutionRecorded",), "a fill of an order that nobody knows is kept as that"
        again = await two.execute(place("lost"))
        assert again.events == ("OrderCreated", "OrderFilled")

        for bus in buses:
            (loss,) = bus.losses
            assert (loss.shard, loss.after_position) == (0, 2)
            assert loss.last_position == (5 if bus is one else 4)
            await bus.stop()
        for store in stores:
            await store.close()
        with psycopg.connect(pair.replica.dsn, autocommit=True) as connection:
            assert_sound(connection)
            told = connection.execute(
                "select after_position, last_position from eventstore.losses_open() order by 2"
            ).fetchall()
        assert told == [(2, 4), (2, 5)]
        report = await verify(pair.dsn)
        assert report.ok
