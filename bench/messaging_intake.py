"""The intake: how many commands a second it takes from a RabbitMQ on this machine, each durable and answered.

``foldbook intake`` is a process of its own, and so is the sender, which keeps ``WINDOW`` commands under way. A command
counts when its answer has arrived.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from bench.arena import Arena, engine, run_child
from bench.messaging_intake_load import IntakeLoad
from bench.rounds import Stage
from bench.table import Row, Slice
from bench.targets import INTAKE
from foldbook.engine.rabbit import rabbitmq_server
from foldbook.messaging.connection import connected
from foldbook.messaging.topology import commands_queue, declare, topology
from tests.messaging.rabbit import Rabbit, rabbit

WHAT = "commands over RabbitMQ, each durable and answered"
WINDOW = 1_000
PATIENCE_S = 60.0
PAUSE_S = 0.05


def measure_intake(stage: Stage) -> list[Row]:
    program = rabbitmq_server()
    if program is None:
        return [INTAKE.not_measured(WHAT, "no rabbitmq-server is installed")]
    rabbitmq = stage.cleanup.enter_context(rabbit(program))
    turns = stage.take_turns({WHAT: Intake(stage.place, rabbitmq)})[WHAT]
    return [INTAKE.row(WHAT, [turn.rate for turn in turns], f"one sender, {WINDOW:,} commands under way")]


@dataclass
class Intake:
    """A log of its own each turn, and a virtual host of its own."""

    place: Arena
    rabbitmq: Rabbit

    def run(self, seconds: float) -> Slice:
        dsn = self.place.create_database()
        url = self.rabbitmq.virtual_host()
        try:
            with engine(dsn, self.place.folder, "intake", amqp_url=url):
                asyncio.run(_wait_for_consumer(url))
                load = IntakeLoad(url=url, window=WINDOW, seconds=seconds)
                return run_child("bench.messaging_intake_load", load, Slice)
        finally:
            self.place.drop_database(dsn)


async def _wait_for_consumer(url: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    async with connected(url, "bench") as connection, connection.channel() as channel:
        await declare(channel, topology(1))
        while True:
            queue = await channel.declare_queue(commands_queue(0), passive=True)
            if queue.declaration_result.consumer_count:
                return
            assert time.monotonic() < deadline_s, "the intake does not take commands"
            await asyncio.sleep(PAUSE_S)
