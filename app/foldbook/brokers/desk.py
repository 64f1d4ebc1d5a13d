"""What the work on all accounts at one broker shares: the broker, the bus, the lease, the clock, the tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from foldbook.brokers.port import Broker, InDoubt, Outcome
from foldbook.brokers.reports import metadata_of
from foldbook.errors import FoldbookError, IdempotencyConflict, Overloaded, Refusal, StoreUnavailable
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Metadata
from foldbook.eventstore.lease import Lease
from foldbook.trading.commands import BookCommand

REQUESTS_MAX = 64
"""Requests that are under way to one broker at once. What waits for its turn here is not in doubt."""

RECORDINGS_MAX = 10_000
"""Reports on their way into the log. More are not taken from the stream, which ends then: they are asked for later."""

RETRY_PAUSE_S_MIN = 0.05
RETRY_PAUSE_S_MAX = 2.0

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Recording(NamedTuple):
    """A command on its way into the log."""

    done: asyncio.Future[CommandResult | None]
    """Its result; None: the book refused it. Never done, if the term ends before."""


class Counts:
    """What has happened since the process began."""

    def __init__(self) -> None:
        self.sent = 0
        self.refused = 0
        self.in_doubt = 0
        self.reports = 0
        self.recorded = 0
        self.reconciliations = 0


class Desk:
    """``order_of(account, client_order_id)`` looks a client order id up in the log."""

    def __init__(
        self,
        broker: Broker,
        bus: CommandBus,
        lease: Lease,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        order_of: Callable[[str, str], Awaitable[str | None]],
        lost: Callable[[BaseException], None],
    ) -> None:
        self.broker = broker
        self.now = now
        self.new_id = new_id
        self.order_of = order_of
        self.knows_broker = False
        """It was connected once: what it can do, it may say only then."""
        self.counts = Counts()
        self._bus = bus
        self._lease = lease
        self._lost = lost
        self._requests = asyncio.Semaphore(REQUESTS_MAX)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_stopped = False
        self._recordings = 0
        self._has_room = asyncio.Event()
        self._has_room.set()

    # -- tasks ---------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run something beside. What it raises ends the gateway's term: a successor begins from the log."""
        self._spawn(work, name)  # type: ignore[unused-awaitable]  # nobody waits for it

    def _spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._lost(error)

    async def stop(self) -> None:
        """End everything that is under way. What was sent and not answered is in doubt for the next."""
        self._is_stopped = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- the log -------------------------------------------------------------------------------------------------

    def record(self, command: BookCommand, raw: str | None = None) -> Recording:
        """Queue a command now, behind those before it. While the log takes none, it is tried again and again."""
        done: asyncio.Future[CommandResult | None] = asyncio.get_running_loop().create_future()
        self._count(done)
        self._submit(command, metadata_of(raw), done, Backoff(RETRY_PAUSE_S_MIN, RETRY_PAUSE_S_MAX))
        return Recording(done)

    def record_later(self, work: Coroutine[Any, Any, CommandResult | None], name: str) -> Recording:
        """Record what must be found out first; meanwhile it counts as on its way."""
        done = self._spawn(work, name)
        self._count(done)
        return Recording(done)

    async def room(self) -> None:
        """Wait until not too much is on its way into the log."""
        await self._has_room.wait()

    def _count(self, done: asyncio.Future[CommandResult | None]) -> None:
        self._recordings += 1
        if self._recordings >= RECORDINGS_MAX:
            self._has_room.clear()
        done.add_done_callback(self._recorded)

    def _recorded(self, _: asyncio.Future[CommandResult | None]) -> None:
        self._recordings -= 1
        if self._recordings < RECORDINGS_MAX:
            self._has_room.set()

    def _submit(
        self, command: BookCommand, metadata: Metadata, done: asyncio.Future[CommandResult | None], backoff: Backoff
    ) -> None:
        # Callbacks and not a task: there are thousands of commands a second.
        def again() -> None:
            if not self._is_stopped:
                self._submit(command, metadata, done, backoff)

        def answered(answer: asyncio.Future[CommandResult]) -> None:
            try:
                result = answer.result()
            except (Overloaded, StoreUnavailable):
                asyncio.get_running_loop().call_later(backoff.next_s(), again)
            except (Refusal, IdempotencyConflict) as error:
                logger.warning("%s of account %s: %s", type(command).__name__, command.account, error)
                _settle(done, None)
            except Exception as error:
                self._lost(error)
            else:
                self.counts.recorded += not result.replayed
                _settle(done, result)

        try:
            answer = self._bus.submit(command, metadata=metadata)
        except Overloaded:
            asyncio.get_running_loop().call_later(backoff.next_s(), again)
        else:
            answer.add_done_callback(answered)

    # -- the broker ----------------------------------------------------------------------------------------------

    async def request(self, send: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Send something while the lease is held for as long as that may take. What goes wrong is a doubt.

        Raises ``LeaseLost``: then nothing was sent.
        """
        send_s = self.broker.capabilities.send_s
        async with self._requests:
            await self._lease.wait_for(send_s)
            try:
                async with asyncio.timeout(send_s):
                    outcome = await send()
            except TimeoutError:
                outcome = InDoubt(reason=f"no answer within {send_s:g} s")
            except FoldbookError as error:
                outcome = InDoubt(reason=error.detail)
            except Exception as error:
                logger.exception("a request to the broker failed")
                outcome = InDoubt(reason=f"{type(error).__name__}: {error}")
        self.counts.sent += 1
        return outcome


def _settle(done: asyncio.Future[T], result: T) -> None:
    if not done.done():  # Who waits for it may have been canceled, and it too.
        done.set_result(result)
