"""The relay: each event once after dedupe, in order, none missed, whatever is killed; and it says how it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aio_pika
import msgspec
import psycopg

from foldbook.client.inbox import Place
from foldbook.messaging.connection import connected
from foldbook.messaging.topology import EVENTS, declare, topology
from tests.api.conftest import Engine, serving, settings_for
from tests.conftest import Postgres, name_of, prepare
from tests.messaging.consumer import consuming
from tests.messaging.ordeal import under_way
from tests.messaging.rabbit import Rabbit
from tests.messaging.relaying import EVENTS_PER_COMMIT, RelayCommand, grow, new_relay, relaying
from tests.waiting import until

PATIENCE_S = 120


async def test_a_message_is_an_event_as_http_shows_it(database: str, amqp_url: str) -> None:
    async with serving(settings_for(database)) as engine:
        await engine.open("al.ice/binance/simulated")
        await engine.place(account="al.ice/binance/simulated")
        events = (await engine.client.get("/events")).content
        log_id = _log_id(database)
        async with connected(amqp_url, "test") as connection, connection.channel() as channel:
            await declare(channel, topology(1))
            queue = await channel.declare_queue("everything", durable=True)
            await queue.bind(EVENTS, "0.al,ice.*.simulated.#")
            async with relaying(database, amqp_url):
                created = await _next(queue)
                placed = await _next(queue)
        page = msgspec.json.decode(events, type=dict[str, msgspec.Raw])
        shown = msgspec.json.decode(page["events"], type=list[msgspec.Raw])
        assert [created.body, placed.body] == [bytes(each) for each in shown]
        assert (created.routing_key, placed.routing_key) == (
            "0.al,ice.binance.simulated.OrderBookCreated",
            "0.al,ice.binance.simulated.OrderCreated",
        )
        assert Place.of(placed.message_id) == Place(log_id, 0, 2)
        assert placed.type == "OrderCreated"
        assert placed.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
        assert placed.headers == {
            "aggregate_type": "order_book",
            "aggregate_id": "al.ice/binance/simulated",
            "sequence": 2,
            "schema_version": 1,
        }


async def test_everything_arrives_once_and_in_order_while_rabbitmq_is_killed(
    rabbitmq: Rabbit, amqp_url: str, database: str
) -> None:
    """And while its disk is full for a moment, and the consumer's queue is deleted with everything in it."""
    async with under_way(rabbitmq, amqp_url, database, events=600) as ordeal:
        await ordeal.kill()
        await ordeal.fill_the_disk()
        await ordeal.kill()
        await ordeal.delete_the_queue()
        await ordeal.check()
        assert ordeal.head == 3_000


async def test_a_relay_killed_between_confirm_and_checkpoint_repeats_and_misses_nothing(
    amqp_url: str, database: str, postgres: Postgres, tmp_path: Path
) -> None:
    relay = RelayCommand(database, amqp_url, tmp_path)
    async with (
        serving(settings_for(database)) as engine,
        consuming(amqp_url, str(engine.client.base_url), database) as consumer,
    ):
        await consumer.begun.wait()
        head = grow(database, 1_000)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("insert into eventstore.subscriptions (shard, name) values (0, 'relay')")
        with psycopg.connect(database) as blocker:
            # Whoever would move the checkpoint waits here.
            blocker.execute("select from eventstore.subscriptions where name = 'relay' for update")
            relay.start()
            async with asyncio.timeout(PATIENCE_S):
                while not await consumer.taken() or not _waiting(postgres, database):
                    await asyncio.sleep(0.02)
            relay.kill()
            _end_waiting(postgres, database)
        assert _checkpoint(database) == 0
        relay.start()
        async with asyncio.timeout(PATIENCE_S):
            await consumer.reached(head)
            while consumer.repeated == 0:
                await asyncio.sleep(0.02)
        assert await consumer.taken() == list(range(1, head + 1))
        assert relay.stop() == 0
    assert _checkpoint(database) == head


async def test_of_two_relays_one_works_and_the_other_takes_over(amqp_url: str, database: str, tmp_path: Path) -> None:
    """The first one is killed, so that its lease has to run out."""
    first = RelayCommand(database, amqp_url, tmp_path)
    async with (
        serving(settings_for(database)) as engine,
        consuming(amqp_url, str(engine.client.base_url), database) as consumer,
    ):
        await consumer.begun.wait()
        first.start()
        async with asyncio.timeout(PATIENCE_S):
            await consumer.reached(grow(database, 200))
        async with relaying(database, amqp_url) as second:
            assert second.status.checkpoints == {}
            async with asyncio.timeout(PATIENCE_S):
                await consumer.reached(grow(database, 200))
            assert second.status.checkpoints == {}
            first.kill()
            head = grow(database, 200)
            async with asyncio.timeout(PATIENCE_S):
                await consumer.reached(head)
            assert second.status.state == "working"
        assert await consumer.taken() == list(range(1, head + 1))
        assert consumer.gaps == 0


async def test_shards_are_relayed_side_by_side(amqp_url: str, empty_database: str) -> None:
    prepare(empty_database, shard_count=4)
    async with serving(settings_for(empty_database).model_copy(update={"shards": 4})) as engine:
        for number in range(40):
            await engine.open(f"user-{number}/binance/simulated")
        async with (
            consuming(amqp_url, str(engine.client.base_url), empty_database) as consumer,
            relaying(empty_database, amqp_url, shards=4) as relay,
        ):
            heads = {shard: (await engine.get("/events", shard=shard))["head"] for shard in range(4)}
            assert sum(heads.values()) == 40
            async with asyncio.timeout(PATIENCE_S):
                for shard, head in heads.items():
                    await consumer.reached(head, shard)
                    assert await consumer.taken(shard) == list(range(1, head + 1))
            await until(lambda: relay.status.checkpoints == {str(shard): head for shard, head in heads.items()})


