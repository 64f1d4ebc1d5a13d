"""A consumer of a queue, and when it has ended: RabbitMQ may take away a consumer, or its channel, and keep the
connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import aiormq
from aio_pika.abc import AbstractConnection
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from foldbook.messaging.connection import CALL_TIMEOUT_S, add_channel

FRAMES_MAX = 1_000
"""Frames from RabbitMQ that wait to be looked at."""


class Delivered(NamedTuple):
    """A message, and the channel on which it is acknowledged."""

    channel: aiormq.abc.AbstractChannel
    tag: int
    key: str
    properties: commands.Basic.Properties
    body: bytes


class Consumer(aiormq.Channel):
    """A channel with one consumer. ``open_on`` a connection makes one, and ``start`` begins.

    ``deliver`` is called with each message, in order, and must not wait. The library makes a task for each message,
    which costs as much as everything else about it.
    """

    def __init__(
        self,
        connection: aiormq.abc.AbstractConnection,
        number: int,
        queue: str,
        deliver: Callable[[Delivered], None],
        *,
        is_confirming: bool,
        no_ack: bool,
    ) -> None:
        super().__init__(connection, number, publisher_confirms=is_confirming, frame_buffer=FRAMES_MAX)
        self._queue = queue
        self._deliver = deliver
        self._no_ack = no_ack
        self._cancelled = asyncio.Event()
        self._tag: str | None = None

    @classmethod
    async def open_on(
        cls,
        connection: AbstractConnection,
        queue: str,
        deliver: Callable[[Delivered], None],
        *,
        prefetch: int | None = None,
        is_confirming: bool = False,
    ) -> Consumer:
        """``prefetch``: so many messages are here without being acknowledged; None: none is ever acknowledged.
        ``is_confirming``: what is published on it is confirmed."""
        consumer = add_channel(
            connection,
            lambda below, number: cls(
                below, number, queue, deliver, is_confirming=is_confirming, no_ack=prefetch is None
            ),
        )
        await consumer.open(timeout=CALL_TIMEOUT_S)
        if prefetch is not None:
            await consumer.basic_qos(prefetch_count=prefetch, timeout=CALL_TIMEOUT_S)
        return consumer

    async def start(self) -> None:
        """RabbitMQ may leave this unanswered while the queue has no leader: then it raises ``TimeoutError``."""
        self.on_consumer_cancel_callbacks.add(self._on_cancelled)
        consuming = await self.basic_consume(self._queue, _unused, no_ack=self._no_ack, timeout=CALL_TIMEOUT_S)
        self._tag = consuming.consumer_tag

    async def stop(self) -> None:
        """Take no more. What was delivered can still be acknowledged."""
        assert self._tag is not None
        await self.basic_cancel(self._tag, timeout=CALL_TIMEOUT_S)

    async def ended(self) -> None:
        """Raises ``ConnectionError`` when RabbitMQ has ended it."""
        closing = self.closing
        cancelling = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait([closing, cancelling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelling.cancel()
            closing.cancel()
        why = "was deleted" if self._cancelled.is_set() else "is not consumed any more, its channel was closed"
        raise ConnectionError(f"the queue {self._queue} {why}")

    async def _on_deliver_frame(self, frame: commands.Basic.Deliver) -> None:
        header = await self._get_frame()
        assert isinstance(header, ContentHeader)
        body = b""
        while len(body) < header.body_size:
            piece = await self._get_frame()
            assert isinstance(piece, ContentBody)
            body += piece.value
        self._deliver(Delivered(self, frame.delivery_tag or 0, frame.routing_key or "", header.properties, body))

    def _on_cancelled(self, _: commands.Basic.Cancel) -> None:
        self._cancelled.set()


async def _unused(_: aiormq.abc.DeliveredMessage) -> None:
    """What the library would call."""
