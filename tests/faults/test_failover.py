"""The primary dies, and a replica that lagged behind takes over: what was lost is told, and nothing is invented."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from foldbook.audit.verify import verify
from foldbook.brokers.log_reader import LogReader
from foldbook.client.follow import follow
from foldbook.engine.doctor.checks import losses
from foldbook.engine.doctor.finding import Patient
from foldbook.engine.losses import open_losses, settle
from foldbook.errors import LogChanged, StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.following import Following
from foldbook.eventstore.readers.listener import Listener
from foldbook.postgres.connection import connect
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.values import OrdStatus
from tests.api.conftest import ACCOUNT, assert_problem, projecting, serving, settings_for
from tests.brokers.gateway_world import gateway_world, now
from tests.brokers.venue_process import venue_process
from tests.builders import open_account, place, trade
from tests.eventstore.test_store_contract import opened
from tests.faults.failing_over import Pair
from tests.machinery.servers import MAJORS, servers
from tests.proof.soundness import assert_sound
from tests.waiting import block_until, until

LIMITS = BusLimits(outage_max_s=60)


@pytest.mark.parametrize("major", MAJORS)
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


async def test_whoever_reads_is_told_that_the_log_is_another_one() -> None:
    """An engine, its streams and whoever asks it, when a replica that lagged behind takes over."""
    with servers(18) as rack:
        pair = Pair(rack)
        settings = settings_for(pair.dsn)
        async with projecting(settings), serving(settings) as engine:
            await engine.open()
            await engine.place("kept")
            stream = follow(f"http://127.0.0.1:{engine.address[1]}")
            assert [(await anext(stream)).position for _ in range(2)] == [1, 2]
            kept = (await engine.get("/events"))["sealed"]
            block_until(lambda: pair.replica.has_replayed(pair.primary))
            await asyncio.to_thread(pair.replica.stop)
            await engine.place("lost-1")
            await engine.place("lost-2")
            assert [(await anext(stream)).position for _ in range(2)] == [3, 4]
            lost = (await engine.get("/events"))["sealed"]
            await asyncio.to_thread(pair.primary.kill)
            await asyncio.to_thread(pair.replica.start)
            await asyncio.to_thread(pair.replica.promote)

            async def is_told() -> bool:
                ready = await engine.client.get("/health/ready")
                return ready.status_code == 200 and bool(ready.json()["lost"])

            await until(is_told)  # nobody has sent a command
            ready = (await engine.client.get("/health/ready")).json()
            assert [(one["after_position"], one["last_position"]) for one in ready["lost"]] == [(2, 4)]
            assert "foldbook_lost_positions_total 2.0" in (await engine.client.get("/metrics")).text
            for n in range(3):
                assert (await engine.place(f"new-{n}"))["sequence"] == n + 3
            with pytest.raises(LogChanged):
                async with asyncio.timeout(60):
                    await anext(stream)

            goes_on = {"after": kept["position"], "hash": kept["hash"]}
            assert [e["position"] for e in (await engine.get("/events", **goes_on))["events"]] == [3, 4, 5]
            for call, after in (("/events", lost["position"]), ("/stream/events", f"0:{lost['position']}")):
                refused = await engine.client.get(call, params={"after": after, "hash": lost["hash"]})
                assert_problem(refused, 409, "log-changed", commit=4)
            orders = await engine.get(f"/accounts/{ACCOUNT}/orders", min_position=5)
            assert sorted(order["order_id"] for order in orders["orders"]) == ["kept", "new-0", "new-1", "new-2"]
        with psycopg.connect(pair.replica.dsn, autocommit=True) as connection:
            (finding,) = losses.check(Patient(settings, connection))
            assert finding.problem.startswith("positions 3 to 4 of shard 0 are not in the log")
            (one,) = open_losses(connection)
            settle(connection, one.number)
            assert not list(losses.check(Patient(settings, connection)))


async def test_a_gateway_reads_its_books_again_and_tells_what_only_the_venue_has(tmp_path: Path) -> None:
    with servers(18) as rack, venue_process(tmp_path) as venue:
        pair = Pair(rack)
        async with gateway_world(pair.dsn, venue) as world:

            async def work(order_id: str) -> None:
                order = place(order_id, world.account, received_at=now(), symbol=world.symbol)
                await world.execute(order)
                await world.order_is(order_id, lambda o: o.stage is OrdStatus.NEW)

            await work("kept")
            block_until(lambda: pair.replica.has_replayed(pair.primary))
            await asyncio.to_thread(pair.replica.stop)
            await work("lost")
            await asyncio.to_thread(pair.primary.kill)
            await asyncio.to_thread(pair.replica.start)
            await asyncio.to_thread(pair.replica.promote)

            await work("after")
            assert await world.types("lost") == []
            assert (await world.order("kept")).stage is OrdStatus.NEW
            gateway = world.gateway
            assert gateway is not None
            await until(lambda: gateway.term is not None and len(gateway.term.status()["orphans"]) == 1)
            (loss,) = world.bus.losses
            assert loss.last_position > loss.after_position
            assert len(venue.orders(world.account)) == 3, "and none was sent twice"


def put_back(database: str, to: int = 3) -> None:
    """The log ends with this position again, and with the commit of the same number."""
    with psycopg.connect(database) as connection:
        for table, number in (("events", "position"), ("commands", '"commit"'), ("commits", "number")):
            connection.execute(f"alter table eventstore.{table} disable trigger refuse_change")
            connection.execute(f"delete from eventstore.{table} where {number} > %s", [to])
            connection.execute(f"alter table eventstore.{table} enable always trigger refuse_change")


async def test_a_log_that_was_put_back_in_place_is_read_again(database: str) -> None:
    """The server runs on, and its log has less than it had: a dump was restored over it, say."""
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    for n in range(5):
        await bus.execute(place(f"o-{n}"))
    put_back(database)
    again = await bus.execute(place("o-4"))
    assert (again.position, again.sequence) == (4, 4)
    await until(lambda: bool(bus.losses))
    (loss,) = bus.losses
    assert (loss.after_position, loss.last_position) == (3, 6)
    await bus.stop()
    await store.close()


async def test_a_log_that_was_put_back_is_noticed_by_the_next_connection(database: str) -> None:
    """Also if it has as many commits again as it had."""
    store = PostgresStore(database)
    told = list[int]()

    async def tell() -> None:
        told.append(len(store.losses))

    store.on_another_run = tell
    for n in range(1, 6):
        await store.append(0, [opened(f"account-{n}/binance/simulated")])
    assert await store.ready(0, 1) == 0
    put_back(database)
    other = PostgresStore(database)
    for n in range(6, 10):
        await other.append(0, [opened(f"account-{n}/binance/simulated")])
    await other.close()
    connection = await connect(database)
    assert await store.is_another(connection)
    await connection.close()
    assert (store.run, told) == (1, [1])
    assert [(loss.after_position, loss.last_position) for loss in store.losses] == [(3, 5)]
    with pytest.raises(StoreUnavailable):
        await store.append(0, [opened("of-the-run-before/binance/simulated")])
    assert await store.ready(0, 1) == 1
    await store.close()


@pytest.mark.parametrize("then", [3, 4, 6, 8])
async def test_who_follows_an_aggregate_reads_it_again_where_the_log_was_put_back(database: str, then: int) -> None:
    """Whether it is shorter, as long, or longer than it was: what was answered is known when ``reach`` returns."""

    async def write(*names: str) -> int:
        store = PostgresStore(database)
        bus = CommandBus(store, ORDER_BOOK)
        await bus.start()
        for name in names:
            done = await bus.execute(place(name))
        await bus.stop()
        await store.close()
        assert done.sequence is not None
        return done.sequence

    store = PostgresStore(database)
    await store.append(0, [opened(ACCOUNT)])
    await store.close()
    books = list[Book]()
    listener = Listener(database)
    following = Following(database, ORDER_BOOK, ACCOUNT, 1, books.append)
    following.listen(listener)
    await listener.start()
    await following.start()
    await following.reach(await write(*(f"o-{n}" for n in range(5))))
    put_back(database)
    new = [f"new-{n}" for n in range(then - 3)]
    async with asyncio.timeout(30):
        await following.reach(await write(*new) if new else 3)
    assert set(books[-1].orders) == {"o-0", "o-1", *new}
    await following.stop()
    await listener.stop()


async def test_a_gateways_reader_ends_the_term_where_the_log_was_put_back(database: str) -> None:
    store = PostgresStore(database)
    for n in range(1, 6):
        await store.append(0, [opened(f"account-{n}/binance/simulated")])
    heard, failed = list[str](), list[BaseException]()
    reader = LogReader(
        database,
        0,
        "simulated",
        lambda told: heard.append(told.account),
        failed.append,
        store.is_another,
        poll_interval_s=0.05,
    )
    await reader.start()
    await until(lambda: len(heard) == 5)
    put_back(database)
    await until(lambda: bool(failed))
    await reader.stop()
    await store.close()
