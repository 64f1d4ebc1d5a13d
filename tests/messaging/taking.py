"""An intake in this process, keys for it, and a sender that says whatever it likes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import msgspec
from aio_pika.abc import AbstractConnection
from aiormq.abc import DeliveredMessage
from pamqp import commands as spec
from uuid_utils.compat import uuid7

from foldbook.access.access import Key, Keys
from foldbook.access.keyring import Keyring
from foldbook.access.keys import digest_of, key_of
from foldbook.access.rates import Rates
from foldbook.access.roles import EVERY_ACCOUNT, Role
from foldbook.engine.domains import DOMAINS, commands_of
from foldbook.eventstore.command_writing import line_of
from foldbook.eventstore.events import NO_METADATA, Command
from foldbook.messaging.command_messages import CommandMessages
from foldbook.messaging.connection import connected, underlay
from foldbook.messaging.dead_letters import DeadLetter, dead_letters
from foldbook.messaging.intake import Intake
from foldbook.messaging.pipeline import Pipeline
from foldbook.messaging.topology import COMMANDS, declare, topology
from foldbook.messaging.transport import Commands
from tests.waiting import until

OPERATOR = key_of("0" * 12, b"o" * 32)
TRADER = key_of("1" * 12, b"t" * 32)
"""May trade in alice's accounts."""
EXPIRED = key_of("2" * 12, b"e" * 32)
UNKNOWN = key_of("3" * 12, b"u" * 32)


def now() -> datetime:
    return datetime.now(UTC)


def all_keys() -> Keys:
    def key(text: str, name: str, role: Role, account: str, **fields: Any) -> tuple[str, Key]:
        return text.split("_")[1], Key(name, (role,), (account,), digest_of(text), **fields)

    held = dict(
        [
            key(OPERATOR, "operator", Role.OPERATOR, EVERY_ACCOUNT),
            key(TRADER, "alices", Role.TRADER, "alice/*/*"),
            key(EXPIRED, "old", Role.OPERATOR, EVERY_ACCOUNT, expires_at=now() - timedelta(days=1)),
        ]
    )
    return Keys(Keys().live.update(held))


def keyring() -> Keyring:
    made = Keyring(now)
    made.follow(all_keys())
    return made


@asynccontextmanager
async def intake(
    url: str, bus: Commands, keys: Keyring | None = None, shard_count: int = 1, per_s: int = 10_000, **options: Any
) -> AsyncIterator[Intake]:
    """Until it has finished what it took."""
    rates = Rates(per_s, time.monotonic)
    messages = CommandMessages(commands_of(DOMAINS), keys or keyring(), rates, shard_count, now)
    taking = Intake(url, bus, messages, shard_count, **options)
    await taking.start()
    try:
        await until(lambda: taking.state == "connected")
        yield taking
    finally:
        await taking.stop()


class Sender:
    """Publishes messages as they are, and keeps the answers by their correlation id."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self.answers: dict[str | None, dict[str, Any]] = {}

    async def open(self, shard_count: int = 1) -> None:
        self._channel = await underlay(self._connection).channel()
        self._unconfirmed = await underlay(self._connection).channel(publisher_confirms=False)
        self.queue = (await self._channel.queue_declare(exclusive=True)).queue or ""
        await self._channel.basic_consume(self.queue, self._on_answer, no_ack=True)

    async def _on_answer(self, message: DeliveredMessage) -> None:
        self.answers[message.header.properties.correlation_id] = msgspec.json.decode(message.body)

    async def publish(
        self,
        body: bytes,
        *,
        shard: int | str = 0,
        key: str | None = OPERATOR,
        headers: dict[str, Any] | None = None,
        **properties: Any,
    ) -> None:
        """With an answer to this sender, unless ``reply_to`` says otherwise."""
        authority = {} if key is None else {"authorization": f"Bearer {key}"}
        given: dict[str, Any] = {"reply_to": self.queue, "delivery_mode": 2} | properties
        told = spec.Basic.Properties(headers=authority | (headers or {}), **given)
        if told.message_id is None:  # The library would make one up.
            pipeline = Pipeline(self._connection, self._unconfirmed)
            await pipeline.write(pipeline.publish(COMMANDS, str(shard), body, told))
            return
        await self._channel.basic_publish(
            body, exchange=COMMANDS, routing_key=str(shard), properties=told, mandatory=True
        )

    async def send(self, command: Command, **given: Any) -> None:
        """With its id as the correlation id."""
        command_id = str(command.command_id)
        given = {"message_id": command_id, "correlation_id": command_id} | given
        await self.publish(line_of(command, NO_METADATA, given.pop("expected_sequence", None)), **given)

    async def ask(self, command: Command, **given: Any) -> dict[str, Any]:
        await self.send(command, **given)
        return await self.answer_to(str(command.command_id))

    async def answer_to(self, correlation_id: str) -> dict[str, Any]:
        await until(lambda: correlation_id in self.answers)
        return self.answers.pop(correlation_id)


@asynccontextmanager
async def sender(url: str, shard_count: int = 1) -> AsyncIterator[Sender]:
    async with await aio_pika.connect(url) as connection:
        async with connection.channel() as channel:
            await declare(channel, topology(shard_count))
        made = Sender(connection)
        await made.open()
        yield made


async def buried(url: str, count: int) -> list[DeadLetter]:
    """The dead letters, when there are so many."""
    found: list[DeadLetter] = []

    async def are_there() -> bool:
        nonlocal found
        async with connected(url, "test") as connection:
            found = await dead_letters(connection)
        return len(found) >= count

    await until(are_there)
    return found


def new_id() -> str:
    return str(uuid7())