async def test_a_rabbitmq_that_is_absent_at_start_is_waited_for(rabbitmq: Rabbit, amqp_url: str, database: str) -> None:
    head = grow(database, EVENTS_PER_COMMIT)
    await asyncio.to_thread(rabbitmq.kill)
    async with serving(settings_for(database)) as engine, relaying(database, amqp_url) as relay:
        await until(lambda: relay.status.error is not None)
        assert relay.status.state == "disconnected"
        while (row := await _relay_row(engine, "disconnected"))["last_error"] is None:
            await asyncio.sleep(0.05)
        assert (row["lag"], row["shards"][0]["head"], row["shards"][0]["checkpoint"]) == (head, head, 0)
        assert "127.0.0.1" in row["last_error"]
        assert (await engine.get("/health/ready"))["relays"] == {"relay": {"state": "disconnected", "lag": head}}
        assert f'foldbook_relay_lag{{relay="relay"}} {head}.0' in (await engine.client.get("/metrics")).text
        await asyncio.to_thread(rabbitmq.start)
        await until(lambda: relay.status.checkpoints == {"0": head})
        row = await _relay_row(engine, "working")
        assert (row["lag"], row["last_error"]) == (0, None)


async def test_events_for_no_queue_are_counted_and_do_not_stop_the_others(amqp_url: str, database: str) -> None:
    async with serving(settings_for(database)) as engine:
        async with connected(amqp_url, "test") as connection, connection.channel() as channel:
            await declare(channel, topology(1))
            queue = await channel.declare_queue("bob", durable=True)
            await queue.bind(EVENTS, "*.bob.#")
            for user in ("alice", "bob", "carol"):
                await engine.open(f"{user}/binance/simulated")
            async with relaying(database, amqp_url) as relay:
                await until(lambda: relay.status.checkpoints == {"0": 3})
                assert (await _next(queue)).routing_key == "0.bob.binance.simulated.OrderBookCreated"
                assert relay.status.unrouted == 2
                row = await _relay_row(engine, "working")
                while row["unrouted"] != 2:
                    row = await _relay_row(engine, "working")
        assert 'foldbook_relay_unrouted_total{relay="relay"} 2.0' in (await engine.client.get("/metrics")).text


async def test_a_queue_that_refuses_more_holds_the_relay_and_it_says_so(amqp_url: str, database: str) -> None:
    head = grow(database, EVENTS_PER_COMMIT)
    async with connected(amqp_url, "test") as connection, connection.channel() as channel:
        await declare(channel, topology(1))
        arguments: dict[str, str | int] = {"x-max-length": 120, "x-overflow": "reject-publish"}
        queue = await channel.declare_queue("small", durable=True, arguments=dict(arguments))
        await queue.bind(EVENTS, "#")
        async with relaying(database, amqp_url) as relay:
            await until(lambda: relay.status.state == "failing" or "refused" in (relay.status.error or ""))
            seen: set[int] = set()
            while len(seen) < head:
                seen.add(Place.of((await _next(queue)).message_id).position)
            await until(lambda: relay.status.checkpoints == {"0": head} and relay.status.state == "working")


async def test_nothing_is_left_when_it_stops(amqp_url: str, database: str) -> None:
    tasks = asyncio.all_tasks()
    head = grow(database, EVENTS_PER_COMMIT)
    relay = new_relay(database, amqp_url)
    await relay.start()
    await until(lambda: relay.status.checkpoints == {"0": head})
    await relay.stop()
    assert asyncio.all_tasks() == tasks
    # Another one has the lease at once.
    async with relaying(database, amqp_url) as successor:
        async with asyncio.timeout(PATIENCE_S):
            while successor.status.state != "working":
                await asyncio.sleep(0.02)


async def _next(queue: aio_pika.abc.AbstractQueue) -> aio_pika.abc.AbstractIncomingMessage:
    """The next message of a queue, which is acknowledged."""
    async with asyncio.timeout(PATIENCE_S):
        while (message := await queue.get(no_ack=True, fail=False)) is None:
            await asyncio.sleep(0.01)
        return message


async def _relay_row(engine: Engine, state: str) -> dict[str, Any]:
    """The relay as an operator sees it, once it is in that state."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            [row] = (await engine.get("/admin/relays"))["relays"]
            if row["state"] == state:
                found: dict[str, Any] = row
                return found
            await asyncio.sleep(0.05)


def _log_id(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select log_id from eventstore.log_facts()").fetchone()
    assert row is not None
    return str(row[0])


def _checkpoint(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select eventstore.checkpoint(0, 'relay')").fetchone()
    assert row is not None
    return int(row[0])


_WAITING = "from pg_stat_activity where datname = %s and wait_event_type = 'Lock'"


def _waiting(postgres: Postgres, dsn: str) -> bool:
    with psycopg.connect(postgres.admin_dsn) as connection:
        return connection.execute(f"select {_WAITING}", [name_of(dsn)]).fetchone() is not None


def _end_waiting(postgres: Postgres, dsn: str) -> None:
    """The server does not notice by itself that a client has gone while it waits."""
    with psycopg.connect(postgres.admin_dsn) as connection:
        connection.execute(f"select pg_terminate_backend(pid, 10000) {_WAITING}", [name_of(dsn)])
