"""What takes commands, whichever way they come in: the bus, and the keys that say who may send them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from foldbook.access.access import ACCESS, Keys
from foldbook.access.commands import AGGREGATE_ID
from foldbook.access.keyring import Keyring
from foldbook.config import Settings
from foldbook.engine.domains import Domain
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.following import Following
from foldbook.eventstore.readers.listener import Listener


def command_bus(settings: Settings, store: PostgresStore, domains: Sequence[Domain]) -> CommandBus:
    """Not started."""
    limits = BusLimits(
        queue_max=settings.queue_max, batch_max=settings.batch_max, aggregates_max=settings.aggregates_max
    )
    return CommandBus(store, *(domain.decider for domain in domains), shard_count=settings.shards, limits=limits)


def followed_keys(settings: Settings, listener: Listener) -> tuple[Keyring, Following[Keys]]:
    """The keys in force, and what keeps them so; neither is started."""
    keyring = Keyring(utc_now)
    following = Following(settings.dsn, ACCESS, AGGREGATE_ID, settings.shards, keyring.follow)
    following.listen(listener)
    return keyring, following


def utc_now() -> datetime:
    return datetime.now(UTC)
