"""Market data over RabbitMQ: a sink that publishes, and a source that consumes.

Nothing is kept and nothing is confirmed. Whoever is slow loses old data and is told how many: a consumer by the
sequence of what comes next, whether its queue overflowed, its connection broke, or the publisher had to drop. Nobody
who is slow holds up anybody else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from aio_pika.abc import AbstractConnection
from pamqp.common import FieldTable

from foldbook.eventstore.waits import is_set_within
from foldbook.market.errors import MarketDataError
from foldbook.market.feeds.told import Lost, Opened, Told
from foldbook.market.records import Datum, Quote
from foldbook.messaging.connection import RABBIT_UNREACHABLE, RabbitLink, is_blocked
from foldbook.messaging.consuming import Consumer, Delivered
from foldbook.messaging.market_messages import MarketMessage, data_of, decode, encode, kind_of
from foldbook.messaging.pipeline import Pipeline, properties
from foldbook.messaging.topology import MARKET, market_key, word

RUN_MAX = 200
"""Data in one message."""
WAITING_MAX = 50_000
"""Data that wait to be published."""
SYMBOLS_MAX = 10_000
"""Symbols of one publisher; data of one more is dropped."""
FLUSH_S = 0.005
"""Data that come within so short a time share messages."""
BLOCKED_S = 0.1
"""How often it is looked whether an alarm of RabbitMQ's is over."""
REPEAT_S = 5.0
"""How often the last quotes are published again."""
REPEATS_AT_ONCE = 500
TOLD_EVERY_S = 10.0
"""How often a loss that goes on is logged."""

QUEUE_MAX = 2_000
"""Messages in the queue of a consumer; one more, and the oldest goes."""
QUEUE_BYTES_MAX = 16 << 20
PREFETCH = 100
"""Messages that a consumer has taken and not told yet."""
SILENT_S = 3 * REPEAT_S
"""A publisher that was not heard for so long is gone, and an older one counts again."""
KEYS_MAX = 100_000
"""Keys whose place is remembered; with one more, all are forgotten."""
LOST_EVERY_S = 1.0
"""How often a consumer is told of losses."""

_TRANSIENT = properties()

logger = logging.getLogger(__name__)


# -- out ---------------------------------------------------------------------------------------------------------


class _Series:
    """The data of one routing key."""

    __slots__ = ("key", "last", "published", "sequence", "symbol")

    def __init__(self, venue: str, first: Datum | Opened) -> None:
        self.symbol = first.symbol
        self.key = market_key(kind_of(first), venue, first.symbol)
        self.sequence = 0
        """Of the last datum that was put."""
        self.published = 0
        """Of the last one that was published."""
        self.last: Datum | Opened | None = None


class _Numbered(NamedTuple):
    series: _Series
    sequence: int
    datum: Datum | Opened


