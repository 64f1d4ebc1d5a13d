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
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.market.feeds.clock import WallClock
from foldbook.market.feeds.exchange import ExchangeStream
from foldbook.market.feeds.pump import pump
from foldbook.market.feeds.replay import Pace, Replay
from foldbook.market.feeds.told import Sink, Source
from foldbook.market.feeds.venue import VenueSink, VenueStream
from foldbook.market.files import open_data
from foldbook.services.prices import PriceTeller


class MarketJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be fed. ``files``: each with its symbol, or None for the file's own; if there are none, ``exchange``
    names an exchange that ccxt knows, and without one the source is the venue at ``venue_url``.

    ``is_sent``: the venue is told the data. ``price_interval_s`` None: the books are told no prices.
    """

    files: tuple[tuple[str, str | None], ...] = ()
    exchange: str | None = None
    venue_url: str
    symbols: tuple[str, ...] = ()
    pace: Pace = Pace()
    is_sent: bool = True
    price_interval_s: float | None = 10.0


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What was fed: data read, of those sent to the venue, dropped, and failed; prices told to the books."""

    data: int
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    prices: int = 0


async def run_market(settings: Settings, job: MarketJob) -> Fed:
    """Until the source ends, or this is cancelled. Raises ``MarketDataError`` for a source that gives nothing."""
    source = _source(job)
    async with AsyncExitStack() as stack:
        sinks: list[Sink] = []
        venue = prices = None
        if job.is_sent:
            venue = await stack.enter_async_context(VenueSink(job.venue_url))
            sinks.append(venue)
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
                    exchange=job.exchange,
                )
            )
            sinks.append(prices)
        count = await pump(source, sinks, waits=bool(job.files) and job.pace.speed is None)
        if venue is not None:
            await venue.drain()
        return Fed(
            data=count,
            sent=0 if venue is None else venue.sent,
            dropped=0 if venue is None else venue.dropped,
            failed=0 if venue is None else venue.failed,
            prices=0 if prices is None else prices.told,
        )


def _source(job: MarketJob) -> Source:
    clock = WallClock()
    if job.files:
        files = [open_data(path, symbol) for path, symbol in job.files]
        return Replay(lambda: files, job.pace, clock, frozenset(job.symbols))
    if job.exchange is not None:
        return ExchangeStream(job.exchange, job.symbols, clock.now_ns)
    return VenueStream(job.venue_url, job.symbols)


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
