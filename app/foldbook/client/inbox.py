"""A consumer's inbox: each event takes effect once, in order, and none is missed.

The relay sends every event at least once. A consumer with a PostgreSQL keeps, for each shard, the position of the last
event it took, in the same transaction as the event's effect. So a repeated event is known by its position, whatever
was killed in between. A position that is not the next one is a gap: events passed while the queue did not exist, say.
The log has them, and ``missing`` reads them over HTTP.

::

    FoldbookError
    ├── Gap                     events before this one have not been taken
    └── LogChanged              an event is another one than the one that was taken at its position
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

from foldbook.errors import FoldbookError, LogChanged

if TYPE_CHECKING:
    import asyncpg

PAGE_EVENTS = 500
TOLD_MAX = 10_000
"""Of each shard so many of the last events are remembered, roughly; the relay repeats fewer."""
PRUNE_EVERY = 1_000

_CREATE = """
create table if not exists foldbook_inbox (
    consumer text not null,
    log_id text not null,
    shard integer not null,
    position bigint not null,
    primary key (consumer, log_id, shard)
);
create table if not exists foldbook_inbox_events (
    consumer text not null,
    log_id text not null,
    shard integer not null,
    position bigint not null,
    told text not null,
    primary key (consumer, log_id, shard, position)
)
"""
_BEGIN = "insert into foldbook_inbox values ($1, $2, $3, $4) on conflict do nothing"
_TAKEN = "select position from foldbook_inbox where consumer = $1 and log_id = $2 and shard = $3 for update"
_PLACES = "select log_id, shard, position from foldbook_inbox where consumer = $1 order by log_id, shard"
_TAKE = "update foldbook_inbox set position = $4 where consumer = $1 and log_id = $2 and shard = $3"

_TOLD = "select told from foldbook_inbox_events where consumer = $1 and log_id = $2 and shard = $3 and position = $4"
_KEEP_TOLD = "insert into foldbook_inbox_events values ($1, $2, $3, $4, $5)"
_PRUNE = "delete from foldbook_inbox_events where consumer = $1 and log_id = $2 and shard = $3 and position <= $4"


class Place(NamedTuple):
    """Where an event stands: in which log, in which shard, and at which position."""

    log_id: str
    shard: int
    position: int

    @classmethod
    def of(cls, message_id: str | None) -> Place:
        """Of a message of the exchange ``foldbook.events``. Raises ``ValueError`` if it is none."""
        parts = (message_id or "").split("/")
        if len(parts) != 3:
            raise ValueError(f"{message_id!r} is not <log id>/<shard>/<position>")
        return cls(parts[0], int(parts[1]), int(parts[2]))


class Gap(FoldbookError, code="gap", status=409, title="Events before this one have not been taken"):
    """``after``: the position of the last event taken."""

    def __init__(self, place: Place, after: int) -> None:
        super().__init__(
            f"shard {place.shard}: {after} is taken and {place.position} is here; ask for the events after {after}",
            after=after,
        )
        self.place = place
        self.after = after


class Inbox:
    """``consumer``: a name; whatever has the same name shares the events. Of a shard it gets every event, or none."""

    def __init__(self, consumer: str) -> None:
        self._consumer = consumer

    async def create_table(self, connection: asyncpg.Connection[Any]) -> None:
        """Create ``foldbook_inbox`` and ``foldbook_inbox_events`` in the consumer's database if they are not there."""
        await connection.execute(_CREATE)

    async def begin_after(self, connection: asyncpg.Connection[Any], place: Place) -> None:
        """Let a new consumer begin after a place, not with the first event. Changes nothing for one that has begun."""
        await connection.execute(_BEGIN, self._consumer, *place)

    async def places(self, connection: asyncpg.Connection[Any]) -> list[Place]:
        """The last event taken of each shard of which any was."""
        return [Place(*row) for row in await connection.fetch(_PLACES, self._consumer)]

    async def accept(
        self, connection: asyncpg.Connection[Any], place: Place, event: Mapping[str, Any] | None = None
    ) -> bool:
        """Call it in the transaction of the event's effect. False: the event was taken before, so do nothing.

        With the ``event``, one that comes again is compared with the one that was taken. Raises ``Gap``, and
        ``LogChanged`` if they differ: the log went back, as after a failover to a replica that lagged behind, and the
        effects of what it lost are to be undone by hand. Consumers of the same name wait here for each other.
        """
        assert connection.is_in_transaction(), "the effect and the position belong together"
        shard = (place.log_id, place.shard)
        after = await connection.fetchval(_TAKEN, self._consumer, *shard)
        if after is None:
            await connection.execute(_BEGIN, self._consumer, *shard, 0)
            after = await connection.fetchval(_TAKEN, self._consumer, *shard)
        if place.position <= after:
            if event is not None:
                await self._compare(connection, place, event)
            return False
        if place.position > after + 1:
            raise Gap(place, after)
        await connection.execute(_TAKE, self._consumer, *place)
        if event is not None:
            await connection.execute(_KEEP_TOLD, self._consumer, *place, _told(event))
            if place.position % PRUNE_EVERY == 0:
                await connection.execute(_PRUNE, self._consumer, *shard, place.position - TOLD_MAX)
        return True

    async def _compare(self, connection: asyncpg.Connection[Any], place: Place, event: Mapping[str, Any]) -> None:
        taken = await connection.fetchval(_TOLD, self._consumer, *place)
        if taken not in (None, _told(event)):
            raise LogChanged(f"shard {place.shard}: at position {place.position} another event was taken before")


def _told(event: Mapping[str, Any]) -> str:
    """Which event it is; an upcaster does not change that."""
    return f"{event['command_id']}/{event['recorded_at']}"


async def missing(
    session: aiohttp.ClientSession, shard: int, after: int, before: int | None = None, **filters: str
) -> AsyncIterator[dict[str, Any]]:
    """The events of a shard after a position, in order, up to the head or before another one, from ``GET /events``.

    ``session`` knows the engine's address, and carries the key. ``filters`` are parameters of that call. Raises
    ``aiohttp.ClientError``.
    """
    following: int | None = after
    while following is not None:
        parameters: dict[str, str | int] = {"shard": shard, "after": following, "limit": PAGE_EVENTS, **filters}
        async with session.get("/events", params=parameters, raise_for_status=True) as response:
            page = await response.json()
        for event in page["events"]:
            if before is not None and event["position"] >= before:
                return
            yield event
        following = page.get("next")