class AmqpSink:
    """Publishes market data of ``venue``. A datum has its number before anything can happen to it.

    The data of a symbol keep their order. Between symbols it may change, by no more than ``FLUSH_S``.
    """

    def __init__(
        self,
        url: str,
        venue: str,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        waiting_max: int = WAITING_MAX,
        repeat_s: float = REPEAT_S,
    ) -> None:
        self._venue = venue
        self._now_ns = now_ns
        self._epoch = now_ns()
        self._waiting_max = waiting_max
        self._repeat_s = repeat_s
        self._link = RabbitLink("the market data out", url, self._publish)
        self._series: dict[tuple[type[Datum | Opened], str], _Series] = {}
        self._symbols: set[str] = set()
        """Those that were put at any time."""
        self._waiting: dict[str, list[_Numbered]] = {}
        """By symbol; none is empty."""
        self._count = 0
        self._arrived = asyncio.Event()
        self._left = asyncio.Event()
        self._left.set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._told_at_s = -TOLD_EVERY_S
        self.sent = 0
        self.dropped = 0
        """Never published, because RabbitMQ did not keep up or could not be reached."""

    @property
    def state(self) -> str:
        return self._link.state

    async def __aenter__(self) -> AmqpSink:
        await self._link.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._link.stop()

    def put(self, told: Datum | Opened) -> None:
        if self._count >= self._waiting_max:
            self._trim()
        waiting = self._waiting.get(told.symbol)
        if waiting is None:
            if told.symbol not in self._symbols and len(self._symbols) >= SYMBOLS_MAX:
                self._drop(1)
                return
            self._symbols.add(told.symbol)
            waiting = self._waiting[told.symbol] = []
        place = (type(told), told.symbol)
        series = self._series.get(place)
        if series is None:
            series = self._series[place] = _Series(self._venue, told)
        series.sequence += 1
        waiting.append(_Numbered(series, series.sequence, told))
        self._count += 1
        self._arrived.set()
        self._is_idle.clear()
        if self._count >= self._waiting_max // 2:
            self._left.clear()

    async def room(self) -> None:
        await self._left.wait()

    async def drain(self) -> None:
        """Until everything that was put is on its way, or dropped."""
        await self._is_idle.wait()

    async def _publish(self, connection: AbstractConnection) -> None:
        async with connection.channel(publisher_confirms=False) as channel:
            await channel.declare_exchange(MARKET, "topic", durable=True)
            pipeline = Pipeline(connection, await channel.get_underlay_channel())
            self._trim()  # What waited for the connection is old by now.
            self._link.is_well()
            repeating = asyncio.create_task(self._repeat(connection, pipeline), name="last quotes")
            try:
                await self._flush(connection, pipeline)
            finally:
                repeating.cancel()
                await asyncio.wait([repeating])

    async def _flush(self, connection: AbstractConnection, pipeline: Pipeline) -> None:
        while not self._link.stopping.is_set():
            if not self._count:
                self._is_idle.set()
            await self._arrived.wait()
            if is_blocked(connection):
                # Whoever publishes is not held up: what waits is trimmed.
                await asyncio.sleep(BLOCKED_S)
                continue
            taken = self._count
            await pipeline.write(b"".join(self._messages(pipeline)))
            self.sent += taken
            await asyncio.sleep(FLUSH_S)

    def _messages(self, pipeline: Pipeline) -> Iterator[bytes]:
        """All that waits, as messages."""
        taken, self._waiting = self._waiting, {}
        self._count = 0
        self._arrived.clear()
        self._left.set()
        for waiting in taken.values():
            for run in _runs(waiting):
                series = run[0].series
                body = encode(series.symbol, self._epoch, run[0].sequence, run[0].datum, [one.datum for one in run])
                series.published, series.last = run[-1].sequence, run[-1].datum
                yield pipeline.publish(MARKET, series.key, body, _TRANSIENT)

    async def _repeat(self, connection: AbstractConnection, pipeline: Pipeline) -> None:
        """The last quotes again and again, and of what else there is how far it has come."""
        while True:
            await asyncio.sleep(self._repeat_s)
            published = [series for series in self._series.values() if series.last is not None]
            for begin in range(0, len(published), REPEATS_AT_ONCE):
                if is_blocked(connection):
                    break
                some = published[begin : begin + REPEATS_AT_ONCE]
                await pipeline.write(b"".join(self._again(pipeline, series) for series in some))

    def _again(self, pipeline: Pipeline, series: _Series) -> bytes:
        last = series.last
        assert last is not None
        sequence, data = (series.published, [last]) if isinstance(last, Quote) else (series.published + 1, [])
        body = encode(series.symbol, self._epoch, sequence, last, data)
        return pipeline.publish(MARKET, series.key, body, _TRANSIENT)

    def _trim(self) -> None:
        """Of what waits, only the latest of each key stays."""
        before, self._count = self._count, 0
        for waiting in self._waiting.values():
            latest = {one.series: one for one in waiting}
            waiting[:] = [one for one in waiting if one is latest[one.series]]
            self._count += len(waiting)
        self._drop(before - self._count)

    def _drop(self, count: int) -> None:
        self.dropped += count
        now_s = time.monotonic()
        if count and now_s >= self._told_at_s + TOLD_EVERY_S:
            self._told_at_s = now_s
            logger.warning("RabbitMQ does not keep up: %d market data dropped so far, the latest won", self.dropped)


def _runs(waiting: Sequence[_Numbered]) -> Iterator[list[_Numbered]]:
    """What follows each other in one series, without a gap."""
    run = [waiting[0]]
    for one in waiting[1:]:
        last = run[-1]
        if one.series is last.series and one.sequence == last.sequence + 1 and len(run) < RUN_MAX:
            run.append(one)
        else:
            yield run
            run = [one]
    yield run


# -- in ----------------------------------------------------------------------------------------------------------


