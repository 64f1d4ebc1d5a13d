"""Commands from RabbitMQ into the bus.

Many are in the bus at once, so that they share commits. A message is acknowledged after the COMMIT of its command: if
this process ends in between, it comes again, and is answered with the first result. What cannot be done at all is
buried with the reason (``dead_letters``), and its sender is told; it never comes again by itself. A refusal is an
answer.

While the database cannot be reached, messages stay unacknowledged and are tried again in their order; as many as
``prefetch`` have been taken, and the others wait in their queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial

import aiormq
from aio_pika.abc import AbstractConnection

from foldbook.access.rates import RateLimited
from foldbook.echo import LineLimit, shown
from foldbook.errors import IdempotencyConflict, Overloaded, Refusal, StoreUnavailable
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Command
from foldbook.eventstore.problems import explain
from foldbook.messaging.command_messages import Asked, CommandMessages, reply_to_of
from foldbook.messaging.connection import RabbitLink
from foldbook.messaging.consuming import Consumer, Delivered
from foldbook.messaging.dead_letters import Undelivered, bury
from foldbook.messaging.pipeline import Pipeline, properties
from foldbook.messaging.topology import COMMANDS, commands_queue, declare, topology
from foldbook.messaging.transport import Commands

PREFETCH = 512
"""Commands of a shard that are under way at once."""
GRACE_S = 8.0
"""How long those may take when the intake stops."""
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.1, 5.0

_LATER = (StoreUnavailable, Overloaded)
"""The command can be done, only not now."""

logger = logging.getLogger(__name__)

_lines = LineLimit()


class Intake:
    """``start`` it when the bus runs, and ``stop`` it before the bus."""

    def __init__(
        self, url: str, bus: Commands, messages: CommandMessages, shard_count: int, *, prefetch: int = PREFETCH
    ) -> None:
        self._bus = bus
        self._messages = messages
        self._topology = topology(shard_count)
        self._shards = range(shard_count)
        self._prefetch = prefetch
        self._link = RabbitLink("the intake", url, self._take)
        self.counts = Counts()

    @property
    def state(self) -> str:
        return self._link.state

    async def start(self) -> None:
        await self._link.start()

    async def stop(self) -> None:
        """Take no more, and finish what is under way."""
        await self._link.stop(GRACE_S)

    async def _take(self, connection: AbstractConnection) -> None:
        async with connection.channel() as channel:
            await declare(channel, self._topology)
            graves = await channel.get_underlay_channel()
            desks = [await self._desk(connection, shard, graves) for shard in self._shards]
            for desk in desks:
                await desk.consumer.start()
            working = [asyncio.ensure_future(work) for desk in desks for work in (desk.write(), desk.consumer.ended())]
            stopping = asyncio.ensure_future(self._link.stopping.wait())
            self._link.is_well()
            try:
                await asyncio.wait([stopping, *working], return_when=asyncio.FIRST_COMPLETED)
                for ended in working:
                    if ended.done():
                        ended.result()  # raises what has ended it
                for desk in desks:
                    await desk.finish()
            finally:
                for desk in desks:
                    desk.abandon()
                for each in (stopping, *working):
                    each.cancel()
                await asyncio.wait([stopping, *working])

    async def _desk(self, connection: AbstractConnection, shard: int, graves: aiormq.abc.AbstractChannel) -> _Desk:
        desk = _Desk(shard, self._bus, self._messages, graves, self.counts)
        await desk.open(connection, self._prefetch)
        return desk


class Counts:
    """Since the start: commands that were ``answered`` by the bus, refused because their key sends too many
    (``limited``), and messages that were ``buried``."""

    def __init__(self) -> None:
        self.answered = 0
        self.limited = 0
        self.buried = 0


class _Taken:
    """A message, until it is acknowledged."""

    __slots__ = ("asked", "delivered", "is_done")

    def __init__(self, delivered: Delivered) -> None:
        self.delivered = delivered
        self.asked: Asked | None = None
        self.is_done = False


class _Desk:
    """The commands of one shard, on one channel."""

    def __init__(
        self,
        shard: int,
        bus: Commands,
        messages: CommandMessages,
        graves: aiormq.abc.AbstractChannel,
        counts: Counts,
    ) -> None:
        self.consumer: Consumer
        self._pipeline: Pipeline
        self._shard = shard
        self._bus = bus
        self._messages = messages
        self._graves = graves
        self._counts = counts
        self._taken: deque[_Taken] = deque()
        """What is not acknowledged, in the order in which it came."""
        self._later: list[_Taken] = []
        """Of those, the ones that are tried again together, in that order."""
        self._frames: list[bytes] = []
        """Answers that were not written yet."""
        self._progress = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._backoff = Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
        self._is_putting_off = False
        self._retrying: asyncio.Task[None] | None = None
        self._last: asyncio.Future[CommandResult] | None = None
        self._burying: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._is_abandoned = False

    async def open(self, connection: AbstractConnection, prefetch: int) -> None:
        self.consumer = await Consumer.open_on(
            connection, commands_queue(self._shard), self._deliver, prefetch=prefetch
        )
        self._pipeline = Pipeline(connection, self.consumer)

    # -- in ----------------------------------------------------------------------------------------------------------

    def _deliver(self, delivered: Delivered) -> None:
        taken = _Taken(delivered)
        self._taken.append(taken)
        self._is_empty.clear()
        if self._later or _was_put_off(self._last):
            self._put_off(taken)  # What came earlier comes first.
        else:
            self._attempt(taken)

    def _attempt(self, taken: _Taken) -> None:
        """Submit it, if that is possible."""
        delivered = taken.delivered
        try:
            if taken.asked is None:
                taken.asked = self._messages.read(self._shard, delivered.properties, delivered.body)
            asked = taken.asked
            if asked.expires_at is not None:
                asked.check_in_time(self._messages.now())
            line = asked.line
            future = self._bus.submit(line.command, metadata=line.metadata, expected_sequence=line.expected_sequence)
        except _LATER as error:
            self._put_off(taken, error)
        except RateLimited as error:
            self._refuse(taken, error)
        except Exception as error:
            self._bury(taken, error)
        else:
            self._last = future
            future.add_done_callback(partial(self._decided, taken, asked.line.command))

    def _decided(self, taken: _Taken, command: Command, future: asyncio.Future[CommandResult]) -> None:
        error = None if future.cancelled() else future.exception()
        if future.cancelled():
            self._put_off(taken)
        elif error is None:
            self._is_taken()
            self._answer(taken, self._messages.result(command, future.result()))
        elif isinstance(error, (Refusal, IdempotencyConflict)):
            self._is_taken()
            self._answer(taken, self._messages.problem(explain(error)))
        elif isinstance(error, _LATER):
            self._put_off(taken, error)
        elif isinstance(error, Exception):
            self._bury(taken, error)

    def _is_taken(self) -> None:
        """The log takes commands."""
        self._backoff.reset()
        self._is_putting_off = False
        self._counts.answered += 1

    def _put_off(self, taken: _Taken, error: Exception | None = None) -> None:
        self._later.append(taken)
        if not self._is_putting_off:
            self._is_putting_off = True
            logger.warning("commands of shard %d wait and are tried again: %s", self._shard, error)
        if self._retrying is None and not self._is_abandoned:
            self._retrying = asyncio.create_task(self._retry(), name=f"intake-{self._shard}")

    async def _retry(self) -> None:
        """All that were put off, in the order in which they came, until none is left."""
        while self._later:
            await asyncio.sleep(self._backoff.next_s())
            later, self._later = sorted(self._later, key=lambda taken: taken.delivered.tag), []
            for place, taken in enumerate(later):
                self._attempt(taken)
                if self._later:
                    self._later += later[place + 1 :]
                    break
        self._retrying = None

    # -- out ---------------------------------------------------------------------------------------------------------

    def _answer(self, taken: _Taken, document: bytes) -> None:
        told = taken.delivered.properties
        reply_to = reply_to_of(told)
        if reply_to is not None:
            answer = properties(correlation_id=told.correlation_id)
            self._frames.append(self._pipeline.publish("", reply_to, document, answer))
        taken.is_done = True
        self._progress.set()

    def _refuse(self, taken: _Taken, error: RateLimited) -> None:
        """Its sender can send it again, if he is told. It does not wait here, where it would hold up all others."""
        if reply_to_of(taken.delivered.properties) is None:
            self._bury(taken, error)
        else:
            self._counts.limited += 1
            self._answer(taken, self._messages.problem(explain(error)))

    def _bury(self, taken: _Taken, error: Exception) -> None:
        task = asyncio.create_task(self._buried(taken, error))
        self._burying.add(task)
        task.add_done_callback(self._burying.discard)

    async def _buried(self, taken: _Taken, error: Exception) -> None:
        delivered, explained = taken.delivered, explain(error)
        letter = Undelivered(COMMANDS, delivered.key, delivered.properties, delivered.body)
        try:
            await bury(self._graves, letter, explained.code, explained.detail)
        except Exception as failure:
            # It is not acknowledged, so it comes again on the next connection.
            self._failure = failure
            self._progress.set()
            return
        self._counts.buried += 1
        if _lines.may_write():
            detail, more = shown(explained.detail), _lines.left_out()
            logger.warning("a message of shard %d was buried: %s: %s%s", self._shard, explained.code, detail, more)
        self._answer(taken, self._messages.problem(explained))

    async def write(self) -> None:
        """Write the answers and what is acknowledged, as one piece: a message that is acknowledged was answered."""
        while True:
            await self._progress.wait()
            self._progress.clear()
            if self._failure is not None:
                raise self._failure
            tag = None
            while self._taken and self._taken[0].is_done:
                tag = self._taken.popleft().delivered.tag
            frames, self._frames = self._frames, []
            if tag is not None:
                frames.append(self._pipeline.acknowledge(tag))
            await self._pipeline.write(b"".join(frames))
            if not self._taken and not self._frames:
                self._is_empty.set()

    async def finish(self) -> None:
        """Take no more, and return when everything that was taken is acknowledged."""
        await self.consumer.stop()
        if self._taken:
            await self._is_empty.wait()

    def abandon(self) -> None:
        """The connection is gone: what was not acknowledged comes again."""
        self._is_abandoned = True
        for task in (*self._burying, *(() if self._retrying is None else (self._retrying,))):
            task.cancel()


def _was_put_off(future: asyncio.Future[CommandResult] | None) -> bool:
    """The last command cannot be done now, even if nobody was told so yet. What comes after it must wait too."""
    return future is not None and future.done() and not future.cancelled() and isinstance(future.exception(), _LATER)
