"""The states of one shard's aggregates: read from the log when needed, kept in memory while they are used.

Only a cache, and a bounded one: what guards a decision is the expected sequence that goes with it into the log.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from typing import TypeAlias

import msgspec

from foldbook.errors import UnknownEvent, UnreadableEvent
from foldbook.eventstore.commands.batch import State
from foldbook.eventstore.commands.snapshots import Snapshotter
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import AggregateKey, Event
from foldbook.eventstore.retry import retry_while_unavailable
from foldbook.eventstore.states.codec import codec_of
from foldbook.eventstore.store import EventStore, StoredEvent

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Aggregate:
    """A cached state: as the log has it, and as it will be once everything under way is appended."""

    stored: State
    stored_sequence: int
    state: State
    sequence: int
    snapshot_sequence: int
    """Where the latest snapshot was taken or asked for; 0: nowhere."""
    log_sequence: int = 0
    """As far as is known, the log has this one."""

    @property
    def is_stale(self) -> bool:
        """The log has more than ``stored``: read the tail before deciding anything."""
        return self.stored_sequence < self.log_sequence

    def go_back(self) -> None:
        """To what the log has: nothing that is under way will be appended."""
        self.state, self.sequence = self.stored, self.stored_sequence


Heard = Callable[[AggregateKey], tuple[State, int] | None]
"""An aggregate's state and sequence, as somebody who reads the log anyway has them."""


SubjectKey: TypeAlias = tuple[AggregateKey, str | None]
"""An aggregate, and a subject in it."""


