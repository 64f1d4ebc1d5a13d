"""``foldbook market run``: builds a source, its sinks, and lets the data flow."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import msgspec

from foldbook.config import Settings
from foldbook.engine.domains import DOMAINS
from foldbook.engine.transports import SIMULATED
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.market.feeds.clock import WallClock
from foldbook.market.feeds.exchange import ExchangeStream
from foldbook.market.feeds.pump import pump
from foldbook.market.feeds.replay import Pace, Replay
from foldbook.market.feeds.told import Sink, Source
from foldbook.market.feeds.venue import VenueSink, VenueStream
from foldbook.market.files import open_data
from foldbook.messaging.amqp_market import AmqpSink, AmqpSource
from foldbook.services.prices import PriceTeller


class MarketJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be fed. ``files``: each with its symbol, or None for the file's own; if there are none, ``exchange``
    names an exchange that ccxt knows; without one, ``published`` names a venue whose data are consumed from RabbitMQ;
    and without that the source is the venue at ``venue_url``.

    ``is_sent``: the venue is told the data. ``publish_as``: they are published to RabbitMQ, as those of this venue.
    ``price_interval_s`` None: the books are told no prices.
    """

    files: tuple[tuple[str, str | None], ...] = ()
    exchange: str | None = None
    published: str | None = None
    venue_url: str
    symbols: tuple[str, ...] = ()
    pace: Pace = Pace()
    is_sent: bool = True
    publish_as: str | None = None
    price_interval_s: float | None = 10.0


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What was fed: data read, of those sent to the venue or published, dropped, and failed; prices told to the
    books."""

    data: int
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    prices: int = 0


async def run_market(settings: Settings, job: MarketJob) -> Fed:
    """Until the source ends, or this is cancelled. Raises ``MarketDataError`` for a source that gives nothing."""
    source = _source(settings, job)
    async with AsyncExitStack() as stack:
        sinks: list[Sink] = []
        prices = None
        out: VenueSink | AmqpSink | None = None
        if job.publish_as is not None:
            out = await stack.enter_async_context(AmqpSink(_amqp_url(settings), job.publish_as))
            sinks.append(out)
        elif job.is_sent:
            out = await stack.enter_async_context(VenueSink(job.venue_url))
            sinks.append(out)
        if job.price_interval_s is not None:
            store = PostgresStore(settings.dsn)
            stack.push_async_callback(store.close)
            bus = CommandBus(store, *(domain.decider for domain in DOMAINS), shard_count=settings.shards)
            await bus.start()
            stack.push_async_callback(bus.stop)
            prices = await stack.enter_async_context(
                PriceTeller(
                    settings.dsn,
                    bus,
                    lambda: datetime.now(UTC),
                    interval_s=job.price_interval_s,
                    exchange=job.exchange or (None if job.published == SIMULATED else job.published),
                )
            )
            sinks.append(prices)
        count = await pump(source, sinks, waits=bool(job.files) and job.pace.speed is None)
        if out is not None:
            await out.drain()
        return Fed(
            data=count,
            sent=0 if out is None else out.sent,
            dropped=0 if out is None else out.dropped,
            failed=out.failed if isinstance(out, VenueSink) else 0,
            prices=0 if prices is None else prices.told,
        )


def _source(settings: Settings, job: MarketJob) -> Source:
    clock = WallClock()
    if job.files:
        files = [open_data(path, symbol) for path, symbol in job.files]
        return Replay(lambda: files, job.pace, clock, frozenset(job.symbols))
    if job.exchange is not None:
        return ExchangeStream(job.exchange, job.symbols, clock.now_ns)
    if job.published is not None:
        return AmqpSource(_amqp_url(settings), job.symbols, job.published)
    return VenueStream(job.venue_url, job.symbols)


def _amqp_url(settings: Settings) -> str:
    assert settings.amqp_url is not None
    return settings.amqp_url.get_secret_value()


async def until_stopped(settings: Settings, job: MarketJob, stopped: Coroutine[Any, Any, None]) -> Fed | None:
    """``run_market``, until ``stopped`` returns. None: it was ended by that."""
    running = asyncio.create_task(run_market(settings, job))
    stopping = asyncio.create_task(stopped)
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if running.done():
        return running.result()
    running.cancel()
    await asyncio.wait([running])
    return None if running.cancelled() else running.result()
