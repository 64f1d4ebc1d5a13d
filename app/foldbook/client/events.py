"""A queue of events at RabbitMQ, for the consumer that it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from foldbook.messaging.connection import CALL_TIMEOUT_S
from foldbook.messaging.topology import EVENTS, events_queue

UNACKNOWLEDGED_MAX = 200


@asynccontextmanager
async def subscribed(
    connection: AbstractConnection, name: str, shard: int | None = None
) -> AsyncIterator[AsyncIterator[AbstractIncomingMessage]]:
    """Declare the queue ``name`` for the events of a shard, or of all, and take them; acknowledge each.

    What passed while the queue did not exist is not in it: read ``missing`` first, after this has been entered, so that
    nothing passes in between. Taking messages raises ``ConnectionError`` when RabbitMQ has ended it, as when the queue
    was deleted: begin again.
    """
    queue = events_queue(name, shard)
    async with connection.channel() as channel:
        arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        async with asyncio.timeout(CALL_TIMEOUT_S):
            await channel.set_qos(prefetch_count=UNACKNOWLEDGED_MAX)
            await channel.declare_exchange(EVENTS, "topic", durable=True)
            declared = await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
            await declared.bind(EVENTS, queue.routing_key)
            below = await channel.get_underlay_channel()
            below.on_consumer_cancel_callbacks.add(lambda _: arrived.put_nowait(None))
            below.closing.add_done_callback(lambda _: arrived.put_nowait(None))
            await declared.consume(arrived.put)
        yield _messages(name, arrived)


async def _messages(
    name: str, arrived: asyncio.Queue[AbstractIncomingMessage | None]
) -> AsyncIterator[AbstractIncomingMessage]:
    while (message := await arrived.get()) is not None:
        yield message
    raise ConnectionError(f"RabbitMQ has ended the consumer of the queue {name}: was the queue deleted?")
