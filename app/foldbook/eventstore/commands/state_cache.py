"""The states of one shard's aggregates: read from the log when needed, kept in memory while they are used.

Only a cache, and a bounded one: what guards a decision is the expected sequence that goes with it into the log.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import Generic, TypeVar

import msgspec

from foldbook.eventstore.commands.batch import Aggregate
from foldbook.eventstore.commands.results import persist
from foldbook.eventstore.commands.snapshots import Snapshotter, StateCodec
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import Event
from foldbook.eventstore.store import EventStore, StoredEvent

logger = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")


class States(Generic[S]):
    """``kept_max``: aggregates kept; ``snapshot_every``: events after which a state is cached in the database."""

    def __init__(
        self,
        store: EventStore,
        decider: Decider[S],
        shard: int,
        *,
        kept_max: int,
        snapshot_every: int,
        outage_max_s: float,
    ) -> None:
        self._store = store
        self._decider = decider
        self._shard = shard
        self._kept_max = kept_max
        self._snapshot_every = snapshot_every
        self._outage_max_s = outage_max_s
        self._codec = StateCodec(decider.state_type, decider.fold_version)
        self._snapshotter = Snapshotter(store, shard, self._codec)
        self._aggregates: OrderedDict[str, Aggregate[S]] = OrderedDict()

    def __getitem__(self, aggregate_id: str) -> Aggregate[S]:
        """A state that was loaded; it counts as used."""
        aggregate = self._aggregates[aggregate_id]
        self._aggregates.move_to_end(aggregate_id)
        return aggregate

    def __len__(self) -> int:
        return len(self._aggregates)

    def clear(self) -> None:
        self._aggregates.clear()

    async def finish(self) -> None:
        """Take the snapshots that are wanted."""
        await self._snapshotter.finish()

    # -- reading ---------------------------------------------------------------------------------------------------

    async def load(self, aggregate_ids: Iterable[str]) -> dict[str, Exception]:
        """Make these states current, in one query. Returns those that cannot be folded, and why.

        Raises ``StoreUnavailable``.
        """
        after: dict[str, int] = {}
        for aggregate_id in aggregate_ids:
            aggregate = self._aggregates.get(aggregate_id)
            if aggregate is None:
                after[aggregate_id] = 0
            elif aggregate.is_stale:
                after[aggregate_id] = aggregate.stored_sequence
        if not after:
            return {}
        await self._begin(after)
        events = await self._persist(lambda: self._store.read_aggregates(self._shard, list(after.items())))
        unreadable: dict[str, Exception] = {}
        for aggregate_id, tail in groupby(events, attrgetter("aggregate_id")):
            try:
                self._fold(self._aggregates[aggregate_id], tail)
            except Exception as error:
                logger.exception("aggregate %s cannot be folded", aggregate_id)
                unreadable[aggregate_id] = error
        for aggregate_id in after:
            aggregate = self._aggregates[aggregate_id]
            aggregate.go_back()
            aggregate.is_stale = aggregate_id in unreadable
        return unreadable

    async def recall(self, subjects: Sequence[tuple[str, str]]) -> dict[tuple[str, str | None], list[Event]]:
        """The events of each (aggregate id, subject) that a state no longer remembers, in one query."""
        recalled: dict[tuple[str, str | None], list[Event]] = {subject: [] for subject in subjects}
        if subjects:
            for event in await self._persist(lambda: self._store.read_subjects(self._shard, subjects)):
                fact = self._decider.event_types.decode(event.type, event.schema_version, event.payload)
                recalled[event.aggregate_id, event.subject].append(fact)
        return recalled

    async def _begin(self, after: dict[str, int]) -> None:
        """Begin the states that are not there from their snapshots, or from nothing; ``after`` follows."""
        cold = [aggregate_id for aggregate_id in after if aggregate_id not in self._aggregates]
        if not cold:
            return
        for aggregate_id in cold:
            initial = self._decider.initial
            self._aggregates[aggregate_id] = Aggregate(initial, 0, initial, 0, 0, is_stale=True)
        fingerprint = self._codec.fingerprint
        for snapshot in await self._persist(lambda: self._store.read_snapshots(self._shard, cold, fingerprint)):
            aggregate = self._aggregates[snapshot.aggregate_id]
            try:
                aggregate.stored = self._codec.decode(snapshot.state)
            except msgspec.DecodeError as error:
                logger.warning("the snapshot of %s is ignored: %s", snapshot.aggregate_id, error)
                continue
            aggregate.stored_sequence = aggregate.snapshot_sequence = snapshot.sequence
            after[snapshot.aggregate_id] = snapshot.sequence

    def _fold(self, aggregate: Aggregate[S], tail: Iterable[StoredEvent]) -> None:
        for event in tail:
            fact = self._decider.event_types.decode(event.type, event.schema_version, event.payload)
            aggregate.stored = self._decider.evolve(aggregate.stored, fact)
            aggregate.stored_sequence = event.sequence

    def _persist(self, call: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        return persist(call, self._outage_max_s)

    # -- keeping up ------------------------------------------------------------------------------------------------

    def store(self, after: dict[str, tuple[S, int]], broken: set[str]) -> None:
        """These states and sequences are what the log has now; of the broken it has something else."""
        for aggregate_id, (state, sequence) in after.items():
            if aggregate_id in broken:
                continue
            aggregate = self._aggregates[aggregate_id]
            aggregate.stored, aggregate.stored_sequence = state, sequence
            is_due = sequence - aggregate.snapshot_sequence >= self._snapshot_every
            if is_due and self._snapshotter.want(aggregate_id, state, sequence):
                aggregate.snapshot_sequence = sequence
        for aggregate_id in broken & self._aggregates.keys():
            aggregate = self._aggregates[aggregate_id]
            aggregate.go_back()
            aggregate.is_stale = True

    def go_back(self, aggregate_ids: Iterable[str]) -> None:
        """Nothing that was decided for these will go in."""
        for aggregate_id in aggregate_ids:
            if aggregate_id in self._aggregates:
                self._aggregates[aggregate_id].go_back()

    def evict(self) -> None:
        """Forget the least recently used, but none that is ahead of the log."""
        surplus = len(self._aggregates) - self._kept_max
        if surplus > 0:
            for aggregate_id in list(islice(self._aggregates, surplus)):
                aggregate = self._aggregates[aggregate_id]
                if aggregate.sequence == aggregate.stored_sequence:
                    del self._aggregates[aggregate_id]
