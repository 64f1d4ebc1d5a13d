"""Messages without confirms, and what is acknowledged, many in one write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import aiormq
from aio_pika.abc import AbstractConnection
from aiormq.abc import ChannelFrame
from pamqp import commands
from pamqp.frame import marshal

from foldbook.messaging.connection import TRANSIENT, underlay
from foldbook.messaging.publishing import Outgoing, frames

FRAME_OVERHEAD_BYTES = 8
"""What a frame has besides its payload (AMQP 0-9-1, 4.2.3)."""


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
        self._frame_bytes_max = self._connection.connection_tune.frame_max - FRAME_OVERHEAD_BYTES

    def publish(self, exchange: str, key: str, body: bytes, told: commands.Basic.Properties) -> bytes:
        """The frames of a message that nobody misses if no queue is there for it."""
        message = Outgoing(key, told, body)
        return frames(self._number, exchange, (message,), is_mandatory=False, frame_bytes_max=self._frame_bytes_max)

    def acknowledge(self, tag: int) -> bytes:
        """The frame that acknowledges everything up to ``tag``."""
        return marshal(commands.Basic.Ack(delivery_tag=tag, multiple=True), self._number)

    async def write(self, payload: bytes) -> None:
        """Return when it is on its way: as slowly as RabbitMQ takes it."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._connection.write_queue.put(ChannelFrame(payload, should_close=False, drain_future=written))
        await written
