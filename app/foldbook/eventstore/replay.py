"""Replay: an aggregate as the fold of its events, up to any position or time.

The same events give the same state, so the digest of a replay can be written down and compared years later.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

from foldbook.errors import LogClockAhead, UnreadableEvent
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import AggregateKey, RecordedEvent
from foldbook.eventstore.states.codec import StateCodec
from foldbook.eventstore.store import EventStore

S = TypeVar("S")

PAGE_EVENTS = 5_000


class Replay(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """A fold. ``sequence`` and ``position`` are those of its last event, or 0 if there was none."""

    aggregate_id: str
    sequence: int
    position: int
    state: S
    state_json: bytes
    """The state, with its keys in order."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.state_json).hexdigest()


async def replay(
    store: EventStore,
    decider: Decider[S],
    shard: int,
    aggregate_id: str,
    *,
    to_position: int | None = None,
    to_time: datetime | None = None,
) -> Replay[S]:
    """Fold the aggregate's events from the first: all, or those up to a position, or those recorded up to a time.

    Raises ``UnknownEvent`` for an event of a newer program, ``UnreadableEvent`` for one that no program has written,
    ``StoreUnavailable`` if the log cannot be read, and ``LogClockAhead`` if nobody can say what was recorded up to
    ``to_time``.
    """
    key = AggregateKey(decider.name, aggregate_id)
    state, sequence, position = decider.initial, 0, 0
    while page := await _page(store, shard, position, key):
        for event in page:
            is_after_time = to_time is not None and event.recorded_at > to_time
            if is_after_time and event.recorded_at > datetime.now(UTC):
                raise LogClockAhead(f"position {event.position} was recorded at {event.recorded_at}, still to come")
            if is_after_time or (to_position is not None and event.position > to_position):
                return _replayed(decider, aggregate_id, state, sequence, position)
            state = decider.evolve_recorded(state, event.type, event.schema_version, event.payload)
            sequence, position = event.sequence, event.position
    return _replayed(decider, aggregate_id, state, sequence, position)


async def _page(store: EventStore, shard: int, after: int, key: AggregateKey) -> list[RecordedEvent]:
    try:
        return await store.read_log(shard, after, PAGE_EVENTS, key)
    except OverflowError as error:
        raise UnreadableEvent(f"an event after position {after} has a time outside of the years 1 to 9999") from error


def _replayed(decider: Decider[S], aggregate_id: str, state: S, sequence: int, position: int) -> Replay[S]:
    codec = StateCodec(decider.state_type)
    return Replay(
        aggregate_id=aggregate_id,
        sequence=sequence,
        position=position,
        state=state,
        state_json=codec.encode(state),
    )
