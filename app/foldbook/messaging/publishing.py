"""Publishing many messages at once: one write for all of them, and their confirms counted.

aio-pika waits for each message's confirm, and publishes some thousand messages a second. Here frames are made with
pamqp, and a batch of them is one write; RabbitMQ confirms by delivery tag, often many with one frame.

::

    FoldbookError
    └── RabbitRefused           RabbitMQ did not take a message that it should keep
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import aiormq
from aio_pika.abc import AbstractConnection
from aiormq.abc import ChannelFrame, ConfirmationFrameType
from pamqp import commands as spec
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from foldbook.errors import FoldbookError
from foldbook.messaging.connection import CALL_TIMEOUT_S, add_channel

FRAMES_MAX = 10
"""Frames from RabbitMQ that wait to be looked at."""


class RabbitRefused(FoldbookError, code="rabbitmq-refused", status=503, title="RabbitMQ did not take a message"):
    retry_after_s = 1


class Outgoing(NamedTuple):
    """A message as it is sent."""

    routing_key: str
    properties: spec.Basic.Properties
    body: bytes


def frames(
    channel_number: int, exchange: str, messages: Iterable[Outgoing], *, is_mandatory: bool, frame_bytes_max: int
) -> bytes:
    """What publishes the messages, in their order."""
    parts: list[bytes] = []
    for message in messages:
        body = message.body
        publish = spec.Basic.Publish(exchange=exchange, routing_key=message.routing_key, mandatory=is_mandatory)
        header = ContentHeader(properties=message.properties, body_size=len(body))
        pieces = [ContentBody(body[first : first + frame_bytes_max]) for first in range(0, len(body), frame_bytes_max)]
        parts += (marshal(publish, channel_number), marshal(header, channel_number))
        parts += (marshal(piece, channel_number) for piece in pieces)
    return b"".join(parts)


class Confirms:
    """What RabbitMQ says of messages, by their numbers on the channel. Where one was refused, the count stands: a later
    confirm of many at once is said by the highest number, and passes over what was refused before."""

    def __init__(self) -> None:
        self.count = 0
        """So many of the messages sent first are confirmed."""
        self.refused: int | None = None
        """The first that was refused, as far as is known."""
        self._beyond: set[int] = set()

    def take(self, tag: int, *, is_ack: bool, is_multiple: bool) -> None:
        """``is_multiple``: it is said of all up to ``tag`` of which nothing was said before."""
        if not is_ack:
            refused = self.count + 1 if is_multiple else tag
            self.refused = refused if self.refused is None else min(self.refused, refused)
        elif is_multiple:
            self.count = max(self.count, tag if self.refused is None else min(tag, self.refused - 1))
            self._beyond = {beyond for beyond in self._beyond if beyond > self.count}
        else:
            self._beyond.add(tag)
        while self.count + 1 in self._beyond:
            self.count += 1
            self._beyond.remove(self.count)


class Publisher(aiormq.Channel):
    """A channel whose messages are confirmed; ``open_on`` a connection makes one.

    ``progressed`` is called when something was confirmed, refused or returned, and when the channel has closed.
    A message that no queue is bound for is returned, and confirmed: ``returned`` counts those.
    """

    def __init__(self, connection: aiormq.abc.AbstractConnection, number: int, progressed: Callable[[], None]) -> None:
        super().__init__(connection, number, frame_buffer=FRAMES_MAX)
        self._progressed = progressed
        self.sent = 0
        self.returned = 0
        self._confirms = Confirms()
        self._closed = self.closing
        self._closed.add_done_callback(lambda _: progressed())

    @classmethod
    async def open_on(cls, connection: AbstractConnection, progressed: Callable[[], None]) -> Publisher:
        channel = add_channel(connection, lambda below, number: cls(below, number, progressed))
        await channel.open(timeout=CALL_TIMEOUT_S)
        return channel

    @property
    def confirmed(self) -> int:
        """So many of the messages sent first are confirmed."""
        return self._confirms.count

    @property
    def unconfirmed(self) -> int:
        return self.sent - self.confirmed

    def check(self) -> None:
        """Raises ``RabbitRefused`` if a message was refused, and what closed the channel if it is closed."""
        if self._confirms.refused is not None:
            raise RabbitRefused(
                f"RabbitMQ refused a message, after {self.confirmed} that it took: is a queue full that refuses more?"
            )
        if self._closed.done():
            self._closed.result()
            raise ConnectionError("the channel is closed")

    async def send(self, exchange: str, messages: Sequence[Outgoing], *, is_mandatory: bool) -> None:
        """Write them, and return when the transport has room for more. While RabbitMQ takes none, that may be long."""
        payload = frames(
            self.number, exchange, messages, is_mandatory=is_mandatory, frame_bytes_max=self.max_content_size
        )
        self.sent += len(messages)
        written = self.create_future()
        await self.write_queue.put(ChannelFrame(payload=payload, should_close=False, drain_future=written))
        await written

    # -- what RabbitMQ says of them ------------------------------------------------------------------------------

    async def _on_confirm_frame(self, frame: ConfirmationFrameType) -> None:
        is_ack, is_multiple = isinstance(frame, spec.Basic.Ack), bool(getattr(frame, "multiple", False))
        self._confirms.take(frame.delivery_tag or 0, is_ack=is_ack, is_multiple=is_multiple)
        self._progressed()

    async def _on_return_frame(self, frame: spec.Basic.Return) -> None:
        """It arrives before the message's confirm."""
        header = await self._get_frame()
        assert isinstance(header, ContentHeader)
        await self._read_content(frame, header)
        self.returned += 1
        self._progressed()
