"""Dead letters: messages that nobody could do anything with, kept with the reason until a person decides.

``bury`` puts one into the queue ``foldbook.dead``. A person looks at them, sends one again to where it came from, or
drops it. Whoever looks is the queue's only consumer meanwhile, and what is not taken goes back to its place.

The key of the sender is not kept: who sends a message again does so with a key of his own.

::

    FoldbookError
    ├── UnknownDeadLetter       there is none with this id (any more)
    ├── DeadLettersBusy         somebody else is looking at them
    └── DeadLetterStays         it cannot be sent again: nobody takes it, or it was too long to be kept whole
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import NAMESPACE_OID, UUID, uuid5

import aiormq
import msgspec
from aio_pika.abc import AbstractConnection
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused, DeliveryError, PublishError
from pamqp import commands as spec
from uuid_utils.compat import uuid7

from foldbook.access.keys import without_keys
from foldbook.errors import FoldbookError
from foldbook.messaging.connection import CALL_TIMEOUT_S, PERSISTENT, underlay
from foldbook.messaging.topology import DEAD, DEAD_QUEUE

AUTHORIZATION = "authorization"
"""The header that carries the sender's key, as ``Bearer <key>``."""

NOT_KEPT = {AUTHORIZATION, "x-delivery-count"}
"""Headers: the key, and what the queue that it was in said of it."""
BODY_BYTES_MAX = 1 << 20
"""What is kept of a body."""
REASON_MAX = 1_000


class UnknownDeadLetter(FoldbookError, code="unknown-dead-letter", status=404, title="There is no such dead letter"):
    pass


class DeadLettersBusy(
    FoldbookError, code="dead-letters-busy", status=409, title="Somebody else is looking at the dead letters"
):
    retry_after_s = 1


class DeadLetterStays(
    FoldbookError, code="dead-letter-stays", status=409, title="The dead letter cannot be sent again"
):
    pass


class Undelivered(NamedTuple):
    """A message as it arrived."""

    exchange: str
    routing_key: str
    properties: spec.Basic.Properties
    body: bytes


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """``code`` and ``reason``: why nobody could do anything with it. ``exchange`` and ``routing_key``: where it came
    from. ``body``: base64; ``is_cut``: it was longer. ``headers``: without the sender's key."""

    id: UUID
    code: str
    reason: str
    buried_at: datetime
    exchange: str
    routing_key: str
    message_id: str | None
    correlation_id: str | None
    type: str | None
    content_type: str | None
    headers: dict[str, Any]
    body: bytes
    is_cut: bool

    @property
    def text(self) -> str:
        """The body as a person reads it."""
        return self.body.decode(errors="replace")


async def bury(channel: aiormq.abc.AbstractChannel, message: Undelivered, code: str, reason: str) -> DeadLetter:
    """Keep the message. Returns after RabbitMQ's confirm; then the original can be acknowledged. ``channel`` confirms
    what is published on it. Raises what the connection raises, and then the message is not kept."""
    told = message.properties
    letter = DeadLetter(
        id=uuid7(),
        code=code,
        reason=reason[:REASON_MAX],
        buried_at=datetime.now(UTC),
        exchange=message.exchange,
        routing_key=message.routing_key,
        message_id=told.message_id,
        correlation_id=told.correlation_id,
        type=told.message_type,
        content_type=told.content_type,
        headers=_kept(told.headers or {}),
        body=without_keys(message.body[:BODY_BYTES_MAX]),
        is_cut=len(message.body) > BODY_BYTES_MAX,
    )
    await channel.basic_publish(
        without_keys(msgspec.json.encode(letter)),
        exchange=DEAD,
        routing_key=DEAD,
        properties=spec.Basic.Properties(
            content_type="application/json", delivery_mode=PERSISTENT, message_id=str(letter.id), message_type=code
        ),
        mandatory=True,
        timeout=CALL_TIMEOUT_S,
    )
    return letter


async def dead_letters(connection: AbstractConnection) -> list[DeadLetter]:
    """All of them, the oldest first, without their bodies. Raises ``DeadLettersBusy``."""
    async with _looking(connection) as letters:
        return [msgspec.structs.replace(each.letter, body=b"") async for each in letters]


async def dead_letter(connection: AbstractConnection, letter_id: UUID) -> DeadLetter:
    """Raises ``UnknownDeadLetter`` and ``DeadLettersBusy``."""
    async with _looking(connection) as letters:
        return (await _find(letters, letter_id)).letter


