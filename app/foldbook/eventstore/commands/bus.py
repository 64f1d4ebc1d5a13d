"""The command bus: load, decide, group commit.

Commands queue. While one append is in flight the next batch is decided and encoded, on the state that will be there
if the one in flight succeeds; it is sent the moment the answer is in, before anybody is told of it. So PostgreSQL and
Python work side by side, and the lock, the fsync and the NOTIFY are paid once per batch, without a timer.

Nothing is sent that was decided on a state that did not come true: when an append meets a conflict, whatever was
decided after it for that aggregate goes back to the front of the queue, the tail is read, and it is decided again.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from foldbook.eventstore.commands.results import CommandResult
from foldbook.eventstore.commands.shard_bus import BusLimits, Lane
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import Command, Metadata
from foldbook.eventstore.store import EventStore, shard_of

S = TypeVar("S")

_NO_METADATA = Metadata()


class CommandBus(Generic[S]):
    """Takes commands for the aggregates of one decider. ``start`` it inside a running event loop."""

    def __init__(
        self, store: EventStore, decider: Decider[S], *, shard_count: int = 1, limits: BusLimits | None = None
    ) -> None:
        self._shard_count = shard_count
        self._lanes = [Lane(store, decider, shard, limits or BusLimits()) for shard in range(shard_count)]

    async def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    async def stop(self) -> None:
        """Takes no more, answers everything it has, stops."""
        await asyncio.gather(*(lane.stop() for lane in self._lanes))

    def submit(
        self, command: Command, *, metadata: Metadata = _NO_METADATA, expected_sequence: int | None = None
    ) -> asyncio.Future[CommandResult]:
        """Queue a command; the future has its result once that is durable.

        ``expected_sequence`` makes it conditional. Raises ``Overloaded`` at once when the queue is full; the future
        raises ``Refusal``, ``IdempotencyConflict``, ``Overloaded`` or ``StoreUnavailable``. Commands to one aggregate
        are decided in the order of submission.
        """
        lane = self._lanes[shard_of(command.aggregate_id, self._shard_count)]
        return lane.submit(command, metadata, expected_sequence)

    async def execute(
        self, command: Command, *, metadata: Metadata = _NO_METADATA, expected_sequence: int | None = None
    ) -> CommandResult:
        """``submit``, and wait for the result."""
        return await self.submit(command, metadata=metadata, expected_sequence=expected_sequence)

    @property
    def is_running(self) -> bool:
        """It takes commands."""
        return all(lane.is_running for lane in self._lanes)

    @property
    def queued(self) -> int:
        """Commands waiting to be decided."""
        return sum(len(lane.queue) for lane in self._lanes)

    @property
    def in_flight(self) -> int:
        """Commands in an append that was not answered yet."""
        return sum(len(lane.flight.submissions) if lane.flight else 0 for lane in self._lanes)

    @property
    def states_cached(self) -> int:
        """Aggregates whose state is in memory."""
        return sum(len(lane.states) for lane in self._lanes)

    @property
    def commits_total(self) -> int:
        return sum(lane.commits_total for lane in self._lanes)

    @property
    def commands_total(self) -> int:
        return sum(lane.commands_total for lane in self._lanes)

    @property
    def conflicts_total(self) -> int:
        return sum(lane.conflicts_total for lane in self._lanes)
