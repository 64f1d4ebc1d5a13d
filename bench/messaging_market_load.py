"""A separate process that publishes quotes, or consumes them: ``python -m bench.messaging_market_load <MarketLoad as
JSON>`` prints a Got.

A consumer counts from the first tick that it is told, until the publisher says that it was the last.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing

import msgspec
import uvloop

from foldbook.market.feeds.told import Lost
from foldbook.market.records import Quote
from foldbook.messaging.amqp_market import AmqpSink, AmqpSource

VENUE = "bench"
LAST = "LAST"
LISTENING_S = 3.0
"""Consumers have begun to listen by then."""
ENDING_S = 2.0


class MarketLoad(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    symbols: int
    per_s: int
    seconds: float
    is_publisher: bool = False


class Got(msgspec.Struct, frozen=True, kw_only=True):
    count: int
    seconds: float
    lost: int


async def publish(load: MarketLoad) -> Got:
    async with AmqpSink(load.url, VENUE) as sink:
        await asyncio.sleep(LISTENING_S)
        names = [f"S-{number}" for number in range(load.symbols)]
        sent, began_s = 0, time.perf_counter()
        while (passed_s := time.perf_counter() - began_s) < load.seconds:
            for number in range(sent, int(passed_s * load.per_s)):
                sink.put(Quote(names[number % load.symbols], time.time_ns(), "64250.1", "64250.2", "1.5", "2.5"))
                sent = number + 1
            await asyncio.sleep(0.001)
        sink.put(Quote(LAST, time.time_ns(), "1", "2"))
        await sink.drain()
        await asyncio.sleep(ENDING_S)
        return Got(count=sent, seconds=passed_s, lost=sink.dropped)


async def consume(load: MarketLoad) -> Got:
    count = lost = 0
    began_s = last_s = 0.0
    async with aclosing(AmqpSource(load.url, venue=VENUE).stream()) as stream:
        async for told in stream:
            if isinstance(told, Lost):
                lost += told.count or 0
                continue
            last_s = time.perf_counter()
            if told.symbol == LAST:
                return Got(count=count, seconds=last_s - began_s, lost=lost)
            if not count:
                began_s = last_s
            count += 1
    raise AssertionError("the stream has no end of its own")


if __name__ == "__main__":
    task = msgspec.json.decode(sys.argv[1], type=MarketLoad)
    print(msgspec.json.encode(uvloop.run(publish(task) if task.is_publisher else consume(task))).decode())
