"""Connections under our own supervision: lost and found again, blocked and told, closed without leaving anything."""

from __future__ import annotations

import asyncio
import logging

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection

from foldbook.engine.rabbit import free_port
from foldbook.eventstore.backoff import Backoff
from foldbook.messaging.connection import RabbitLink, RabbitUnavailable, connected
from tests.messaging.rabbit import Rabbit
from tests.waiting import until

PATIENCE_S = 60


class Worker:
    """Counts its connections, and publishes on each, where nobody listens, until it is told to stop."""

    def __init__(self, url: str) -> None:
        self.link = RabbitLink("the worker", url, self._work, backoff=Backoff(0.02, 0.2))
        self.connections = 0
        self.ended = 0

    async def _work(self, connection: AbstractConnection) -> None:
        self.connections += 1
        self.link.is_well()
        try:
            channel = await connection.channel(publisher_confirms=False)
            while not self.link.stopping.is_set():
                await channel.default_exchange.publish(aio_pika.Message(b""), "nowhere")
                await asyncio.sleep(0.02)
        finally:
            self.ended += 1

    async def until(self, state: str, connections: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.link.state != state or self.connections != connections:
                await asyncio.sleep(0.02)


async def test_a_killed_rabbitmq_is_connected_to_again(
    rabbitmq: Rabbit, amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tasks = asyncio.all_tasks()
    worker = Worker(amqp_url)
    await worker.link.start()
    for number in (1, 2):
        await worker.until("connected", number)
        rabbitmq.kill()
        await worker.until("disconnected", number)
        assert worker.ended == number
        assert worker.link.error is not None
        rabbitmq.start()
    await worker.until("connected", 3)
    assert worker.link.error is None
    await worker.link.stop(grace_s=PATIENCE_S)
    assert worker.ended == 3
    assert asyncio.all_tasks() == tasks
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"] * 2


async def test_an_alarm_is_seen(rabbitmq: Rabbit, amqp_url: str) -> None:
    worker = Worker(amqp_url)
    await worker.link.start()
    await worker.until("connected", 1)
    rabbitmq.raise_disk_alarm()
    try:
        await worker.until("blocked", 1)
    finally:
        rabbitmq.clear_disk_alarm()
    await worker.until("connected", 1)
    await worker.link.stop(grace_s=PATIENCE_S)


async def test_who_is_absent_at_start_is_waited_for(rabbitmq: Rabbit, amqp_url: str) -> None:
    rabbitmq.kill()
    worker = Worker(amqp_url)
    await worker.link.start()
    async with asyncio.timeout(PATIENCE_S):
        while worker.link.error is None:
            await asyncio.sleep(0.02)
    assert worker.link.state == "disconnected"
    rabbitmq.start()
    await worker.until("connected", 1)
    await worker.link.stop()


async def test_work_that_fails_gets_another_connection(amqp_url: str) -> None:
    tries = []

    async def fail(connection: AbstractConnection) -> None:
        tries.append(connection)
        raise ValueError("no")

    link = RabbitLink("the failing", amqp_url, fail, backoff=Backoff(0.02, 0.2))
    await link.start()
    async with asyncio.timeout(PATIENCE_S):
        while len(tries) < 3 or link.error != "no":
            await asyncio.sleep(0.02)
    await link.stop()
    await until(lambda: all(connection.is_closed for connection in tries))


@pytest.mark.parametrize("url", ["amqp://foldbook:a-secret@127.0.0.1:{port}/", "amqp://foldbook:a-secret@{broker}/"])
async def test_no_error_shows_the_password(rabbitmq: Rabbit, url: str) -> None:
    with pytest.raises(RabbitUnavailable, match=r"127\.0\.0\.1") as raised:
        async with connected(url.format(port=free_port(), broker=f"127.0.0.1:{rabbitmq.port}"), "test"):
            pass
    assert "a-secret" not in str(raised.value)