async def drop(connection: AbstractConnection, letter_id: UUID) -> DeadLetter:
    """Forget it. Raises ``UnknownDeadLetter`` and ``DeadLettersBusy``."""
    async with _looking(connection) as letters:
        found = await _find(letters, letter_id)
        await found.take()
        return found.letter


async def retry(connection: AbstractConnection, letter_id: UUID, key: str | None) -> DeadLetter:
    """Send it again to where it came from, under the authority of ``key``, and forget it once that is confirmed.

    Whoever takes it knows it by its message id: sent twice, it is done once. Raises ``UnknownDeadLetter``,
    ``DeadLettersBusy`` and ``DeadLetterStays``.
    """
    async with _looking(connection) as letters:
        found = await _find(letters, letter_id)
        letter = found.letter
        if letter.is_cut:
            raise DeadLetterStays(f"dead letter {letter.id} was not kept whole")
        authority = {} if key is None else {AUTHORIZATION: f"Bearer {key}"}
        properties = spec.Basic.Properties(
            content_type=letter.content_type,
            headers={**letter.headers, **authority},
            delivery_mode=PERSISTENT,
            correlation_id=letter.correlation_id,
            message_id=letter.message_id,
            message_type=letter.type,
        )
        try:
            await found.channel.basic_publish(
                letter.body,
                exchange=letter.exchange,
                routing_key=letter.routing_key,
                properties=properties,
                mandatory=True,
                timeout=CALL_TIMEOUT_S,
            )
        except (DeliveryError, PublishError) as error:
            raise DeadLetterStays(
                f"dead letter {letter.id}: {letter.exchange} has no queue for {letter.routing_key}, or it is full"
            ) from error
        await found.take()
        return letter


# -- looking -----------------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    letter: DeadLetter
    channel: aiormq.abc.AbstractChannel
    tag: int

    async def take(self) -> None:
        await self.channel.basic_ack(self.tag)


@asynccontextmanager
async def _looking(connection: AbstractConnection) -> AsyncIterator[AsyncIterator[_Found]]:
    """What is in the queue now. What is not taken goes back to its place when this ends."""
    channel = await underlay(connection).channel(timeout=CALL_TIMEOUT_S)
    try:
        declared = await channel.queue_declare(
            DEAD, durable=True, arguments=dict(DEAD_QUEUE.arguments), timeout=CALL_TIMEOUT_S
        )
        arrived: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
        try:
            await channel.basic_consume(DEAD, arrived.put, exclusive=True, timeout=CALL_TIMEOUT_S)
        except ChannelAccessRefused as error:
            raise DeadLettersBusy("try again in a moment") from error
        yield _letters(channel, arrived, declared.message_count or 0)
    finally:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            await channel.close()


async def _letters(
    channel: aiormq.abc.AbstractChannel, arrived: asyncio.Queue[DeliveredMessage], count: int
) -> AsyncIterator[_Found]:
    for _ in range(count):
        async with asyncio.timeout(CALL_TIMEOUT_S):
            message = await arrived.get()
        assert isinstance(message.delivery, spec.Basic.Deliver) and message.delivery.delivery_tag is not None
        yield _Found(_decoded(message.body), channel, message.delivery.delivery_tag)


async def _find(letters: AsyncIterator[_Found], letter_id: UUID) -> _Found:
    async for found in letters:
        if found.letter.id == letter_id:
            return found
    raise UnknownDeadLetter(f"no dead letter has the id {letter_id}: it was sent again, dropped, or was one too many")


def _decoded(body: bytes) -> DeadLetter:
    """What was not put there by ``bury`` is shown too, and can only be dropped."""
    try:
        return msgspec.json.decode(body, type=DeadLetter)
    except msgspec.MsgspecError as error:
        return DeadLetter(
            id=uuid5(NAMESPACE_OID, hashlib.sha256(body).hexdigest()),
            code="unreadable",
            reason=f"Foldbook did not bury this: {error}"[:REASON_MAX],
            buried_at=datetime.fromtimestamp(0, UTC),
            exchange=DEAD,
            routing_key=DEAD,
            message_id=None,
            correlation_id=None,
            type=None,
            content_type=None,
            headers={},
            body=body[:BODY_BYTES_MAX],
            is_cut=True,
        )


def _kept(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if name.lower() not in NOT_KEPT}
