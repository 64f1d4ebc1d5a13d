"""What a log promises: ``EventStore``, and the types of its arguments and results.

``postgres_store`` and ``memory_store`` keep these promises; one suite of contract tests runs against both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol
from uuid import UUID

import msgspec

from foldbook.eventstore.events import AggregateKey, Command, CommandKey, Event, RecordedEvent
from foldbook.eventstore.seen import Loss


def shard_of(aggregate_id: str, shard_count: int) -> int:
    """The shard of an aggregate; the same as ``eventstore.shard_of`` in SQL."""
    if shard_count == 1:
        return 0
    return int.from_bytes(hashlib.sha256(aggregate_id.encode()).digest()[:4]) % shard_count


@dataclass(slots=True)
class Proposal:
    """A decided command on its way into the log: its events, or the reason why it was refused."""

    command: Command
    fingerprint: bytes
    expected_sequence: int | None
    """The sequence that the decision was based on; None: any."""
    absent_subject: str | None
    """A subject that did not exist when the command was decided, and must not exist when it is appended."""
    actor: str | None
    metadata: bytes
    events: Sequence[Event]
    reason: bytes | None = None

    @property
    def last_sequence(self) -> int:
        """That of its last event, if it is appended where it expects to be."""
        return (self.expected_sequence or 0) + len(self.events)


class Fate(Enum):
    """What became of a proposal."""

    APPENDED = "appended"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(slots=True)
class Verdict:
    """The answer to one proposal.

    ``position`` is that of its last event or, for a command without events, the head of the log; None unless appended.
    ``sequence`` is the aggregate's afterwards or, on a conflict, its actual one. ``is_same_content`` says whether a
    duplicate had the same content as the first command with this id.
    """

    fate: Fate
    position: int | None
    sequence: int
    is_same_content: bool | None


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """As much of a recorded event as a fold needs. ``payload``: as its upcasters leave it; None: they returned null."""

    aggregate_type: str
    aggregate_id: str
    sequence: int
    type: str
    schema_version: int
    payload: bytes | None

    @property
    def aggregate_key(self) -> AggregateKey:
        return AggregateKey(self.aggregate_type, self.aggregate_id)


class SubjectEvent(msgspec.Struct, frozen=True, gc=False):
    """An event found by its subject."""

    aggregate_type: str
    aggregate_id: str
    subject: str
    position: int
    sequence: int
    type: str
    schema_version: int
    command_id: UUID
    payload: bytes | None

    @property
    def aggregate_key(self) -> AggregateKey:
        return AggregateKey(self.aggregate_type, self.aggregate_id)


class FirstResult(msgspec.Struct, frozen=True, gc=False):
    """The result of a command when it was first recorded. ``position`` and ``sequence`` are those of its last event or,
    for a command without events, the head of the log after its commit, and None. ``reason``: why it was refused, as
    JSON."""

    aggregate_type: str
    aggregate_id: str
    command_id: UUID
    fingerprint: bytes
    reason: bytes | None
    position: int
    sequence: int | None
    event_types: Sequence[str]

    @property
    def command_key(self) -> CommandKey:
        return CommandKey(AggregateKey(self.aggregate_type, self.aggregate_id), self.command_id)


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A cached fold: the state of an aggregate at a sequence, as JSON. ``fingerprint`` names what folded it."""

    aggregate_key: AggregateKey
    sequence: int
    fingerprint: str
    state: bytes


class EventStore(Protocol):
    """What the command bus needs from a log. Shards are 0-based, positions and sequences 1-based.

    Every method raises ``StoreUnavailable`` if the log cannot be reached in time; ``in_doubt`` then says whether an
    append may have happened.
    """

    @property
    def run(self) -> int:
        """Counts the servers, and the starts of one, that were met. What was read under an earlier number may not be in
        the log any more, as after a failover to a replica that lagged behind."""
        ...

    @property
    def losses(self) -> Sequence[Loss]:
        """What was seen in the log and is not there any more; bounded."""
        ...

    async def ready(self, shard: int, shard_count: int) -> int:
        """Be connected for an append. Returns ``run``, which does not change until that begins.

        Raises ``LogMismatch`` if the log has another number of shards.
        """
        ...

    async def check(self) -> None:
        """Look whether the log has what was seen of it; if it has not, ``run`` and ``losses`` tell."""
        ...

    async def append(self, shard: int, proposals: Sequence[Proposal]) -> list[Verdict]:
        """Append the proposals that still hold, in one transaction, and return a verdict for each, in order.

        A conflict does not affect other aggregates. Within an aggregate, a proposal that was decided after one that was
        not appended is a conflict too, unless it expects no sequence. When this returns, the append is durable.
        """
        ...

    async def read_aggregates(self, shard: int, after: Sequence[tuple[AggregateKey, int]]) -> list[StoredEvent]:
        """The events of each aggregate after the sequence given with its key, in order within each."""
        ...

    async def read_subjects(self, shard: int, subjects: Sequence[tuple[AggregateKey, str]]) -> list[SubjectEvent]:
        """The events of each aggregate about the subject given with its key, in order within each."""
        ...

    async def command_results(self, shard: int, commands: Sequence[CommandKey]) -> list[FirstResult]:
        """The first result of each known command."""
        ...

    async def read_snapshots(self, shard: int, fingerprints: Sequence[tuple[AggregateKey, str]]) -> list[Snapshot]:
        """The latest snapshot of each aggregate, if it has the fingerprint given with the key, is as it was written,
        and was folded up to a commit that the log has."""
        ...

    async def write_snapshot(self, shard: int, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless there is a later one with this fingerprint, or the log does not have its event."""
        ...

    async def read_log(
        self, shard: int, after: int, limit: int, aggregate: AggregateKey | None = None
    ) -> list[RecordedEvent]:
        """At most ``limit`` events after a position, ascending, without gaps; if given, of one aggregate."""
        ...

    async def prove(self, shard: int) -> None:
        """Return if an append can succeed now. It does what an append does, and adds nothing to the log. Raises
        ``StoreUnavailable``, which says what is in the way, within some seconds."""
        ...

    async def close(self) -> None: ...
