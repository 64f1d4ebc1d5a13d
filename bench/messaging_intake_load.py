"""A separate process that sends commands over RabbitMQ: ``python -m bench.messaging_intake_load <IntakeLoad as JSON>``
prints a Slice.

A window of commands is under way; each answer makes room for one more, and what there is room for goes out in one
write. Messages are persistent and not confirmed: the answer says more. They are prepared, so that the sender takes
little of the machine; its share of a core is reported.
"""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec
import uvloop
from aio_pika.abc import AbstractConnection

from bench.clock import Stopwatch
from bench.load import accounts, open_account, place_order
from bench.table import Slice
from foldbook.eventstore.command_writing import line_of
from foldbook.eventstore.events import NO_METADATA, Command
from foldbook.messaging.amqp_commands import REPLY_TO
from foldbook.messaging.connection import PERSISTENT, connected
from foldbook.messaging.consuming import Consumer, Delivered
from foldbook.messaging.pipeline import Pipeline, properties
from foldbook.messaging.topology import COMMANDS

ACCOUNTS = 100
WARM_UP_S = 1.0

MESSAGE_MARK = "#" * 36
"""In the place of a command's id."""
ORDER_DIGITS = 10
ORDER_MARK = "x" * ORDER_DIGITS
"""In the place of the last part of an order's id."""


class IntakeLoad(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    window: int
    seconds: float


class Sender:
    """``send`` what opens the accounts, then ``keep_busy``."""

    def __init__(self, connection: AbstractConnection, window: int) -> None:
        self._connection = connection
        self._window = window
        self._has_room = asyncio.Event()
        self.sent = 0
        self.done = 0
        self.failure: str | None = None

    async def open(self) -> None:
        consumer = await Consumer.open_on(self._connection, REPLY_TO, self._answered)
        await consumer.start()
        self._pipeline = Pipeline(self._connection, consumer)

    async def send(self, commands: list[Command]) -> None:
        """All of them, and return when they are answered."""
        for command in commands:
            await self._write([self._message(command)])
        while self.done < self.sent:
            await self._room()

    async def keep_busy(self, names: list[str]) -> None:
        """New orders, until this is cancelled. Their messages are prepared, and get their ids when they are sent."""
        tag = os.urandom(4).hex()
        prepared = [
            _around_ids(self._message(place_order(name, f"o-{tag}-{ORDER_MARK}", number), MESSAGE_MARK))
            for number, name in enumerate(names)
        ]
        while True:
            first, room = self.sent, self._window - (self.sent - self.done)
            if room > 0:
                orders = range(first, first + room)
                await self._write([_with_ids(prepared[n % len(prepared)], tag, n) for n in orders])
            await self._room()

    async def _room(self) -> None:
        """Until something was answered."""
        self._has_room.clear()
        await self._has_room.wait()
        if self.failure is not None:
            raise RuntimeError(self.failure)

    async def _write(self, messages: list[bytes]) -> None:
        self.sent += len(messages)
        await self._pipeline.write(b"".join(messages))

    def _message(self, command: Command, message_id: str | None = None) -> bytes:
        line = msgspec.json.decode(line_of(command, NO_METADATA))
        given = message_id or line["command_id"]
        del line["command_id"]
        told = properties(message_id=given, reply_to=REPLY_TO, delivery_mode=PERSISTENT)
        return self._pipeline.publish(COMMANDS, "0", msgspec.json.encode(line), told)

    def _answered(self, answer: Delivered) -> None:
        self.done += 1
        if b"urn:foldbook:problem" in answer.body:
            self.failure = f"a command was answered by {answer.body[:1000]!r}"
        self._has_room.set()


def _around_ids(message: bytes) -> tuple[bytes, bytes, bytes]:
    before, _, rest = message.partition(MESSAGE_MARK.encode())
    between, _, after = rest.partition(ORDER_MARK.encode())
    return before, between, after


def _with_ids(parts: tuple[bytes, bytes, bytes], tag: str, number: int) -> bytes:
    before, between, after = parts
    return b"%b%b-0000-7000-8000-%012d%b%0*d%b" % (before, tag.encode(), number, between, ORDER_DIGITS, number, after)


async def send_orders(load: IntakeLoad) -> Slice:
    async with connected(load.url, "bench") as connection:
        sender = Sender(connection, load.window)
        await sender.open()
        names = accounts("intake", ACCOUNTS)
        await sender.send([open_account(name) for name in names])
        sending = asyncio.create_task(sender.keep_busy(names))
        await asyncio.wait([sending], timeout=WARM_UP_S)
        first, stopwatch = sender.done, Stopwatch()
        await asyncio.wait([sending], timeout=load.seconds)
        measured = stopwatch.slice(sender.done - first)
        if sending.done():
            sending.result()
        sending.cancel()
        await asyncio.wait([sending])
        return measured


if __name__ == "__main__":
    task = msgspec.json.decode(sys.argv[1], type=IntakeLoad)
    print(msgspec.json.encode(uvloop.run(send_orders(task))).decode())
