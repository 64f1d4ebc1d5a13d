"""The command bus: load, decide, group commit.

Commands queue. While one append is in flight the next batch is decided and encoded, on the state that will be there
if the one in flight succeeds; it is sent the moment the answer is in, before anybody is told. So PostgreSQL and Python
work side by side, and the lock, the fsync and the NOTIFY are paid once per batch, without a timer.

Nothing is sent that was decided on a state that did not come true: when an append meets a conflict, whatever was
decided after it for that aggregate goes back to the front of the queue, the tail is read, and it is decided again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from foldbook.eventstore.commands.shard_bus import BusLimits, ShardBus
from foldbook.eventstore.commands.state_cache import Heard
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import NO_METADATA, Command, Metadata
from foldbook.eventstore.seen import Loss
from foldbook.eventstore.store import EventStore, shard_of


class CommandBus:
    """Takes commands for the aggregates of one decider, or of several. ``start`` it inside a running event loop.

    ``heard``: of the states that somebody who reads the log has anyway, so that what another process appends is not
    read twice.
    """

    def __init__(
        self,
        store: EventStore,
        *deciders: Decider[Any],
        shard_count: int = 1,
        limits: BusLimits | None = None,
        heard: Heard | None = None,
    ) -> None:
        by_type = {decider.name: decider for decider in deciders}
        if len(by_type) < len(deciders):
            raise ValueError("two deciders have the same name")
        self._aggregate_types = by_type.keys()
        self._shard_count = shard_count
        self._store = store
        self._shards = [
            ShardBus(store, by_type, shard, shard_count, limits or BusLimits(), heard) for shard in range(shard_count)
        ]

    async def start(self) -> None:
        for shard in self._shards:
            shard.start()

    async def stop(self) -> None:
        """Takes no more, answers everything it has, stops."""
        await asyncio.gather(*(shard.stop() for shard in self._shards))

    def submit(
        self, command: Command, *, metadata: Metadata = NO_METADATA, expected_sequence: int | None = None
    ) -> asyncio.Future[CommandResult]:
        """Queue a command; the future has its result once that is durable.

        ``expected_sequence`` makes it conditional. Raises ``Overloaded`` at once when the queue is full; the future
        raises ``Refusal``, ``IdempotencyConflict``, ``Overloaded`` or ``StoreUnavailable``. Commands to one aggregate
        are decided in the order of submission.
        """
        key = command.aggregate_key
        if key.type not in self._aggregate_types:
            raise TypeError(f"{type(command).__name__}: no decider here has aggregate type {key.type!r}")
        return self._shards[shard_of(key.id, self._shard_count)].submit(command, key, metadata, expected_sequence)

    async def execute(
        self, command: Command, *, metadata: Metadata = NO_METADATA, expected_sequence: int | None = None
    ) -> CommandResult:
        """``submit``, and wait for the result."""
        return await self.submit(command, metadata=metadata, expected_sequence=expected_sequence)

    def hint(self, payload: str | None) -> None:
        """Take a notification; None: a connection to the database was lost, and there may be another server now."""
        if payload is None:
            for shard in self._shards:
                shard.look_for_another_run()

    async def prove(self) -> None:
        """Return if commands can be committed now, within some seconds. Raises ``StoreUnavailable``, which says why
        not. Any number of callers may ask any number of times."""
        await asyncio.gather(*(shard.proof.ask() for shard in self._shards))

    @property
    def losses(self) -> Sequence[Loss]:
        """What this process saw in the log and the log does not have any more."""
        return self._store.losses

    @property
    def is_running(self) -> bool:
        """It takes commands."""
        return all(shard.is_running for shard in self._shards)

    @property
    def queued(self) -> int:
        """Commands waiting to be decided."""
        return sum(len(shard.queue) for shard in self._shards)

    @property
    def in_flight(self) -> int:
        """Commands in an append that was not answered yet."""
        return sum(len(shard.flight.submissions) if shard.flight else 0 for shard in self._shards)

    @property
    def states_cached(self) -> int:
        """Aggregates whose state is in memory."""
        return sum(len(shard.states) for shard in self._shards)

    @property
    def commits_total(self) -> int:
        return sum(shard.commits_total for shard in self._shards)

    @property
    def commands_total(self) -> int:
        return sum(shard.commands_total for shard in self._shards)

    @property
    def conflicts_total(self) -> int:
        return sum(shard.conflicts_total for shard in self._shards)
