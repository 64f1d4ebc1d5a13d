"""Dead letters: kept with the reason and without the key, sent again under another, dropped, and in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from pamqp import commands as spec

from foldbook.messaging.connection import connected, underlay
from foldbook.messaging.dead_letters import (
    AUTHORIZATION,
    BODY_BYTES_MAX,
    DeadLetter,
    DeadLettersBusy,
    DeadLetterStays,
    Undelivered,
    UnknownDeadLetter,
    bury,
    dead_letter,
    dead_letters,
    drop,
    retry,
)
from foldbook.messaging.topology import COMMANDS, DEAD, DEAD_MAX, commands_queue, declare, topology

ORIGINAL = Undelivered(
    COMMANDS,
    "0",
    spec.Basic.Properties(
        content_type="application/json",
        message_id="0197b0b0-0000-7000-8000-000000000001",
        correlation_id="c-1",
        message_type="PlaceOrder",
        headers={"Authorization": "Bearer fbk_abc_secret", "expected-sequence": 7},
    ),
    b'{"quantity": "1"}',
)


@pytest.fixture
async def connection(amqp_url: str) -> AsyncIterator[AbstractConnection]:
    async with connected(amqp_url, "test") as connection:
        async with connection.channel() as channel:
            await declare(channel, topology(1))
        yield connection


async def _bury(connection: AbstractConnection, *messages: Undelivered) -> list[DeadLetter]:
    channel = await underlay(connection).channel()
    try:
        return [await bury(channel, message, "malformed", "quantity: no number") for message in messages]
    finally:
        await channel.close()


async def test_a_letter_says_why_and_where_it_came_from_and_not_who_with(connection: AbstractConnection) -> None:
    [buried] = await _bury(connection, ORIGINAL)
    [listed] = await dead_letters(connection)
    shown = await dead_letter(connection, buried.id)
    assert shown == buried
    assert (shown.code, shown.reason, shown.exchange, shown.routing_key) == (
        "malformed",
        "quantity: no number",
        COMMANDS,
        "0",
    )
    assert (shown.text, shown.headers, shown.type) == ('{"quantity": "1"}', {"expected-sequence": 7}, "PlaceOrder")
    assert listed.id == buried.id
    assert listed.body == b""


async def test_it_is_sent_again_under_the_key_of_who_retries(connection: AbstractConnection) -> None:
    [buried] = await _bury(connection, ORIGINAL)
    await retry(connection, buried.id, "fbk_xyz_other")
    assert await dead_letters(connection) == []
    async with connection.channel() as channel:
        queue = await channel.get_queue(commands_queue(0))
        message = await queue.get(no_ack=True)
    assert message.body == ORIGINAL.body
    assert message.message_id == ORIGINAL.properties.message_id
    assert message.correlation_id == "c-1"
    assert message.type == "PlaceOrder"
    assert message.headers[AUTHORIZATION] == "Bearer fbk_xyz_other"
    assert message.headers["expected-sequence"] == 7


async def test_looking_changes_neither_the_letters_nor_their_order(connection: AbstractConnection) -> None:
    buried = await _bury(connection, *[ORIGINAL] * 50)
    for _ in range(25):  # More often than a quorum queue would let them be looked at.
        await dead_letter(connection, buried[49].id)
    await drop(connection, buried[20].id)
    assert [each.id for each in await dead_letters(connection)] == [each.id for each in buried if each != buried[20]]


async def test_two_do_not_look_at_once(amqp_url: str, connection: AbstractConnection) -> None:
    await _bury(connection, ORIGINAL)

    async def look(_: AbstractIncomingMessage) -> None:
        pass

    async with connection.channel() as channel:
        queue = await channel.get_queue(DEAD)
        await queue.consume(look, exclusive=True)
        with pytest.raises(DeadLettersBusy):
            await dead_letters(connection)
    async with asyncio.timeout(60):
        while len(await dead_letters(connection)) != 1:
            await asyncio.sleep(0.02)


async def test_a_letter_that_is_not_there_is_named(connection: AbstractConnection) -> None:
    await _bury(connection, ORIGINAL)
    unknown = uuid4()
    with pytest.raises(UnknownDeadLetter, match=str(unknown)):
        await drop(connection, unknown)
    with pytest.raises(UnknownDeadLetter):
        await retry(connection, unknown, None)
    assert len(await dead_letters(connection)) == 1


async def test_what_nobody_takes_stays(connection: AbstractConnection) -> None:
    [lost, cut] = await _bury(
        connection, ORIGINAL._replace(routing_key="7"), ORIGINAL._replace(body=b"x" * (BODY_BYTES_MAX + 1))
    )
    with pytest.raises(DeadLetterStays, match="has no queue for 7"):
        await retry(connection, lost.id, None)
    with pytest.raises(DeadLetterStays, match="not kept whole"):
        await retry(connection, cut.id, None)
    assert [each.id for each in await dead_letters(connection)] == [lost.id, cut.id]


async def test_what_somebody_else_put_there_can_be_seen_and_dropped(connection: AbstractConnection) -> None:
    channel = await underlay(connection).channel()
    await channel.basic_publish(b"not ours", exchange=DEAD, routing_key=DEAD)
    [found] = await dead_letters(connection)
    assert found.code == "unreadable"
    assert (await dead_letter(connection, found.id)).text == "not ours"
    with pytest.raises(DeadLetterStays):
        await retry(connection, found.id, None)
    await drop(connection, found.id)
    assert await dead_letters(connection) == []


def test_the_queue_is_bounded() -> None:
    [queue] = [queue for queue in topology(1).queues if queue.name == DEAD]
    assert queue.arguments["x-max-length"] == DEAD_MAX
