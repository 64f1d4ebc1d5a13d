"""Routing keys, and what is declared: the same however often, never replaced, compared with what there is."""

from __future__ import annotations

import re

import aio_pika
import pytest
from aio_pika.exceptions import ChannelPreconditionFailed
from hypothesis import given
from hypothesis import strategies as st

from foldbook.messaging.connection import connected
from foldbook.messaging.topology import (
    COMMANDS,
    DEAD,
    EVENTS,
    MARKET,
    check,
    commands_queue,
    declare,
    event_key,
    market_key,
    topology,
    word,
)
from foldbook.trading.values import NAME_PATTERN, SYMBOL_PATTERN

TWO_SHARDS = topology(2)

names = st.from_regex(re.compile(NAME_PATTERN, re.ASCII)) | st.from_regex(re.compile(SYMBOL_PATTERN, re.ASCII))


def test_a_key_reads_as_its_names() -> None:
    assert event_key(0, "order_book", "alice/binance/live", "OrderFilled") == "0.alice.binance.live.OrderFilled"
    assert event_key(1, "access", "keys", "KeyIssued") == "1.-.access.keys.KeyIssued"
    assert market_key("quote", "venue", "BTC/USDT") == "quote.venue.BTC/USDT"
    assert market_key("quote", "venue", "BRK.B") == "quote.venue.BRK,B"
    assert market_key("quote", "venue", "A#B*C") == "quote.venue.A|B;C"


@given(names, names)
def test_a_word_is_one_word_and_of_one_name(one: str, another: str) -> None:
    assert not set(word(one)) & set(".*#")
    assert len(word(one)) == len(one)
    assert (word(one) == word(another)) == (one == another)


@given(st.text(), st.text(), st.text())
def test_any_key_fits_and_has_its_five_words(aggregate_type: str, aggregate_id: str, event_type: str) -> None:
    key = event_key(1023, aggregate_type, aggregate_id, event_type)
    assert len(key.encode()) <= 255
    assert key.count(".") == 4


async def test_declaring_again_changes_nothing_and_keeps_what_is_queued(amqp_url: str) -> None:
    async with connected(amqp_url, "test") as connection:
        assert {finding.state for finding in await check(connection, TWO_SHARDS)} == {"missing"}
        async with connection.channel() as channel:
            await declare(channel, TWO_SHARDS)
            await channel.default_exchange.publish(aio_pika.Message(b"1"), commands_queue(1))
            await declare(channel, TWO_SHARDS)
            queue = await channel.get_queue(commands_queue(1))
            assert (await queue.get()).body == b"1"
        findings = await check(connection, TWO_SHARDS)
    assert {finding.name: finding.state for finding in findings} == dict.fromkeys(
        [MARKET, COMMANDS, EVENTS, DEAD, commands_queue(0), commands_queue(1)], "equal"
    )


async def test_a_command_reaches_the_queue_of_its_shard(amqp_url: str) -> None:
    async with connected(amqp_url, "test") as connection, connection.channel() as channel:
        await declare(channel, TWO_SHARDS)
        exchange = await channel.get_exchange(COMMANDS)
        await exchange.publish(aio_pika.Message(b"1"), "1")
        queue = await channel.get_queue(commands_queue(1))
        assert (await queue.get()).body == b"1"


async def test_what_is_there_with_other_arguments_is_named_and_left_alone(amqp_url: str) -> None:
    async with connected(amqp_url, "test") as connection:
        async with connection.channel() as channel:
            await channel.declare_queue(DEAD, durable=True)
            await channel.declare_exchange(EVENTS, "fanout", durable=True)
        found = {finding.name: finding for finding in await check(connection, TWO_SHARDS)}
        assert found[DEAD].state == found[EVENTS].state == "different"
        assert "x-max-length" in found[DEAD].detail
        assert "fanout" in found[EVENTS].detail
        with pytest.raises(ChannelPreconditionFailed):
            async with connection.channel() as channel:
                await declare(channel, TWO_SHARDS)
        async with connection.channel() as channel:
            await channel.declare_queue(DEAD, durable=True)
