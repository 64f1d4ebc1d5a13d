"""Commands over RabbitMQ, as their sender sees it."""

from __future__ import annotations

import asyncio
import logging
from itertools import count
from types import TracebackType
from typing import NamedTuple

import aiormq
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import DeliveryError, PublishError

from foldbook.errors import FoldbookError, Overloaded, StoreUnavailable
from foldbook.eventstore.command_writing import line_of
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import NO_METADATA, Command, Metadata
from foldbook.eventstore.store import shard_of
from foldbook.eventstore.waits import is_set_within
from foldbook.messaging.answers import settle
from foldbook.messaging.command_messages import CORRELATION_ID, ON_BEHALF_OF
from foldbook.messaging.connection import CONNECT_TIMEOUT_S, PERSISTENT, RABBIT_UNREACHABLE, RabbitLink
from foldbook.messaging.consuming import Consumer, Delivered
from foldbook.messaging.dead_letters import AUTHORIZATION
from foldbook.messaging.pipeline import properties
from foldbook.messaging.topology import COMMANDS

WAITING_MAX = 10_000
"""Commands without an answer; one more is refused with ``Overloaded``."""
ANSWER_S = 30.0
"""Without an answer for so long, nobody knows what became of a command. It waits for so long in its queue, and again
for so long in an intake that cannot get at the database; later than that it is not done."""
SWEEP_S = 0.5
REPLY_TO = "amq.rabbitmq.reply-to"
"""Answers come straight to this channel; a queue for them would outlive it."""

logger = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    command: Command
    future: asyncio.Future[CommandResult]
    until_s: float
    publishing: asyncio.Task[None]


class AmqpCommands:
    """Sends commands with a key, and waits for their answers. The commands of one sender keep their order."""

    def __init__(self, url: str, key: str | None, shard_count: int, *, answer_s: float = ANSWER_S) -> None:
        """``key`` None: an engine that is open to all."""
        self._headers = {} if key is None else {AUTHORIZATION: f"Bearer {key}"}
        self._shard_count = shard_count
        self._answer_s = answer_s
        self._link = RabbitLink("the commands", url, self._send)
        self._channel: aiormq.abc.AbstractChannel | None = None
        self._numbers = count(1)
        self._waiting: dict[str, _Waiting] = {}
        """By correlation id, the oldest first."""
        self._is_ready = asyncio.Event()

    @property
    def state(self) -> str:
        return self._link.state

    async def __aenter__(self) -> AmqpCommands:
        await self._link.start()
        await is_set_within(self._is_ready, CONNECT_TIMEOUT_S)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._link.stop()

    def submit(
        self, command: Command, *, metadata: Metadata = NO_METADATA, expected_sequence: int | None = None
    ) -> asyncio.Future[CommandResult]:
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} commands have no answer yet")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[CommandResult] = loop.create_future()
        channel = self._channel
        if channel is None or channel.is_closed:
            future.set_exception(StoreUnavailable(f"RabbitMQ cannot be reached: {self._link.error or 'not yet'}"))
            return future
        number = str(next(self._numbers))
        line = line_of(command, metadata, expected_sequence)
        publishing = asyncio.create_task(self._publish(channel, number, command, line, metadata))
        self._waiting[number] = _Waiting(command, future, loop.time() + self._answer_s, publishing)
        return future

    async def execute(
        self, command: Command, *, metadata: Metadata = NO_METADATA, expected_sequence: int | None = None
    ) -> CommandResult:
        return await self.submit(command, metadata=metadata, expected_sequence=expected_sequence)

    async def _publish(
        self, channel: aiormq.abc.AbstractChannel, number: str, command: Command, line: bytes, metadata: Metadata
    ) -> None:
        said = {CORRELATION_ID: metadata.correlation_id, ON_BEHALF_OF: metadata.on_behalf_of}
        told = properties(
            message_id=str(command.command_id),
            correlation_id=number,
            reply_to=REPLY_TO,
            expiration_ms=round(self._answer_s * 1000),
            headers=self._headers | {name: text for name, text in said.items() if text is not None},
            delivery_mode=PERSISTENT,
        )
        shard = str(shard_of(command.aggregate_id, self._shard_count))
        try:
            await channel.basic_publish(line, exchange=COMMANDS, routing_key=shard, properties=told, mandatory=True)
        except PublishError:
            self._fail(number, StoreUnavailable(f"nobody takes the commands of shard {shard}: does the intake run?"))
        except DeliveryError:
            self._fail(number, Overloaded(f"the queue of the commands of shard {shard} is full"))
        except RABBIT_UNREACHABLE as error:
            self._fail(number, _in_doubt(error))

    async def _send(self, connection: AbstractConnection) -> None:
        consumer = await Consumer.open_on(connection, REPLY_TO, self._answered, is_confirming=True)
        await consumer.start()
        self._channel = consumer
        self._is_ready.set()
        self._link.is_well()
        sweeping = asyncio.create_task(self._sweep())
        try:
            await consumer.ended()
        finally:
            self._channel = None
            sweeping.cancel()
            for number in tuple(self._waiting):
                self._fail(number, _in_doubt("the connection to RabbitMQ was lost"))

    def _answered(self, answer: Delivered) -> None:
        waiting = self._waiting.pop(answer.properties.correlation_id or "", None)
        if waiting is not None:
            settle(waiting.future, answer.body, waiting.command)

    async def _sweep(self) -> None:
        """Those that wait too long."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = asyncio.get_running_loop().time()
            while self._waiting and next(iter(self._waiting.values())).until_s <= now_s:
                self._fail(next(iter(self._waiting)), _in_doubt(f"no answer within {self._answer_s:g} s"))

    def _fail(self, number: str, error: FoldbookError) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        waiting.publishing.cancel()  # While RabbitMQ has an alarm, it may not have been sent yet.
        if not waiting.future.done():
            waiting.future.set_exception(error)


def _in_doubt(why: object) -> StoreUnavailable:
    return StoreUnavailable(f"the command has no answer: {why}", in_doubt=True)
