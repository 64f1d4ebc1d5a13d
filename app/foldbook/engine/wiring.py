"""The only place that builds the object graph: settings in, running things out.

Nothing imports this but the command line and ``foldbook.engine.server``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from foldbook.api.application import create_application
from foldbook.api.front import Front
from foldbook.api.operations.verification import LogVerifier
from foldbook.api.queries.reader import Reader
from foldbook.config import Settings
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.administration import ProjectionAdmin
from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.listener import Listener
from foldbook.eventstore.readers.read_gate import ReadGate
from foldbook.eventstore.readers.runner import ProjectionRunner
from foldbook.resources import projection_files
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import COMMANDS

BULK_WINDOW_MAX = 512


def api(settings: Settings) -> Front:
    """The HTTP interface, with the bus and the readers behind it; they run while the server serves it."""
    store = PostgresStore(settings.dsn)
    limits = BusLimits(
        queue_max=settings.queue_max, batch_max=settings.batch_max, aggregates_max=settings.aggregates_max
    )
    bus = CommandBus(store, ORDER_BOOK, shard_count=settings.shards, limits=limits)
    listener = Listener(settings.dsn)
    gate = ReadGate(settings.dsn)
    gate.listen(listener)
    reader = Reader(settings.dsn, gate, settings.shards)
    admin = projection_admin(settings)

    @asynccontextmanager
    async def running(_: object) -> AsyncIterator[None]:
        """Stops in reverse order: the bus first, once it has answered all it has."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(store.close)
            for part in (reader, gate, listener):
                await part.start()
                stack.push_async_callback(part.stop)
            stack.push_async_callback(admin.stop)
            await bus.start()
            stack.push_async_callback(bus.stop)
            yield

    return create_application(
        COMMANDS,
        bus,
        reader,
        admin,
        LogVerifier(settings.dsn, settings.shards),
        running,
        body_bytes_max=settings.body_bytes_max,
        bulk_bytes_max=settings.ndjson_bytes_max,
        # A bulk request leaves most of the queue to others.
        bulk_window_max=max(1, min(BULK_WINDOW_MAX, settings.queue_max // 16)),
    )


def projection_runner(settings: Settings) -> ProjectionRunner:
    """Keeps the read tables up to date."""
    return ProjectionRunner(
        settings.dsn,
        _definitions(),
        projection_admin(settings).rebuild,
        interval_s=settings.projection_interval_ms / 1000,
        poll_interval_s=settings.poll_interval_ms / 1000,
    )


def projection_admin(settings: Settings) -> ProjectionAdmin:
    """Resets, rebuilds and verifies the read tables."""
    return ProjectionAdmin(settings.dsn, _definitions())


def _definitions() -> list[Definition]:
    return [Definition.read(path) for path in projection_files()]