class StateCache:
    """``kept_max``: aggregates kept; ``snapshot_every``: events after which a state is cached in the database;
    ``heard``: of states that need not be read here."""

    def __init__(
        self,
        store: EventStore,
        deciders: Mapping[str, Decider[State]],
        shard: int,
        *,
        kept_max: int,
        snapshot_every: int,
        outage_max_s: float,
        heard: Heard | None = None,
    ) -> None:
        self._heard = heard
        self._store = store
        self._deciders = deciders
        self._shard = shard
        self._kept_max = kept_max
        self._snapshot_every = snapshot_every
        self._outage_max_s = outage_max_s
        self._codecs = {name: codec_of(decider) for name, decider in deciders.items()}
        self._snapshotter = Snapshotter(store, shard, self._codecs)
        self._aggregates: OrderedDict[AggregateKey, Aggregate] = OrderedDict()
        self._run = store.run

    @property
    def run(self) -> int:
        """The store's run in which the states were read."""
        return self._run

    @property
    def is_overtaken(self) -> bool:
        """The log may not have what these states are made of."""
        return self._run != self._store.run

    def begin_run(self) -> None:
        """Forget everything."""
        self._run = self._store.run
        self._aggregates.clear()

    def __getitem__(self, key: AggregateKey) -> Aggregate:
        """A state that was loaded; it counts as used."""
        aggregate = self._aggregates[key]
        self._aggregates.move_to_end(key)
        return aggregate

    def __len__(self) -> int:
        return len(self._aggregates)

    def clear(self) -> None:
        self._aggregates.clear()

    async def finish(self) -> None:
        """Take the snapshots that are wanted."""
        await self._snapshotter.finish()

    # -- reading ---------------------------------------------------------------------------------------------------

    def hear(self, keys: Iterable[AggregateKey]) -> None:
        """Take over what was heard of these, where it is more than is here and nothing is under way."""
        if self._heard is None or self._run > 0:  # Whoever hears may have heard it in an earlier run.
            return
        for key in keys:
            heard = self._heard(key)
            if heard is None:
                continue
            aggregate = self._aggregates.get(key)
            if aggregate is None:
                self._aggregates[key] = Aggregate(*heard, *heard, snapshot_sequence=heard[1])
            elif aggregate.sequence == aggregate.stored_sequence < heard[1]:
                aggregate.stored, aggregate.stored_sequence = heard
                aggregate.go_back()

    def are_current(self, keys: Iterable[AggregateKey]) -> bool:
        """Nothing needs to be read before deciding on these?"""
        aggregates = self._aggregates
        return all(key in aggregates and not aggregates[key].is_stale for key in keys)

    async def load(self, keys: Iterable[AggregateKey]) -> dict[AggregateKey, Exception]:
        """Make these states current, in one query. Returns those that cannot be folded, and why.

        Raises ``StoreUnavailable``.
        """
        after: dict[AggregateKey, int] = {}
        for key in keys:
            aggregate = self._aggregates.get(key)
            if aggregate is None:
                after[key] = 0
            elif aggregate.is_stale:
                after[key] = aggregate.stored_sequence
        if not after:
            return {}
        await self._begin(after)
        events = await retry_while_unavailable(
            lambda: self._store.read_aggregates(self._shard, list(after.items())), self._outage_max_s
        )
        unreadable: dict[AggregateKey, Exception] = {}
        for key, tail in groupby(events, attrgetter("aggregate_key")):
            try:
                self._fold(key, tail)
            except Exception as error:
                logger.exception("aggregate %s of type %s cannot be folded", key.id, key.type)
                unreadable[key] = error
        for key in after:
            aggregate = self._aggregates[key]
            aggregate.go_back()
            aggregate.log_sequence = aggregate.stored_sequence + (key in unreadable)
        return unreadable

    async def recall(
        self, subjects: Sequence[tuple[AggregateKey, str]]
    ) -> tuple[dict[SubjectKey, list[Event]], dict[SubjectKey, Exception]]:
        """The events of each subject that its aggregate's state no longer remembers, in one query; and those subjects
        whose events cannot be read, and why.

        Raises ``StoreUnavailable``.
        """
        recalled: dict[SubjectKey, list[Event]] = {subject: [] for subject in subjects}
        unreadable: dict[SubjectKey, Exception] = {}
        if subjects:
            found = await retry_while_unavailable(
                lambda: self._store.read_subjects(self._shard, subjects), self._outage_max_s
            )
            for event in found:
                types = self._deciders[event.aggregate_type].event_types
                key = event.aggregate_key, event.subject
                try:
                    recalled[key].append(types.decode(event.type, event.schema_version, event.payload))
                except (UnknownEvent, UnreadableEvent) as error:
                    unreadable[key] = error
        return recalled, unreadable

    async def _begin(self, after: dict[AggregateKey, int]) -> None:
        """Begin the states that are not there from their snapshots, or from nothing; ``after`` follows."""
        cold = [key for key in after if key not in self._aggregates]
        if not cold:
            return
        for key in cold:
            initial = self._deciders[key.type].initial
            self._aggregates[key] = Aggregate(initial, 0, initial, 0, 0, log_sequence=1)
        wanted = [(key, self._codecs[key.type].fingerprint) for key in cold]
        snapshots = await retry_while_unavailable(
            lambda: self._store.read_snapshots(self._shard, wanted), self._outage_max_s
        )
        for snapshot in snapshots:
            key = snapshot.aggregate_key
            aggregate = self._aggregates[key]
            try:
                aggregate.stored = self._codecs[key.type].decode(snapshot.state)
            except msgspec.DecodeError as error:
                logger.warning("the snapshot of %s is ignored: %s", key.id, error)
                continue
            aggregate.stored_sequence = aggregate.snapshot_sequence = snapshot.sequence
            after[key] = snapshot.sequence

    def _fold(self, key: AggregateKey, tail: Iterable[StoredEvent]) -> None:
        aggregate, decider = self._aggregates[key], self._deciders[key.type]
        for event in tail:
            aggregate.stored = decider.evolve_recorded(
                aggregate.stored, event.type, event.schema_version, event.payload
            )
            aggregate.stored_sequence = event.sequence

    # -- keeping up ------------------------------------------------------------------------------------------------

    def store(
        self, after: Mapping[AggregateKey, tuple[State, int]], broken: Mapping[AggregateKey, int | None]
    ) -> list[AggregateKey]:
        """These states and sequences are what the log has now; of the broken it has something else, at least up to
        these sequences, as far as they are known. Returns those of which the log has less than was here: they are
        forgotten."""
        gone: list[AggregateKey] = []
        for key, (state, sequence) in after.items():
            if key in broken:
                continue
            aggregate = self._aggregates[key]
            aggregate.stored, aggregate.stored_sequence = state, sequence
            is_due = sequence - aggregate.snapshot_sequence >= self._snapshot_every
            if is_due and self._snapshotter.want(key, state, sequence):
                aggregate.snapshot_sequence = sequence
        for key, known in broken.items():
            if key in self._aggregates:
                aggregate = self._aggregates[key]
                aggregate.go_back()
                if known is not None and known < aggregate.stored_sequence:
                    del self._aggregates[key]
                    gone.append(key)
                    continue
                # What broke without another event being there is read again too.
                aggregate.log_sequence = max(known or 0, aggregate.stored_sequence + 1)
        return gone

    def go_back(self, keys: Iterable[AggregateKey]) -> None:
        """Nothing that was decided for these will be appended."""
        for key in keys:
            if key in self._aggregates:
                self._aggregates[key].go_back()

    def evict(self) -> None:
        """Forget the least recently used, but none that is ahead of the log."""
        surplus = len(self._aggregates) - self._kept_max
        if surplus > 0:
            for key in list(islice(self._aggregates, surplus)):
                aggregate = self._aggregates[key]
                if aggregate.sequence == aggregate.stored_sequence:
                    del self._aggregates[key]
