"""What RabbitMQ may do while events pass, and that a consumer has each of them once, in order, whatever it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from foldbook.messaging.relay_process import RelayProcess
from tests.api.conftest import serving, settings_for
from tests.messaging.consumer import Consumer, consuming
from tests.messaging.rabbit import Rabbit
from tests.messaging.relaying import grow, relaying
from tests.waiting import until

PATIENCE_S = 120


class Ordeal:
    """``events``: so many are appended each time that something happens to RabbitMQ."""

    def __init__(
        self, rabbitmq: Rabbit, amqp_url: str, dsn: str, relay: RelayProcess, consumer: Consumer, events: int
    ) -> None:
        self.head = 0
        self.consumer = consumer
        self._rabbitmq = rabbitmq
        self._amqp_url = amqp_url
        self._dsn = dsn
        self._relay = relay
        self._events = events

    async def begin(self) -> None:
        await self.consumer.begun.wait()
        self.head = await asyncio.to_thread(grow, self._dsn, self._events)
        await until(lambda: self._relay.status.checkpoints.get("0", 0) > 0)

    async def kill(self) -> None:
        """In the middle of it."""
        before = self._relay.status.checkpoints["0"]
        growing = asyncio.create_task(asyncio.to_thread(grow, self._dsn, self._events))
        await until(lambda: self._relay.status.checkpoints["0"] > before)
        await asyncio.to_thread(self._rabbitmq.kill)
        await until(lambda: self._relay.status.state == "disconnected" and self._relay.status.error is not None)
        await asyncio.to_thread(self._rabbitmq.start)
        self.head = await growing
        await until(lambda: self._relay.status.state == "working")

    async def fill_the_disk(self) -> None:
        """For a moment."""
        await asyncio.to_thread(self._rabbitmq.raise_disk_alarm)
        try:
            growing = asyncio.create_task(asyncio.to_thread(grow, self._dsn, self._events))
            await until(lambda: self._relay.status.state == "blocked")
            self.head = await growing
        finally:
            await asyncio.to_thread(self._rabbitmq.clear_disk_alarm)
        await until(lambda: self._relay.status.state == "working")

    async def delete_the_queue(self) -> None:
        """The consumer's, with everything in it."""
        virtual_host = self._amqp_url.rpartition("/")[2]
        growing = asyncio.create_task(asyncio.to_thread(grow, self._dsn, self._events))
        await asyncio.to_thread(self._rabbitmq.delete_queue, self.consumer.name, virtual_host)
        self.head = await growing

    async def check(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.consumer.reached(self.head)
        assert await self.consumer.taken() == list(range(1, self.head + 1))
        await until(lambda: self._relay.status.checkpoints == {"0": self.head})


@asynccontextmanager
async def under_way(rabbitmq: Rabbit, amqp_url: str, dsn: str, events: int) -> AsyncIterator[Ordeal]:
    """A relay and a consumer work."""
    async with (
        serving(settings_for(dsn)) as engine,
        relaying(dsn, amqp_url) as relay,
        consuming(amqp_url, str(engine.client.base_url), dsn) as consumer,
    ):
        ordeal = Ordeal(rabbitmq, amqp_url, dsn, relay, consumer, events)
        await ordeal.begin()
        yield ordeal
