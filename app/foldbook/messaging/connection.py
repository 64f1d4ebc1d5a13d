"""Connections to RabbitMQ, under our own supervision.

A connection is aio-pika's plain one. Its reconnecting one hangs or raises while it is away, and repeats declarations
behind its owner's back. Here the owner starts over: after a loss, ``RabbitLink`` connects again and calls its work
again, which declares what it needs and continues from what it knows.

::

    FoldbookError
    └── RabbitUnavailable       RabbitMQ cannot be reached, or refused to let us in
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar
from urllib.parse import urlsplit

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from yarl import URL

from foldbook.errors import FoldbookError, reason_of
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.readers.reconnecting import Loop, cancel
from foldbook.messaging import unreadable

CONNECT_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 10.0
"""To declare something, to open a channel."""
CLOSE_TIMEOUT_S = 5.0
TRANSIENT, PERSISTENT = 1, 2
"""Delivery modes."""
HEARTBEAT_S = 10
"""A peer that died without closing is noticed after three of them."""
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0

C = TypeVar("C", bound=aiormq.Channel)

RABBIT_UNREACHABLE = (OSError, TimeoutError, AMQPError, aiormq.exceptions.AMQPError)
"""What a lost, restarting or refusing RabbitMQ raises."""

# Each attempt to connect would log a traceback, and so would each loss. ``RabbitLink`` says both once.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
unreadable.install()


class RabbitUnavailable(FoldbookError, code="rabbitmq-unavailable", status=503, title="RabbitMQ cannot be reached"):
    retry_after_s = 1


async def connect(url: str, name: str) -> AbstractConnection:
    """One connection, which RabbitMQ lists as ``name``. Raises ``RabbitUnavailable``."""
    connection = aio_pika.Connection(URL(url).update_query(heartbeat=HEARTBEAT_S, name=f"foldbook {name}"))
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await connection.connect()
        return connection
    except BaseException as error:
        # Left alone, one that was never connected would be closed by the garbage collector, in whatever thread.
        await close(connection)
        if isinstance(error, RABBIT_UNREACHABLE):
            raise RabbitUnavailable(f"RabbitMQ at {_place(url)}: {reason_of(error)}") from error
        raise


async def close(connection: AbstractConnection) -> None:
    """Close it, and wait no longer than ``CLOSE_TIMEOUT_S`` for the other side. Who is cancelled meanwhile waits, too:
    half closed, it would stay open."""
    closing = asyncio.ensure_future(_close(connection))
    interruption: asyncio.CancelledError | None = None
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is not None:
        raise interruption


async def _close(connection: AbstractConnection) -> None:
    with suppress(*RABBIT_UNREACHABLE):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await connection.close()


@asynccontextmanager
async def connected(url: str, name: str) -> AsyncIterator[AbstractConnection]:
    """A connection for one task. Raises ``RabbitUnavailable`` if there is none, and if it breaks."""
    connection = await connect(url, name)
    try:
        yield connection
    except RABBIT_UNREACHABLE as error:
        raise RabbitUnavailable(f"RabbitMQ at {_place(url)}: {reason_of(error)}") from error
    finally:
        await close(connection)


def underlay(connection: AbstractConnection) -> aiormq.abc.AbstractConnection:
    """The connection below aio-pika's."""
    assert connection.transport is not None, "it is connected"
    return connection.transport.connection


def add_channel(connection: AbstractConnection, make: Callable[[aiormq.abc.AbstractConnection, int], C]) -> C:
    """A channel of a class of our own, made with the connection below and the next number; it is not open yet."""
    below = underlay(connection)
    number = max(below.channels, default=0) + 1
    channel = below.channels[number] = make(below, number)
    return channel


def is_blocked(connection: AbstractConnection) -> bool:
    """Has RabbitMQ said that it takes no messages, because it is short of memory or disk?"""
    waiting = underlay(connection).ready()
    try:
        waiting.send(None)  # It returns at once, or waits for the end of the alarm.
    except StopIteration:
        return False
    waiting.close()
    return True


class RabbitLink(Loop):
    """Runs ``work`` on its own connection to RabbitMQ until stopped. When the connection is lost, it is cancelled."""

    def __init__(
        self,
        name: str,
        url: str,
        work: Callable[[AbstractConnection], Awaitable[None]],
        *,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(name, "lost RabbitMQ", RABBIT_UNREACHABLE, backoff or Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX))
        self._url = url
        self._work = work
        self._connection: AbstractConnection | None = None

    @property
    def state(self) -> str:
        """``connected``, ``blocked`` by an alarm of RabbitMQ's, or ``disconnected``."""
        if self._connection is None:
            return "disconnected"
        return "blocked" if is_blocked(self._connection) else "connected"

    async def _connected(self) -> None:
        connection = await connect(self._url, self._name)
        work = asyncio.ensure_future(self._work(connection))
        closing = underlay(connection).closing
        self._connection, self._is_working = connection, True
        try:
            await asyncio.wait([work, closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connection, self._is_working = None, False
            await cancel(work)
            if not work.cancelled():
                work.exception()  # It is raised below, unless something else is.
            closing.cancel()
            await close(connection)
        if work.cancelled():
            raise ConnectionError("RabbitMQ closed the connection")
        work.result()


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5672}"
