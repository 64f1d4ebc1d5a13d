"""Market data over RabbitMQ: the slow lose old data, and are told how many; nobody holds up anybody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import aio_pika
import pytest

from foldbook.market.errors import MarketDataError
from foldbook.market.feeds.told import Lost, Opened, Told
from foldbook.market.records import Bar, Datum, Quote, Trade
from foldbook.messaging.amqp_market import SILENT_S, WAITING_MAX, AmqpSink, AmqpSource, _Places
from foldbook.messaging.market_messages import MarketMessage, data_of, decode, encode
from foldbook.messaging.topology import MARKET
from foldbook.trading.values import Side
from tests.market.feeding import NOON_NS, S
from tests.messaging.rabbit import Rabbit
from tests.waiting import until

VENUE = "simulated"


def quote(n: int, symbol: str = "X") -> Quote:
    return Quote(symbol, NOON_NS + n * S, str(n + 1), str(n + 2))


class Reader:
    """Reads a source in a task, as fast as it is let."""

    def __init__(self, source: AsyncGenerator[Told, None]) -> None:
        self._source = source
        self.data: list[Datum | Opened] = []
        self.lost: list[Lost] = []
        self.pace_s = 0.0

    async def read(self) -> None:
        async with aclosing(self._source) as stream:
            async for told in stream:
                if isinstance(told, Lost):
                    self.lost.append(told)
                else:
                    self.data.append(told)
                if self.pace_s:
                    await asyncio.sleep(self.pace_s)

    @property
    def count_lost(self) -> int:
        return sum(lost.count or 0 for lost in self.lost)

    def bids(self, symbol: str = "X") -> list[int]:
        return [int(one.bid) - 1 for one in self.data if isinstance(one, Quote) and one.symbol == symbol]


@asynccontextmanager
async def reading(url: str, *symbols: str, **options: int) -> AsyncIterator[Reader]:
    reader = Reader(AmqpSource(url, symbols, VENUE, **options).stream())
    task = asyncio.create_task(reader.read())
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


@asynccontextmanager
async def publishing(url: str, waiting_max: int = WAITING_MAX) -> AsyncIterator[AmqpSink]:
    async with AmqpSink(url, VENUE, repeat_s=0.1, waiting_max=waiting_max) as sink:
        await until(lambda: sink.state == "connected")
        yield sink


async def heard(sink: AmqpSink, *readers: Reader) -> None:
    """Each of them has begun to listen."""
    sink.put(quote(0, "HEARD"))
    await until(lambda: all(reader.bids("HEARD") for reader in readers))


async def test_the_data_of_a_symbol_keep_their_order_whatever_their_kind(amqp_url: str) -> None:
    told: list[Datum | Opened] = []
    for n in range(50):
        at = NOON_NS + n * S
        told += [quote(n), quote(n), Trade("X", at, "5", "1", Side.BUY), Opened("X", at, quote(n).bid)]
        told.append(Bar("X", at, "1", "2", "1", "2", None, S))
    async with publishing(amqp_url) as sink, reading(amqp_url, "X", "HEARD") as reader:
        await heard(sink, reader)
        for one in told:
            sink.put(one)
            sink.put(quote(0, "Y"))
        await until(lambda: len(reader.data) >= len(told) + 1)
    assert [one for one in reader.data if one.symbol == "X"] == told
    assert reader.lost == []


async def test_who_is_slow_loses_old_data_is_told_how_many_and_stalls_nobody(amqp_url: str) -> None:
    count = 20_000
    async with (
        publishing(amqp_url) as sink,
        reading(amqp_url, queue_max=20, prefetch=4) as slow,
        reading(amqp_url) as fast,
    ):
        for n in range(5):
            sink.put(quote(n, f"S{n}"))
        await until(lambda: len(slow.data) == len(fast.data) == 5)
        slow.pace_s = 0.01
        for n in range(5, count):
            sink.put(quote(n, f"S{n % 5}"))
            if n % 100 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(fast.data) == count)
        assert sink.dropped == 0
        assert fast.lost == []
        slow.pace_s = 0
        await until(lambda: len(slow.data) + slow.count_lost == count)
        assert slow.count_lost > 0
        assert [slow.bids(f"S{n}")[-1] for n in range(5)] == [count - 5 + n for n in range(5)], "the latest is there"


async def test_who_comes_late_is_told_the_last_quotes(amqp_url: str) -> None:
    async with publishing(amqp_url) as sink:
        for n in range(10):
            sink.put(quote(n))
        sink.put(Trade("X", NOON_NS, "5"))
        await sink.drain()
        async with reading(amqp_url) as reader:
            await until(lambda: bool(reader.data))
            sink.put(quote(10))
            await until(lambda: len(reader.data) >= 2)
            assert reader.bids() == [9, 10]
            assert reader.lost == []


async def test_while_rabbitmq_takes_nothing_data_is_dropped_and_counted_and_nobody_waits(rabbitmq: Rabbit) -> None:
    url = rabbitmq.virtual_host()
    count = 5_000
    async with publishing(url, waiting_max=100) as sink, reading(url) as reader:
        sink.put(quote(0))
        await until(lambda: bool(reader.bids()))  # Of a symbol of which nothing was heard, nobody knows what was lost.
        await asyncio.to_thread(rabbitmq.raise_memory_alarm)
        try:
            # An alarm reaches a connection when it publishes, as the last quotes again.
            await until(lambda: sink.state == "blocked")
            for n in range(1, count):
                sink.put(quote(n))
            assert sink.dropped > count - 200
        finally:
            await asyncio.to_thread(rabbitmq.clear_memory_alarm)
        await until(lambda: reader.bids()[-1:] == [count - 1])
        # The last quote may be told again, as what a latecomer has to know.
        await until(lambda: len(set(reader.bids())) + reader.count_lost == count)
        assert reader.count_lost == sink.dropped


async def test_after_rabbitmq_was_away_it_is_told_how_many_were_lost(rabbitmq: Rabbit) -> None:
    url = rabbitmq.virtual_host()
    async with publishing(url) as sink, reading(url) as reader:
        await heard(sink, reader)
        await asyncio.to_thread(rabbitmq.kill)
        await until(lambda: sink.state == "disconnected")
        for n in range(100):
            sink.put(quote(n))
        await asyncio.to_thread(rabbitmq.start)
        await until(lambda: reader.bids() == [99])
        sink.put(quote(100))
        await until(lambda: reader.bids() == [99, 100])
        assert reader.lost == [], "what came before the first that it heard of a key is not its loss"
        assert sink.dropped == 99


async def test_a_publisher_that_begins_anew_is_told(amqp_url: str) -> None:
    async with reading(amqp_url) as reader:
        async with publishing(amqp_url) as first:
            await heard(first, reader)
            first.put(quote(1))
            await until(lambda: reader.bids() == [1])
        async with publishing(amqp_url) as second:
            second.put(quote(2))
            await until(lambda: reader.bids() == [1, 2])
            await until(lambda: reader.lost == [Lost(None, "the publisher has begun anew")])


async def test_nonsense_is_passed_over(amqp_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with publishing(amqp_url) as sink, reading(amqp_url) as reader:
        await heard(sink, reader)
        async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
            exchange = await channel.get_exchange(MARKET)
            await exchange.publish(aio_pika.Message(b"\xff nonsense"), "quote.simulated.X")
        sink.put(quote(1))
        await until(lambda: reader.bids() == [1])
    assert "market data that cannot be read" in caplog.text


# -- the place of a message --------------------------------------------------------------------------------------


def run(sequence: int, count: int, epoch: int = 1) -> MarketMessage:
    return decode(encode("X", epoch, sequence, quote(0), [quote(n) for n in range(count)]))


@pytest.mark.parametrize(
    ("messages", "told", "lost"),
    [
        ([run(5, 3)], [3], None),
        ([run(5, 0), run(5, 2)], [0, 2], None),
        ([run(1, 3), run(4, 1)], [3, 1], None),
        ([run(1, 3), run(3, 1)], [3, 0], None),
        ([run(1, 3), run(2, 5)], [3, 3], None),
        ([run(1, 3), run(9, 2)], [3, 2], 5),
        ([run(1, 3), run(7, 0)], [3, 0], 3),
        ([run(1, 3, epoch=2), run(1, 9, epoch=1), run(4, 1, epoch=2)], [3, 0, 1], None),
    ],
)
def test_a_gap_is_counted_and_what_was_seen_is_not_told_again(
    messages: list[MarketMessage], told: list[int], lost: int | None
) -> None:
    places = _Places()
    assert [len(data_of(message, places.seen("k", message))) for message in messages] == told
    found = places.take_lost()
    assert (None if found is None else found.count) == lost


def test_an_older_publisher_counts_again_when_the_newer_one_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    places = _Places()
    places.seen("k", run(1, 3, epoch=2))
    later = time.monotonic() + SILENT_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert places.seen("k", run(1, 2, epoch=1)) == 0
    found = places.take_lost()
    assert found is not None
    assert found.count is None


def test_a_message_that_is_none_of_ours_is_an_error() -> None:
    for body in (b"", b"[]", b"\xff", b'{"kind":"quote"}', b'{"kind":"rumour","symbol":"X","epoch":1,"sequence":1}'):
        with pytest.raises(MarketDataError):
            decode(body)
