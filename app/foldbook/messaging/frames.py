"""Messages as frames, many in one write.

The library's own publish takes a lock, a future and a turn of the loop for each message. What is sent in bulk is put
together here, and handed to its writer as one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import aiormq
from aio_pika.abc import AbstractConnection
from aiormq.abc import ChannelFrame
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from foldbook.messaging.connection import underlay

FRAME_OVERHEAD_BYTES = 8
"""What a frame has besides its payload (AMQP 0-9-1, 4.2.3)."""

TRANSIENT, PERSISTENT = 1, 2
"""Delivery modes."""


def properties(
    *,
    message_id: str | None = None,
    correlation_id: str | None = None,
    reply_to: str | None = None,
    expiration_ms: int | None = None,
    timestamp: datetime | None = None,
    headers: Mapping[str, Any] | None = None,
    delivery_mode: int = TRANSIENT,
) -> commands.Basic.Properties:
    """Of a message of ours: JSON."""
    return commands.Basic.Properties(
        content_type="application/json",
        headers=dict(headers) if headers else None,
        delivery_mode=delivery_mode,
        correlation_id=correlation_id,
        reply_to=reply_to,
        expiration=None if expiration_ms is None else str(expiration_ms),
        message_id=message_id,
        timestamp=timestamp,
    )


class Pipeline:
    """Writes to one channel of a connection, between whatever the library writes to it."""

    def __init__(self, connection: AbstractConnection, channel: aiormq.abc.AbstractChannel) -> None:
        self._connection = underlay(connection)
        self._number = channel.number
        self._payload_max = self._connection.connection_tune.frame_max - FRAME_OVERHEAD_BYTES

    def publish(self, exchange: str, key: str, body: bytes, told: commands.Basic.Properties) -> bytes:
        """The frames of a message."""
        number = self._number
        frames = [
            marshal(commands.Basic.Publish(exchange=exchange, routing_key=key), number),
            marshal(ContentHeader(body_size=len(body), properties=told), number),
        ]
        pieces = range(0, len(body), self._payload_max)
        frames += (marshal(ContentBody(body[begin : begin + self._payload_max]), number) for begin in pieces)
        return b"".join(frames)

    def acknowledge(self, tag: int) -> bytes:
        """The frame that acknowledges everything up to ``tag``."""
        return marshal(commands.Basic.Ack(delivery_tag=tag, multiple=True), self._number)

    async def write(self, payload: bytes) -> None:
        """Return when it is on its way: as slowly as RabbitMQ takes it."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._connection.write_queue.put(ChannelFrame(payload, should_close=False, drain_future=written))
        await written
