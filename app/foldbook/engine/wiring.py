"""Builds the API and the projections from the settings.

Nothing imports this but the command line and ``foldbook.engine.server``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from foldbook.access.rates import Rates
from foldbook.api.application import create_application
from foldbook.api.front import Front
from foldbook.api.gate import Gate
from foldbook.api.hosts import Hosts, hosts_of
from foldbook.api.operations.keys import KeyAdmin
from foldbook.api.operations.relays import Rabbit
from foldbook.api.operations.verification import LogVerifier
from foldbook.api.queries.reader import Reader
from foldbook.api.sessions import Sessions
from foldbook.api.streams.market_hub import MarketHub
from foldbook.api.streams.open_streams import OpenStreams
from foldbook.api.streams.server_sent import event_frame, seal_frame
from foldbook.api.streams.streams import Streams
from foldbook.config import Settings
from foldbook.engine.bus import command_bus, followed_keys
from foldbook.engine.domains import DOMAINS, Domain, commands_of, definitions_of, log_types_of
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.administration import ProjectionAdmin
from foldbook.eventstore.readers.listener import LOG_CHANNEL, Listener
from foldbook.eventstore.readers.read_gate import ReadGate
from foldbook.eventstore.readers.runner import ProjectionRunner
from foldbook.eventstore.readers.tail.history import History
from foldbook.eventstore.readers.tail.tail import RING_BYTES_MAX, Tail
from foldbook.market.feeds.told import Source
from foldbook.market.feeds.venue import VenueStream
from foldbook.messaging.amqp_market import AmqpSource

BULK_WINDOW_MAX = 512


def api(settings: Settings, domains: Sequence[Domain] = DOMAINS) -> Front:
    """The HTTP interface, with the bus and the readers behind it. They run as long as the server does."""
    store = PostgresStore(settings.dsn)
    bus = command_bus(settings, store, domains)
    listener = Listener(settings.dsn)
    listener.listen(LOG_CHANNEL, bus.hint)
    read_gate = ReadGate(settings.dsn)
    read_gate.listen(listener)
    reader = Reader(settings.dsn, read_gate, settings.shards)
    admin = projection_admin(settings, domains)
    keyring, following = followed_keys(settings, listener)
    gate = Gate(
        Hosts(hosts_of(settings.host, settings.allowed_hosts.split(","))),
        None if settings.access == "open" else keyring,
        Sessions(),
        Rates(settings.key_requests_per_s, time.monotonic),
    )
    streams = event_and_market_streams(settings)
    streams.listen(listener)
    store.on_another_run = partial(_drop_connections, reader, streams)

    @asynccontextmanager
    async def running(_: object) -> AsyncIterator[None]:
        """Stops in reverse order: first the bus, which answers everything it holds."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(store.close)
            for part in (reader, read_gate, following, listener):
                await part.start()
                stack.push_async_callback(part.stop)
            stack.push_async_callback(admin.stop)
            await stack.enter_async_context(streams.running())
            await bus.start()
            stack.push_async_callback(bus.stop)
            yield

    return create_application(
        commands_of(domains),
        bus,
        log_types_of(domains),
        reader,
        admin,
        LogVerifier(settings.dsn, settings.shards),
        gate,
        KeyAdmin(bus, following),
        streams,
        Rabbit(None if settings.amqp_url is None else settings.amqp_url.get_secret_value()),
        running,
        body_bytes_max=settings.body_bytes_max,
        bulk_bytes_max=settings.ndjson_bytes_max,
        # A bulk request leaves most of the queue to others.
        bulk_window_max=max(1, min(BULK_WINDOW_MAX, settings.queue_max // 16)),
        bulk_timeout_s=settings.request_timeout_s,
    )


async def _drop_connections(reader: Reader, streams: Streams) -> None:
    """They may lead to a server that is not the log's any more."""
    await reader.drop_connections()
    await streams.drop_connections()


def event_and_market_streams(settings: Settings) -> Streams:
    """What goes on as long as somebody listens."""
    tails = [
        Tail(
            settings.dsn,
            shard,
            event_frame,
            seal_frame,
            poll_interval_s=settings.poll_interval_ms / 1000,
            bytes_max=RING_BYTES_MAX // settings.shards,
        )
        for shard in range(settings.shards)
    ]
    open_streams = OpenStreams(total_max=settings.streams_max, per_key_max=settings.streams_per_key_max)
    return Streams(tails, History(settings.dsn, event_frame), MarketHub(lambda: market_source(settings)), open_streams)


def market_source(settings: Settings) -> Source:
    """Where the stream of market data comes from: what is published to RabbitMQ, or without one the venue's own."""
    if settings.amqp_url is not None:
        return AmqpSource(settings.amqp_url.get_secret_value())
    return VenueStream(settings.venue_address)


def projection_runner(settings: Settings, domains: Sequence[Domain] = DOMAINS) -> ProjectionRunner:
    """Keeps the read tables up to date."""
    return ProjectionRunner(
        settings.dsn,
        definitions_of(domains),
        projection_admin(settings, domains).rebuild,
        interval_s=settings.projection_interval_ms / 1000,
        poll_interval_s=settings.poll_interval_ms / 1000,
    )


def projection_admin(settings: Settings, domains: Sequence[Domain] = DOMAINS) -> ProjectionAdmin:
    """Resets, rebuilds and verifies the read tables."""
    return ProjectionAdmin(settings.dsn, definitions_of(domains))
