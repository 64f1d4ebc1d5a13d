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
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from yarl import URL

from foldbook.errors import FoldbookError
from foldbook.eventstore.backoff import Backoff

CONNECT_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 10.0
"""To declare something, to open a channel."""
CLOSE_TIMEOUT_S = 5.0
HEARTBEAT_S = 10
"""A peer that died without closing is noticed after three of them."""
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0
CANCEL_INTERVAL_S = 0.5

RABBIT_UNREACHABLE = (OSError, TimeoutError, AMQPError, aiormq.exceptions.AMQPError)
"""What a lost, restarting or refusing RabbitMQ raises."""

logger = logging.getLogger(__name__)

# Each attempt to connect would log a traceback, and so would each loss. ``RabbitLink`` says both once.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


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
            raise RabbitUnavailable(f"RabbitMQ at {_place(url)}: {_reason(error)}") from error
        raise


async def close(connection: AbstractConnection) -> None:
    """Close it, and wait no longer than ``CLOSE_TIMEOUT_S`` for the other side."""
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
        raise RabbitUnavailable(f"RabbitMQ at {_place(url)}: {_reason(error)}") from error
    finally:
        await close(connection)


def underlay(connection: AbstractConnection) -> aiormq.abc.AbstractConnection:
    """The connection below aio-pika's."""
    assert connection.transport is not None, "it is connected"
    return connection.transport.connection


def is_blocked(connection: AbstractConnection) -> bool:
    """Has RabbitMQ said that it takes no messages, because it is short of memory or disk?"""
    waiting = underlay(connection).ready()
    try:
        waiting.send(None)  # It returns at once, or waits for the end of the alarm.
    except StopIteration:
        return False
    waiting.close()
    return True


class RabbitLink:
    """Runs ``work`` on its own connection until stopped.

    ``work`` returns when ``stopping`` is set. When the connection is lost, it is cancelled, and called again with the
    next one. If it returns earlier, or raises, the connection is closed and a new one opened after a pause. It calls
    ``is_well`` when the connection does what it is for. No error ends the link.
    """

    def __init__(
        self,
        name: str,
        url: str,
        work: Callable[[AbstractConnection], Awaitable[None]],
        *,
        backoff: Backoff | None = None,
    ) -> None:
        self._name = name
        self._url = url
        self._work = work
        self._backoff = backoff or Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
        self._task: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None
        self._lost_at_s: float | None = None
        self.error: str | None = None
        """Why it is not connected, or why its work failed; None while all is well."""
        self.stopping = asyncio.Event()

    @property
    def state(self) -> str:
        """``connected``, ``blocked`` by an alarm of RabbitMQ's, or ``disconnected``."""
        if self._connection is None:
            return "disconnected"
        return "blocked" if is_blocked(self._connection) else "connected"

    async def start(self) -> None:
        """Begin, in a task. Returns at once."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self, grace_s: float = 0.0) -> None:
        """Stop, and close the connection. ``work`` has ``grace_s`` seconds to return; then it is cancelled."""
        self.stopping.set()
        if self._task is None:
            return
        if self._connection is not None and grace_s > 0:
            await asyncio.wait([self._task], timeout=grace_s)
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CANCEL_INTERVAL_S)

    def is_well(self) -> None:
        """The connection works: a loss, if there was one, is over."""
        self._backoff.reset()
        self.error = None
        if self._lost_at_s is not None:
            logger.info("%s is connected again, after %.1f s", self._name, time.monotonic() - self._lost_at_s)
            self._lost_at_s = None

    async def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                await self._connected()
                if self.stopping.is_set():
                    return
                self._lost(ConnectionError("the connection ended"))
            except Exception as error:
                self._lost(error)
            except asyncio.CancelledError as error:
                if is_cancelled():
                    raise
                self._lost(error)  # A library may raise one that nobody asked for.
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), self._backoff.next_s())

    async def _connected(self) -> None:
        connection = await connect(self._url, self._name)
        work = asyncio.ensure_future(self._work(connection))
        closing = underlay(connection).closing
        self._connection = connection
        try:
            await asyncio.wait([work, closing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connection = None
            await _end(work)
            closing.cancel()
            await close(connection)
        if work.cancelled():
            raise ConnectionError("RabbitMQ closed the connection")
        work.result()

    def _lost(self, error: BaseException) -> None:
        self.error = _reason(error)
        if self._lost_at_s is not None:
            return
        self._lost_at_s = time.monotonic()
        if isinstance(error, (FoldbookError, *RABBIT_UNREACHABLE)):
            logger.warning("%s lost RabbitMQ and keeps trying: %s", self._name, self.error)
        else:
            logger.error("%s failed and keeps trying", self._name, exc_info=error)


def is_cancelled() -> bool:
    """Was the task that asks cancelled?"""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _end(task: asyncio.Future[None]) -> None:
    """Cancel it, until it has ended, in whatever way."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_INTERVAL_S)
    if not task.cancelled():
        task.exception()


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5672}"


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