class AmqpSource:
    """The market data of some symbols, or of all; of one venue, or of all."""

    def __init__(
        self,
        url: str,
        symbols: Sequence[str] = (),
        venue: str | None = None,
        *,
        queue_max: int = QUEUE_MAX,
        prefetch: int = PREFETCH,
    ) -> None:
        self._url = url
        at = "*" if venue is None else word(venue)
        self._keys = [f"*.{at}.{word(symbol)}" for symbol in symbols] or [f"*.{at}.*"]
        self._queue_max = queue_max
        self._prefetch = prefetch

    async def stream(self) -> AsyncGenerator[Told, None]:
        """Ends with the task that reads it. A connection that is lost is made again."""
        consumer = _Queue(self._url, self._keys, self._queue_max, self._prefetch)
        places = _Places()
        await consumer.link.start()
        try:
            while True:
                delivered = await consumer.take(LOST_EVERY_S if places.has_lost else None)
                if delivered is not None:
                    try:
                        message = decode(delivered.body)
                    except MarketDataError as error:
                        logger.warning("%s", error)
                    else:
                        for datum in data_of(message, places.seen(delivered.key, message)):
                            yield datum
                    await consumer.acknowledge(delivered)
                if (lost := places.take_lost()) is not None:
                    yield lost
        finally:
            await consumer.link.stop()


class _Queue:
    """A queue of its own, which is gone when it is. ``prefetch`` messages are here, more wait in the queue, and when
    that is full the oldest goes."""

    def __init__(self, url: str, keys: Sequence[str], queue_max: int, prefetch: int) -> None:
        self.link = RabbitLink("the market data in", url, self._consume)
        self._keys = keys
        self._prefetch = prefetch
        self._arguments: FieldTable = {
            "x-max-length": queue_max,
            "x-max-length-bytes": QUEUE_BYTES_MAX,
            "x-overflow": "drop-head",
        }
        self._waiting: deque[Delivered] = deque()
        self._arrived = asyncio.Event()
        self._unacknowledged = 0

    async def take(self, timeout_s: float | None) -> Delivered | None:
        """The next message; None: none has come for so long."""
        if not self._waiting:
            self._arrived.clear()
            await is_set_within(self._arrived, timeout_s)
        return self._waiting.popleft() if self._waiting else None

    async def acknowledge(self, delivered: Delivered) -> None:
        """Others may come in its place. Told to RabbitMQ for several at once."""
        self._unacknowledged += 1
        if self._unacknowledged >= self._prefetch // 4 or not self._waiting:
            self._unacknowledged = 0
            with suppress(*RABBIT_UNREACHABLE):
                await delivered.channel.basic_ack(delivered.tag, multiple=True, wait=False)

    async def _consume(self, connection: AbstractConnection) -> None:
        async with connection.channel(publisher_confirms=False) as channel:
            exchange = await channel.declare_exchange(MARKET, "topic", durable=True)
            queue = await channel.declare_queue(exclusive=True, auto_delete=True, arguments=self._arguments)
            for key in self._keys:
                await queue.bind(exchange, key)
            consumer = await Consumer.open_on(connection, queue.name, self._deliver, prefetch=self._prefetch)
            await consumer.start()
            self.link.is_well()
            await consumer.ended()

    def _deliver(self, delivered: Delivered) -> None:
        self._waiting.append(delivered)
        self._arrived.set()


class _Place(NamedTuple):
    """How far a publisher has come with a key."""

    epoch: int
    next: int
    heard_at_s: float


class _Places:
    """What has been seen of each key, and what was lost."""

    def __init__(self) -> None:
        self._of_keys: dict[str, _Place] = {}
        self._lost = 0
        self._has_restarted = False
        self._told_at_s = -LOST_EVERY_S

    @property
    def has_lost(self) -> bool:
        return self._lost > 0 or self._has_restarted

    def seen(self, key: str, message: MarketMessage) -> int:
        """How many of the message's data were seen before."""
        now_s = time.monotonic()
        place = self._of_keys.get(key)
        first, count = message.sequence, len(message.data)
        if place is not None and place.epoch > message.epoch and now_s < place.heard_at_s + SILENT_S:
            return count  # An older publisher, which nobody has stopped.
        skip, following = 0, first + count
        if place is not None and place.epoch != message.epoch:
            self._has_restarted = True
        elif place is not None:
            self._lost += max(first - place.next, 0)
            skip = min(max(place.next - first, 0), count)
            following = max(following, place.next)
        elif len(self._of_keys) >= KEYS_MAX:
            self._of_keys.clear()
        self._of_keys[key] = _Place(message.epoch, following, now_s)
        return skip

    def take_lost(self) -> Lost | None:
        """What was lost since this was told last; None: nothing, or it was told just now."""
        now_s = time.monotonic()
        if not self.has_lost or now_s < self._told_at_s + LOST_EVERY_S:
            return None
        self._told_at_s = now_s
        lost, has_restarted = self._lost, self._has_restarted
        self._lost, self._has_restarted = 0, False
        if has_restarted:
            return Lost(None, "the publisher has begun anew")
        return Lost(lost, "they were not consumed fast enough, or could not be published")
