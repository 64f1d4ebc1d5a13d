"""Messages whose properties nobody can decode."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from aiormq.connection import FrameReceiver
from pamqp import commands, decode, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from foldbook.messaging.connection import connected
from foldbook.messaging.pipeline import Pipeline
from foldbook.messaging.topology import COMMANDS
from foldbook.messaging.unreadable import UNREADABLE, unreadable_in
from tests.builders import open_account
from tests.messaging.taking import buried, intake, sender
from tests.services.world import opened
from tests.waiting import until

TIME = datetime(2026, 1, 1, tzinfo=UTC)


def header(was: bytes = b"", becomes: bytes = b"", **said: Any) -> bytes:
    """The frame of a content header, in which ``was`` became something of the same length."""
    assert len(was) == len(becomes)
    properties = commands.Basic.Properties(**{"message_id": "ab", "content_type": "application/json"} | said)
    told = frame.marshal(ContentHeader(properties=properties, body_size=2), 1)
    assert was in told
    return told.replace(was, becomes)


UNDECODABLE = {
    "message_id": header(b"\x02ab", b"\x02\xe9\xe9"),
    "correlation_id": header(b"\x02cd", b"\x02\xff\xfe", correlation_id="cd"),
    "headers": header(b"S\x00\x00\x00\x01v", b"?\x00\x00\x00\x01v", headers={"h": "v"}),
    "headers: a key": header(b"\x02hh", b"\x02\xe9\xe9", headers={"hh": "v"}),
}

PASSED_ON = [told for what, told in UNDECODABLE.items() if what != "headers"]
"""RabbitMQ knows the types of headers, and refuses others."""


async def received(told: bytes) -> Any:
    reader = asyncio.StreamReader()
    reader.feed_data(told)
    return await FrameReceiver(reader).get_frame()


@pytest.mark.parametrize("what", UNDECODABLE)
async def test_it_is_read_without_them_and_says_so(what: str) -> None:
    _, _, found = await received(UNDECODABLE[what])
    assert unreadable_in(found.properties) == what.partition(":")[0]
    assert found.properties.content_type == "application/json"


async def test_a_time_beyond_all_calendars_is_none() -> None:
    seconds = int(TIME.timestamp()).to_bytes(8, "big")
    _, _, found = await received(header(seconds, b"\x00" + b"\xff" * 7, timestamp=TIME))
    assert found.properties.timestamp is None
    assert unreadable_in(found.properties) is None


async def test_what_can_be_decoded_is_as_it_was() -> None:
    told: dict[str, Any] = {"correlation_id": "é", "timestamp": TIME, "headers": {"a": 1, "b": ["x"], "c": {"d": TIME}}}
    _, _, found = await received(header(**told))
    assert {name: getattr(found.properties, name) for name in told} == told
    assert unreadable_in(found.properties) is None
    assert UNREADABLE not in told["headers"]
    assert decode.METHODS["shortstr"](b"\x02ab") == (3, "ab")


async def test_the_intake_buries_it_and_serves_the_next(amqp_url: str, database: str) -> None:
    async with opened(database) as log, intake(amqp_url, log.bus) as taking, sender(amqp_url) as trader:
        publish = frame.marshal(commands.Basic.Publish(exchange=COMMANDS, routing_key="0"), 1)
        async with connected(amqp_url, "test") as connection, connection.channel() as channel:
            below = await channel.get_underlay_channel()
            assert below.number == 1, "as the frames say"
            for told in PASSED_ON:
                await Pipeline(connection, below).write(publish + told + frame.marshal(ContentBody(b"{}"), 1))
            await until(lambda: taking.counts.buried == len(PASSED_ON))
        assert (await trader.ask(open_account()))["sequence"] == 1
    letters = await buried(amqp_url, len(PASSED_ON))
    assert {letter.code for letter in letters} == {"malformed"}
