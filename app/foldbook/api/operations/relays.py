"""The relay of events to RabbitMQ, and the messages that nobody could do anything with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from aio_pika.abc import AbstractConnection
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter
from msgspec import Struct, json

from foldbook.access.keys import shown_in
from foldbook.access.principal import Principal
from foldbook.access.roles import AUDITORS, NOBODY, Unauthenticated
from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.reader import Reader
from foldbook.api.routes import may
from foldbook.errors import register
from foldbook.messaging.connection import connected
from foldbook.messaging.dead_letters import DeadLetter, dead_letters, retry
from foldbook.messaging.relay import RELAY
from foldbook.messaging.relay_process import RelayStatus
from foldbook.postgres.calls import call

_LEASES = call("eventstore.lease_status", 1)
_SHARDS = call("eventstore.subscription_status", 1)

register({"no-rabbitmq": (409, "The engine knows no RabbitMQ")})


class ShardStatus(Struct, frozen=True, kw_only=True):
    """``checkpoint``: up to there RabbitMQ has confirmed every event; ``lag``: events from there to the head."""

    shard: int
    checkpoint: int
    head: int
    lag: int


class RelayRow(Struct, frozen=True, kw_only=True):
    """``state``: `working`; `blocked` by an alarm of RabbitMQ's; `disconnected` from it; `failing`; or `dead`: nobody
    holds the lease. ``unrouted``: events, since it began, for which no queue was bound."""

    name: str
    state: str
    holder: str
    epoch: int
    renewed_at: datetime
    lag: int
    unrouted: int
    last_error: str | None
    shards: list[ShardStatus]


class Relays(Struct, frozen=True, kw_only=True):
    relays: list[RelayRow]


class DeadLetterPage(Struct, frozen=True, kw_only=True):
    dead_letters: list[DeadLetter]


class SentAgain(Struct, frozen=True, kw_only=True):
    id: UUID
    exchange: str
    routing_key: str
    message_id: str | None


class Rabbit:
    """``url``: None if the engine knows no RabbitMQ."""

    def __init__(self, url: str | None) -> None:
        self._url = url

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AbstractConnection]:
        """Raises ``Problem`` no-rabbitmq, and ``RabbitUnavailable``."""
        if self._url is None:
            raise Problem("no-rabbitmq", "FOLDBOOK_AMQP_URL is not set")
        async with connected(self._url, "API") as connection:
            yield connection


@get("/admin/relays", tags=["admin"], responses=problem_responses("unavailable"), opt=may(AUDITORS))
async def get_relays(reader: NamedDependency[Reader]) -> Relays:
    """The relay, and how far it is behind the log. None: there never was one."""
    return Relays(relays=await relay_statuses(reader))


@get(
    "/admin/dead-letters",
    tags=["admin"],
    responses=problem_responses("no-rabbitmq", "rabbitmq-unavailable", "dead-letters-busy"),
    opt=may(AUDITORS),
)
async def get_dead_letters(rabbit: NamedDependency[Rabbit]) -> DeadLetterPage:
    """Messages that nobody could do anything with, the oldest first, without their bodies."""
    async with rabbit.connected() as connection:
        return DeadLetterPage(dead_letters=await dead_letters(connection))


@post(
    "/admin/dead-letters/{letter_id:uuid}/retry",
    tags=["admin"],
    status_code=200,
    responses=problem_responses(
        "unknown-dead-letter", "dead-letter-stays", "no-rabbitmq", "rabbitmq-unavailable", "dead-letters-busy"
    ),
    opt=may(NOBODY),
)
async def retry_dead_letter(
    rabbit: NamedDependency[Rabbit],
    principal: NamedDependency[Principal],
    letter_id: FromPath[UUID],
    authorization: Annotated[str | None, HeaderParameter(name="Authorization", description="`Bearer <key>`")] = None,
) -> SentAgain:
    """Send the message again to where it came from, with the key of this request. A command is done only once."""
    if authorization is None and principal.key_id is not None:
        raise Unauthenticated("a session is not enough to send a message: it needs the key, as Authorization: Bearer")
    key = None if authorization is None else shown_in(authorization)
    async with rabbit.connected() as connection:
        sent = await retry(connection, letter_id, key)
    return SentAgain(id=sent.id, exchange=sent.exchange, routing_key=sent.routing_key, message_id=sent.message_id)


CALLS = (get_relays, get_dead_letters, retry_dead_letter)


async def relay_statuses(reader: Reader) -> list[RelayRow]:
    """Raises ``StoreUnavailable``."""
    async with reader.connection() as connection:
        leases = await connection.fetch(_LEASES, RELAY)
        shards = [ShardStatus(**row) for row in await connection.fetch(_SHARDS, RELAY)]
    return [_row(lease, shards) for lease in leases]


def _row(lease: Any, shards: list[ShardStatus]) -> RelayRow:
    told = json.decode(lease["status"], type=RelayStatus)
    return RelayRow(
        name=lease["name"],
        state=told.state if lease["is_held"] else "dead",
        holder=lease["holder"],
        epoch=lease["epoch"],
        renewed_at=lease["renewed_at"],
        lag=sum(shard.lag for shard in shards),
        unrouted=told.unrouted,
        last_error=told.error,
        shards=shards,
    )
