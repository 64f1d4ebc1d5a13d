"""A separate process that sends commands over RabbitMQ: ``python -m bench.messaging_intake_load <IntakeLoad as JSON>``
prints a Slice.

A window of commands is under way; each answer makes room for one more, and what there is room for goes out in one
write. Messages are persistent and not confirmed: the answer says more.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count

import msgspec
import uvloop
from aio_pika.abc import AbstractConnection

from bench.clock import Stopwatch
from bench.load import accounts, open_account, orders
from bench.table import Slice
from foldbook.eventstore.command_writing import line_of
from foldbook.eventstore.events import NO_METADATA, Command
from foldbook.messaging.amqp_commands import REPLY_TO
from foldbook.messaging.connection import connected, underlay
from foldbook.messaging.consuming import Consumer, Delivered
from foldbook.messaging.pipeline import PERSISTENT, Pipeline, properties
from foldbook.messaging.topology import COMMANDS

ACCOUNTS = 100
WARM_UP_S = 1.0


class IntakeLoad(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    window: int
    seconds: float


class Sender:
    def __init__(self, connection: AbstractConnection, window: int) -> None:
        self._connection = connection
        self._window = window
        self._numbers = count()
        self._room = asyncio.Event()
        self.sent = 0
        self.done = 0
        self.failure: str | None = None

    async def send(self, commands: list[Command]) -> None:
        """All of them, and return when they are answered."""
        for command in commands:
            await self._write([command])
        while self.done < self.sent:
            await self._next()

    async def open(self) -> None:
        channel = await underlay(self._connection).channel(publisher_confirms=False)
        self._pipeline = Pipeline(self._connection, channel)
        await Consumer(channel, REPLY_TO, self._answered, no_ack=True).start()

    async def keep_busy(self, names: list[str]) -> None:
        """New orders, until this is cancelled."""
        waiting = orders(names, os.urandom(4).hex(), 0)
        while True:
            room = self._window - (self.sent - self.done)
            if room > 0:
                await self._write([next(waiting) for _ in range(room)])
            await self._next()

    async def _next(self) -> None:
        self._room.clear()
        await self._room.wait()
        if self.failure is not None:
            raise RuntimeError(self.failure)

    async def _write(self, commands: list[Command]) -> None:
        self.sent += len(commands)
        await self._pipeline.write(b"".join(map(self._message, commands)))

    def _message(self, command: Command) -> bytes:
        told = properties(
            message_id=str(command.command_id),
            correlation_id=str(next(self._numbers)),
            reply_to=REPLY_TO,
            delivery_mode=PERSISTENT,
        )
        return self._pipeline.publish(COMMANDS, "0", line_of(command, NO_METADATA), told)

    def _answered(self, answer: Delivered) -> None:
        self.done += 1
        if b"urn:foldbook:problem" in answer.body:
            self.failure = f"a command was answered by {answer.body[:1000]!r}"
        self._room.set()


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
