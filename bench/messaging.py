"""The relay: how many events a second it publishes to a RabbitMQ on this machine, each confirmed.

``foldbook relay`` is a process of its own and begins with a filled log. All events go to one durable queue, which
nobody reads meanwhile. The time counts from the first move of its checkpoint to the last, so that starting does not.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psycopg

from bench.arena import Arena, engine
from bench.rounds import Stage
from bench.table import Row, Slice
from bench.targets import RELAY
from foldbook.engine.rabbit import rabbitmq_server
from foldbook.messaging.connection import connected
from foldbook.messaging.topology import EVENTS, declare, topology
from tests.messaging.rabbit import Rabbit, rabbit

WHAT = "events relayed to RabbitMQ, each confirmed"
ROUNDS_MAX = 3
PATIENCE_S = 300.0
PAUSE_S = 0.02

_CHECKPOINT = "select eventstore.checkpoint(0, 'relay')"


def measure_messaging(stage: Stage) -> list[Row]:
    program = rabbitmq_server()
    if program is None:
        return [RELAY.not_measured(WHAT, "no rabbitmq-server is installed")]
    rabbitmq = stage.cleanup.enter_context(rabbit(program))
    relay = Relay(stage.place, rabbitmq, stage.sizes.relay_events)
    turns = stage.take_turns({WHAT: relay}, rounds=min(ROUNDS_MAX, stage.sizes.rounds))
    return [RELAY.row(WHAT, [turn.rate for turn in turns[WHAT]], f"a log of {stage.sizes.relay_events:,} events")]


@dataclass
class Relay:
    """A whole log, once a turn, to a virtual host of its own."""

    place: Arena
    rabbitmq: Rabbit
    events: int

    def run(self, seconds: float) -> Slice:
        dsn = self.place.filled_log(self.events)
        url = self.rabbitmq.virtual_host()
        asyncio.run(_declare_queue(url))
        try:
            with (
                psycopg.connect(dsn, autocommit=True) as connection,
                engine(dsn, self.place.folder, "relay", amqp_url=url),
            ):
                first = _wait_for(connection, 1)
                began_s = time.perf_counter()
                last = _wait_for(connection, self.events)
                turn = Slice(count=last - first, seconds=time.perf_counter() - began_s)
            queued = asyncio.run(_queued(url))
            assert queued >= self.events, f"{queued} of {self.events} events are in the queue"
            return turn
        finally:
            self.place.drop_database(dsn)


def _wait_for(connection: psycopg.Connection[tuple[int]], position: int) -> int:
    """Where the checkpoint is, once it has reached ``position``."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        row = connection.execute(_CHECKPOINT).fetchone()
        assert row is not None
        if row[0] >= position:
            return row[0]
        assert time.monotonic() < deadline_s, f"the relay is at {row[0]} and should be at {position}"
        time.sleep(PAUSE_S)


async def _declare_queue(url: str) -> None:
    async with connected(url, "bench") as connection, connection.channel() as channel:
        await declare(channel, topology(1))
        queue = await channel.declare_queue("bench", durable=True)
        await queue.bind(EVENTS, "#")


async def _queued(url: str) -> int:
    async with connected(url, "bench") as connection, connection.channel() as channel:
        queue = await channel.declare_queue("bench", durable=True, passive=True)
        return queue.declaration_result.message_count or 0
