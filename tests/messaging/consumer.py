"""A consumer of events, as docs/messaging.md shows one: each event takes effect once, in order, whatever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import msgspec
from aio_pika.abc import AbstractConnection

from foldbook.client.events import subscribed
from foldbook.client.inbox import Gap, Inbox, Place, missing
from foldbook.eventstore.backoff import Backoff
from foldbook.messaging.connection import RabbitLink

EFFECT = """
create table effect (ordinal bigint generated always as identity, shard integer, position bigint, type text)
"""


class Consumer:
    """``repeated``: events that came more often than they took effect. ``gaps``: how often some were missing."""

    def __init__(self, amqp_url: str, http_url: str, dsn: str, observer: asyncpg.Connection[Any]) -> None:
        self.link = RabbitLink("the consumer", amqp_url, self._work, backoff=Backoff(0.05, 0.5))
        self.name = "consumer"
        self.repeated = 0
        self.gaps = 0
        self.begun = asyncio.Event()
        self._http_url = http_url
        self._dsn = dsn
        self._observer = observer
        self._inbox = Inbox(self.name)

    async def start(self) -> None:
        await self._inbox.create_table(self._observer)
        await self._observer.execute(EFFECT)
        await self.link.start()

    async def _work(self, rabbit: AbstractConnection) -> None:
        database = await asyncpg.connect(self._dsn)
        try:
            async with aiohttp.ClientSession(self._http_url) as session, subscribed(rabbit, self.name) as messages:
                self.link.is_well()
                self.begun.set()
                for place in await self._inbox.places(database):
                    async for event in missing(session, place.shard, place.position):
                        await self._take(session, database, place._replace(position=event["position"]), event)
                async for message in messages:
                    event = msgspec.json.decode(message.body)
                    await self._take(session, database, Place.of(message.message_id), event)
                    await message.ack()
        finally:
            database.terminate()

    async def _take(
        self, session: aiohttp.ClientSession, database: asyncpg.Connection[Any], place: Place, event: dict[str, Any]
    ) -> None:
        try:
            async with database.transaction():
                if await self._inbox.accept(database, place, event):
                    await database.execute(
                        "insert into effect (shard, position, type) values ($1, $2, $3)", *place[1:], event["type"]
                    )
                else:
                    self.repeated += 1
        except Gap as gap:
            self.gaps += 1
            async for earlier in missing(session, place.shard, gap.after, place.position):
                await self._take(session, database, place._replace(position=earlier["position"]), earlier)
            await self._take(session, database, place, event)

    async def reached(self, position: int, shard: int = 0) -> None:
        """Until that event has taken effect."""
        last = "select max(position) from effect where shard = $1"
        while (await self._observer.fetchval(last, shard) or 0) < position:
            await asyncio.sleep(0.05)

    async def taken(self, shard: int = 0) -> list[int]:
        """The positions, in the order in which they took effect."""
        rows = await self._observer.fetch("select position from effect where shard = $1 order by ordinal", shard)
        return [row["position"] for row in rows]


@asynccontextmanager
async def consuming(amqp_url: str, http_url: str, dsn: str) -> AsyncIterator[Consumer]:
    """It works, and its effects are in the database at ``dsn``."""
    observer = await asyncpg.connect(dsn)
    consumer = Consumer(amqp_url, http_url, dsn, observer)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.link.stop()
        await observer.close()
