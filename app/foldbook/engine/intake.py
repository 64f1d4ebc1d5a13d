"""``foldbook intake``: builds the bus, the keys and the intake that feeds it from RabbitMQ."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack

from foldbook.access.rates import Rates
from foldbook.config import Settings
from foldbook.engine.bus import command_bus, followed_keys, utc_now
from foldbook.engine.domains import DOMAINS, Domain, commands_of
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.listener import Listener
from foldbook.messaging.command_messages import CommandMessages
from foldbook.messaging.intake import Intake


async def take_commands(settings: Settings, until: Awaitable[None], domains: Sequence[Domain] = DOMAINS) -> None:
    """Take commands until that is done, then finish what is under way."""
    assert settings.amqp_url is not None
    store = PostgresStore(settings.dsn)
    bus = command_bus(settings, store, domains)
    listener = Listener(settings.dsn)
    keyring, following = followed_keys(settings, listener)
    messages = CommandMessages(
        commands_of(domains),
        None if settings.access == "open" else keyring,
        Rates(settings.key_requests_per_s, time.monotonic),
        settings.shards,
        utc_now,
    )
    intake = Intake(settings.amqp_url.get_secret_value(), bus, messages, settings.shards)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        for part in (following, listener, bus, intake):
            await part.start()
            stack.push_async_callback(part.stop)
        await until
