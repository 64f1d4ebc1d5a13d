"""The loop that keeps something connected: connect, work, and after a loss connect again.

Every long-lived reader of the database runs in one: the listener, the subscriptions, the read gate; and so does
whatever is connected to RabbitMQ. A loss is logged once, however many attempts follow, and so is the recovery. No error
ends the loop: a reader that silently stopped would be worse.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from foldbook.errors import FoldbookError, reason_of
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.waits import is_set_within
from foldbook.postgres.connection import UNREACHABLE, Connection, connect

BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 5.0
CANCEL_INTERVAL_S = 0.5

logger = logging.getLogger(__name__)


class Loop:
    """Calls ``_connected`` until stopped. That connects, works, and returns when ``stopping`` is set; if it returns
    earlier, or raises, it is called again after a pause.

    Whoever works calls ``is_well`` as soon as the connection does what it is for, which ends a loss. ``name``
    identifies it in log messages, ``lost`` says there what has happened, and ``expected`` is what a loss raises.
    """

    def __init__(self, name: str, lost: str, expected: tuple[type[Exception], ...], backoff: Backoff) -> None:
        self._name = name
        self._says_lost = lost
        self._expected: tuple[type[Exception], ...] = (FoldbookError, *expected)
        self._backoff = backoff
        self._task: asyncio.Task[None] | None = None
        self._is_working = False
        """It is connected."""
        self._lost_at_s: float | None = None
        self._is_failure_logged = False
        self.error: str | None = None
        """Why it is not connected, or why its work failed; None while all is well."""
        self.stopping = asyncio.Event()

    async def start(self) -> None:
        """Begin, in a task. Returns at once."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self, grace_s: float = 0.0) -> None:
        """Stop, and close the connection. The work has ``grace_s`` seconds to return; then it is cancelled."""
        self.stopping.set()
        if self._task is None:
            return
        if self._is_working and grace_s > 0:
            await asyncio.wait([self._task], timeout=grace_s)
        await cancel(self._task)

    def is_well(self) -> None:
        """The connection works: a loss, if there was one, is over."""
        self._backoff.reset()
        self._is_failure_logged = False
        self.error = None
        if self._lost_at_s is not None:
            logger.info("%s is connected again, after %.1f s", self._name, time.monotonic() - self._lost_at_s)
            self._lost_at_s = None

    async def pause(self, seconds: float) -> None:
        """Sleep, but not beyond a stop."""
        await is_set_within(self.stopping, seconds)

    async def _connected(self) -> None:
        raise NotImplementedError

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
                if _is_cancelled():
                    raise
                self._lost(error)  # A library may raise one that nobody asked for.
            await self.pause(self._backoff.next_s())

    def _lost(self, error: BaseException) -> None:
        self.error = reason_of(error)
        is_expected = isinstance(error, self._expected)
        if is_expected and self._lost_at_s is None:
            logger.warning("%s %s and keeps trying: %s", self._name, self._says_lost, self.error)
        if not is_expected and not self._is_failure_logged:
            self._is_failure_logged = True
            logger.error("%s failed and keeps trying", self._name, exc_info=error)
        if self._lost_at_s is None:
            self._lost_at_s = time.monotonic()


class Reconnecting(Loop):
    """Runs ``work`` on its own connection to the database until stopped."""

    def __init__(
        self,
        name: str,
        dsn: str,
        work: Callable[[Connection], Awaitable[None]],
        *,
        connect: Callable[[str], Awaitable[Connection]] = connect,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(
            name, "lost its connection to the database", UNREACHABLE, backoff or Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
        )
        self._dsn = dsn
        self._work = work
        self._connect = connect

    async def _connected(self) -> None:
        connection = await self._connect(self._dsn)
        try:
            self._is_working = True
            await self._work(connection)
        finally:
            self._is_working = False
            connection.terminate()


async def cancel(task: asyncio.Future[None]) -> None:
    """Cancel it until it has ended, in whatever way: wait_for swallows a cancellation if its future is done at the same
    moment."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_INTERVAL_S)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
