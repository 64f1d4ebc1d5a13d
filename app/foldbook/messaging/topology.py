"""What Foldbook declares at RabbitMQ: exchanges, queues, bindings; and how routing keys are written.

Everything here is declared in the same way by whoever comes first, and declaring it again changes nothing. What is
declared already with other arguments is never replaced: that would delete messages, so a person decides.

A routing key is words between dots, and a name may contain a dot. In a word, ``.`` is written ``,``, ``*`` is written
``;`` and ``#`` is written ``|``. Neither a name nor a symbol may contain those, so no two names share a word, and a
word is no longer than its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal, TypeAlias

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from msgspec import Struct

from foldbook.messaging.connection import CALL_TIMEOUT_S
from foldbook.trading.commands import OpenAccount
from foldbook.trading.values import is_account

MARKET = "foldbook.market"
COMMANDS = "foldbook.commands"
EVENTS = "foldbook.events"
DEAD = "foldbook.dead"

COMMANDS_MAX = 100_000
"""Commands that wait in the queue of a shard; the next one is refused, which its sender's confirm says."""
DEAD_MAX = 10_000
DEAD_BYTES_MAX = 256 << 20
"""Dead letters; beyond that the oldest goes, so that nobody who sends nonsense can stop the intake."""

EVENTS_MAX = 100_000
"""Events that wait in the queue of one consumer."""

WORD_BYTES_MAX = 64
NO_ACCOUNT = "-"
"""In the place of a user, which never begins so: what follows is no account."""

_IN_WORDS = str.maketrans({".": ",", "*": ";", "#": "|"})

Arguments: TypeAlias = Mapping[str, str | int]


class Exchange(Struct, frozen=True):
    name: str
    type: Literal["topic", "direct"]
    routing_key: str
    """Its form."""
    carries: str


class Queue(Struct, frozen=True):
    """A durable queue, bound to ``exchange`` for one routing key."""

    name: str
    exchange: str
    routing_key: str
    arguments: Arguments


# Not a quorum queue: those count how often a message was looked at, and drop it after some times.
DEAD_QUEUE = Queue(DEAD, DEAD, DEAD, {"x-max-length": DEAD_MAX, "x-max-length-bytes": DEAD_BYTES_MAX})


class Topology(Struct, frozen=True):
    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]


class Finding(Struct, frozen=True):
    """What RabbitMQ has of something declared. ``state``: ``equal``, ``missing``, or ``different``."""

    kind: Literal["exchange", "queue"]
    name: str
    state: Literal["equal", "missing", "different"]
    detail: str = ""


def topology(shard_count: int) -> Topology:
    """What is declared for a log of so many shards. The queues of market data and of events are their consumers'."""
    return Topology(
        exchanges=(
            Exchange(MARKET, "topic", "kind.venue.symbol", "quotes, trades and bars; transient, not confirmed"),
            Exchange(COMMANDS, "direct", "shard", "commands, with the sender's key"),
            Exchange(EVENTS, "topic", "shard.user.exchange.broker.Type", "the events of the log, in order"),
            Exchange(DEAD, "direct", DEAD, "messages that nobody could do anything with, and why"),
        ),
        queues=(
            *(
                Queue(
                    commands_queue(shard),
                    COMMANDS,
                    str(shard),
                    {"x-queue-type": "quorum", "x-max-length": COMMANDS_MAX, "x-overflow": "reject-publish"},
                )
                for shard in range(shard_count)
            ),
            DEAD_QUEUE,
        ),
    )


def events_queue(name: str, shard: int | None) -> Queue:
    """The queue of a consumer of the events of a shard, or of all, who declares it.

    When it is full, the oldest are lost: the consumer sees the gap, and the log has them. If it refused more instead,
    the relay would have to wait, for everybody.
    """
    return Queue(name, EVENTS, "#" if shard is None else f"{shard}.#", {"x-max-length": EVENTS_MAX})


def commands_queue(shard: int) -> str:
    return f"{COMMANDS}.{shard}"


# -- routing keys ------------------------------------------------------------------------------------------------


def word(name: str) -> str:
    """A name as a word of a routing key."""
    return name.translate(_IN_WORDS).encode()[:WORD_BYTES_MAX].decode(errors="ignore")


def market_key(kind: str, venue: str, symbol: str) -> str:
    """``kind.venue.symbol``."""
    return f"{word(kind)}.{word(venue)}.{word(symbol)}"


def event_key(shard: int, aggregate_type: str, aggregate_id: str, event_type: str) -> str:
    """``shard.user.exchange.broker.Type``; for an aggregate that is not an account's ``shard.-.<type>.<id>.Type``."""
    return f"{shard}.{_aggregate_key(aggregate_type, aggregate_id)}.{word(event_type)}"


@lru_cache(maxsize=10_000)
def _aggregate_key(aggregate_type: str, aggregate_id: str) -> str:
    if aggregate_type == OpenAccount.aggregate_type and is_account(aggregate_id):
        return ".".join(word(part) for part in aggregate_id.split("/"))
    return f"{NO_ACCOUNT}.{word(aggregate_type)}.{word(aggregate_id)}"


# -- declaring ---------------------------------------------------------------------------------------------------


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """Declare all of it. Raises ``ChannelPreconditionFailed`` for what is there already with other arguments."""
    async with asyncio.timeout(CALL_TIMEOUT_S):
        for exchange in topology.exchanges:
            await channel.declare_exchange(exchange.name, exchange.type, durable=True)
        for queue in topology.queues:
            declared = await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
            await declared.bind(queue.exchange, queue.routing_key)


async def check(connection: AbstractConnection, topology: Topology) -> list[Finding]:
    """What RabbitMQ has of it. Declares nothing that is missing. Bindings cannot be asked for; ``declare`` makes them.

    A passive declare says only whether the name exists. Then an active one compares the arguments.
    """
    return [await _find(connection, kind, each) for kind, each in _declared(topology)]


def _declared(topology: Topology) -> Iterator[tuple[Literal["exchange", "queue"], Exchange | Queue]]:
    for exchange in topology.exchanges:
        yield "exchange", exchange
    for queue in topology.queues:
        yield "queue", queue


async def _find(
    connection: AbstractConnection, kind: Literal["exchange", "queue"], declared: Exchange | Queue
) -> Finding:
    try:
        for is_passive in (True, False):
            # A refused declare closes its channel.
            async with asyncio.timeout(CALL_TIMEOUT_S), connection.channel() as channel:
                if isinstance(declared, Exchange):
                    await channel.declare_exchange(declared.name, declared.type, durable=True, passive=is_passive)
                else:
                    await channel.declare_queue(
                        declared.name, durable=True, arguments=dict(declared.arguments), passive=is_passive
                    )
    except ChannelNotFoundEntity:
        return Finding(kind, declared.name, "missing")
    except ChannelPreconditionFailed as error:
        return Finding(kind, declared.name, "different", str(error))
    return Finding(kind, declared.name, "equal")
