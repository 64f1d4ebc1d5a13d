"""The broker of the tests: what it keeps, and that nothing of it is left behind."""

from __future__ import annotations

import asyncio

import aio_pika
import psutil

from foldbook.engine.rabbit import rabbitmq_server
from tests.messaging.rabbit import Rabbit, rabbit


async def test_it_keeps_what_it_confirmed_when_it_is_killed(rabbitmq: Rabbit, amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        await channel.declare_queue("kept", durable=True)
        await asyncio.to_thread(rabbitmq.write_down)
        message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")
        rabbitmq.kill()
    rabbitmq.start()
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue("kept", durable=True)
        assert (await queue.get(no_ack=True)).body == b"kept"


def test_nothing_of_it_is_left_behind(rabbitmq: Rabbit) -> None:
    program = rabbitmq_server()
    assert program is not None
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with rabbit(program) as broker:
        assert {process.pid for process in psutil.Process().children(recursive=True)} > before
    assert not broker.folder.exists()
    assert {process.pid for process in psutil.Process().children(recursive=True)} == before
