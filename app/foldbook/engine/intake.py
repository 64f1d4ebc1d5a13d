"""``foldbook intake``: builds the bus, the keys and the intake that feeds it from RabbitMQ."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from foldbook.access.access import ACCESS
from foldbook.access.commands import AGGREGATE_ID as KEYS
from foldbook.access.keyring import Keyring
from foldbook.config import Settings
from foldbook.engine.domains import DOMAINS, Domain, commands_of
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.following import Following
from foldbook.eventstore.readers.listener import Listener
from foldbook.messaging.command_messages import CommandMessages
from foldbook.messaging.intake import Intake


async def take_commands(settings: Settings, until: Awaitable[None], domains: Sequence[Domain] = DOMAINS) -> None:
    """Take commands until that is done, then finish what is under way."""
    assert settings.amqp_url is not None
    store = PostgresStore(settings.dsn)
    limits = BusLimits(
        queue_max=settings.queue_max, batch_max=settings.batch_max, aggregates_max=settings.aggregates_max
    )
    bus = CommandBus(store, *(domain.decider for domain in domains), shard_count=settings.shards, limits=limits)
    listener = Listener(settings.dsn)
    keyring = Keyring(_now)
    following = Following(settings.dsn, ACCESS, KEYS, settings.shards, keyring.follow)
    following.listen(listener)
    messages = CommandMessages(
        commands_of(domains), None if settings.access == "open" else keyring, settings.shards, _now
    )
    intake = Intake(settings.amqp_url.get_secret_value(), bus, messages, settings.shards)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        for part in (following, listener, bus, intake):
            await part.start()
            stack.push_async_callback(part.stop)
        await until


def _now() -> datetime:
    return datetime.now(UTC)
