"""How what is sent over RabbitMQ ends when the connection does: what this side remembers of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest

from foldbook.errors import StoreUnavailable
from foldbook.eventstore.problems import explain
from foldbook.market.records import Quote
from foldbook.messaging import amqp_market, relay
from foldbook.messaging.amqp_commands import AmqpCommands
from foldbook.messaging.amqp_market import AmqpSink
from foldbook.messaging.answers import read_answer
from foldbook.messaging.command_messages import Poison
from foldbook.messaging.relay import ShardRelay
from tests.builders import place

AMQP = "amqp://127.0.0.1:1"


class Pipe:
    """A connection that takes what is written, or hangs with it."""

    def __init__(self, *, hangs: bool = False) -> None:
        self._hangs = hangs
        self.written = b""

    def publish(self, *_: object) -> bytes:
        return b"x"

    async def write(self, payload: bytes) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        self.written += payload


async def test_market_data_of_which_the_last_write_broke_off_are_drained_by_the_next_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(amqp_market, "is_blocked", lambda _: False)
    sink = AmqpSink(AMQP, "venue")
    sink.put(Quote("A", 1, "1", "2", None, None))
    breaking = asyncio.create_task(sink._flush(cast(Any, None), cast(Any, Pipe(hangs=True))))
    await asyncio.sleep(0.02)
    breaking.cancel()
    await asyncio.wait([breaking])
    assert sink.sent == 0
    flushing = asyncio.create_task(sink._flush(cast(Any, None), cast(Any, Pipe())))
    async with asyncio.timeout(10):
        await sink.drain()
    flushing.cancel()


async def test_a_relay_that_stops_waits_for_confirms_and_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unconfirmed:
        unconfirmed, confirmed, returned, sent, looks = 1, 0, 0, 1, 0

        def check(self) -> None:
            self.looks += 1

    monkeypatch.setattr(relay, "STOP_TIMEOUT_S", 0.5)
    shard, publisher = ShardRelay("postgres://nowhere/x", 0, 0.5), Unconfirmed()
    shard.hint(None)  # As whoever stops it does.
    await relay._Session(shard, cast(Any, None), cast(Any, publisher), "log").finish()
    assert publisher.looks <= 10


@pytest.mark.parametrize("code", ["expired", "redelivered"])
def test_what_the_engine_could_not_get_at_in_time_may_be_sent_again(code: str) -> None:
    """Its sender would have been told the same, had he given up a moment earlier."""
    document = msgspec.json.encode(explain(Poison(code, "too late")).document())
    with pytest.raises(StoreUnavailable) as caught:
        read_answer(document, place())
    assert caught.value.details["in_doubt"] is True


async def test_a_command_that_has_no_answer_is_not_published_afterwards() -> None:
    """While RabbitMQ has an alarm, what is to be published waits."""

    class Channel:
        is_closed = False
        published = 0

        def __init__(self) -> None:
            self.alarm = asyncio.Event()

        async def basic_publish(self, *_: object, **__: object) -> None:
            await self.alarm.wait()
            self.published += 1

    channel = Channel()
    commands = AmqpCommands(AMQP, None, 1, answer_s=0.05)
    commands._channel = cast(Any, channel)
    sweeping = asyncio.create_task(commands._sweep())
    with pytest.raises(StoreUnavailable, match="no answer"):
        await commands.submit(place())
    channel.alarm.set()
    await asyncio.sleep(0.05)
    sweeping.cancel()
    assert channel.published == 0
