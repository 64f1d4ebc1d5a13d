"""A consumer of a queue, and when it has ended: RabbitMQ may take away a consumer, or its channel, and keep the
connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import aiormq
from aiormq.abc import DeliveredMessage
from pamqp import commands

from foldbook.messaging.connection import CALL_TIMEOUT_S


class Delivered(NamedTuple):
    """A message, and the channel on which it is acknowledged."""

    channel: aiormq.abc.AbstractChannel
    tag: int
    key: str
    properties: commands.Basic.Properties
    body: bytes


class Consumer:
    """Begin with ``start``. ``deliver`` is called with each message, in order, and must not wait."""

    def __init__(
        self,
        channel: aiormq.abc.AbstractChannel,
        queue: str,
        deliver: Callable[[Delivered], None],
        *,
        no_ack: bool = False,
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._deliver = deliver
        self._no_ack = no_ack
        self._tag: str | None = None
        self._cancelled = asyncio.Event()

    async def start(self) -> None:
        """RabbitMQ may leave this unanswered while the queue has no leader: then it raises ``TimeoutError``."""
        self._channel.on_consumer_cancel_callbacks.add(self._on_cancel)
        consuming = await self._channel.basic_consume(
            self._queue, self._on_message, no_ack=self._no_ack, timeout=CALL_TIMEOUT_S
        )
        self._tag = consuming.consumer_tag

    async def stop(self) -> None:
        """Take no more. What was delivered can still be acknowledged."""
        assert self._tag is not None
        await self._channel.basic_cancel(self._tag, timeout=CALL_TIMEOUT_S)

    async def ended(self) -> None:
        """Raises ``ConnectionError`` when RabbitMQ has ended it."""
        closing = self._channel.closing
        cancelling = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait([closing, cancelling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelling.cancel()
            closing.cancel()
        why = "was deleted" if self._cancelled.is_set() else "is not consumed any more, its channel was closed"
        raise ConnectionError(f"the queue {self._queue} {why}")

    async def _on_message(self, message: DeliveredMessage) -> None:
        delivery = message.delivery
        assert isinstance(delivery, commands.Basic.Deliver) and delivery.delivery_tag is not None
        key, properties = delivery.routing_key or "", message.header.properties
        self._deliver(Delivered(self._channel, delivery.delivery_tag, key, properties, message.body))

    def _on_cancel(self, _: commands.Basic.Cancel) -> None:
        self._cancelled.set()
