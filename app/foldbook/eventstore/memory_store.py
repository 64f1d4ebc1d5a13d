"""The log without a database, for unit tests and backtests by the thousand. It keeps every promise but durability."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from foldbook.eventstore.events import AggregateKey, CommandKey, RecordedEvent
from foldbook.eventstore.seen import Loss
from foldbook.eventstore.store import Fate, FirstResult, Proposal, Snapshot, StoredEvent, SubjectEvent, Verdict


@dataclass(slots=True)
class _Shard:
    events: list[RecordedEvent] = field(default_factory=list)
    aggregates: dict[AggregateKey, list[RecordedEvent]] = field(default_factory=lambda: defaultdict(list))
    subjects: dict[tuple[AggregateKey, str], list[RecordedEvent]] = field(default_factory=lambda: defaultdict(list))
    commands: dict[CommandKey, FirstResult] = field(default_factory=dict)
    snapshots: dict[AggregateKey, Snapshot] = field(default_factory=dict)


class MemoryStore:
    """``EventStore`` in lists. ``clock`` gives ``recorded_at``."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._shards: dict[int, _Shard] = defaultdict(_Shard)
        self.run = 0
        self.losses: Sequence[Loss] = ()

    async def ready(self, shard: int, shard_count: int) -> int:
        return self.run

    async def check(self) -> None:
        pass

    async def append(self, shard: int, proposals: Sequence[Proposal]) -> list[Verdict]:
        log = self._shards[shard]
        now = self._clock()
        broken: set[AggregateKey] = set()
        stored_sequences = {key: len(log.aggregates[key]) for key in {p.command.aggregate_key for p in proposals}}
        verdicts: list[Verdict] = []
        for p in proposals:
            key = p.command.aggregate_key
            sequence = len(log.aggregates[key])
            known = log.commands.get(p.command.command_key)
            is_taken = p.absent_subject is not None and (key, p.absent_subject) in log.subjects
            is_stale = p.expected_sequence is not None and (key in broken or p.expected_sequence != sequence)
            if known is not None:
                if p.events:
                    broken.add(key)
                same = known.fingerprint == p.fingerprint
                verdicts.append(Verdict(Fate.DUPLICATE, None, stored_sequences[key], same))
            elif is_taken or is_stale:
                broken.add(key)
                verdicts.append(Verdict(Fate.CONFLICT, None, stored_sequences[key], None))
            else:
                self._record(shard, log, p, now)
                position, sequence = len(log.events), len(log.aggregates[key])
                verdicts.append(Verdict(Fate.APPENDED, position, sequence, None))
        for p, verdict in zip(proposals, verdicts, strict=True):
            if verdict.fate is Fate.APPENDED and not p.events:
                result = log.commands[p.command.command_key]
                log.commands[p.command.command_key] = msgspec.structs.replace(result, position=len(log.events))
        return verdicts

    async def read_aggregates(self, shard: int, after: Sequence[tuple[AggregateKey, int]]) -> list[StoredEvent]:
        log = self._shards[shard]
        return [
            StoredEvent(e.aggregate_type, e.aggregate_id, e.sequence, e.type, e.schema_version, bytes(e.payload))
            for key, sequence in after
            for e in log.aggregates.get(key, [])[sequence:]
        ]

    async def read_subjects(self, shard: int, subjects: Sequence[tuple[AggregateKey, str]]) -> list[SubjectEvent]:
        log = self._shards[shard]
        return [
            SubjectEvent(
                *key, subject, e.position, e.sequence, e.type, e.schema_version, e.command_id, bytes(e.payload)
            )
            for key, subject in subjects
            for e in log.subjects.get((key, subject), [])
        ]

    async def command_results(self, shard: int, commands: Sequence[CommandKey]) -> list[FirstResult]:
        known = self._shards[shard].commands
        return [known[command] for command in commands if command in known]

    async def read_snapshots(self, shard: int, fingerprints: Sequence[tuple[AggregateKey, str]]) -> list[Snapshot]:
        snapshots = self._shards[shard].snapshots
        found = [(snapshots[key], fingerprint) for key, fingerprint in fingerprints if key in snapshots]
        return [snapshot for snapshot, fingerprint in found if snapshot.fingerprint == fingerprint]

    async def write_snapshot(self, shard: int, snapshot: Snapshot) -> None:
        log = self._shards[shard]
        if snapshot.sequence > len(log.aggregates.get(snapshot.aggregate_key, [])):
            return
        snapshots = log.snapshots
        known = snapshots.get(snapshot.aggregate_key)
        if known is None or known.fingerprint != snapshot.fingerprint or known.sequence < snapshot.sequence:
            snapshots[snapshot.aggregate_key] = snapshot

    async def read_log(
        self, shard: int, after: int, limit: int, aggregate: AggregateKey | None = None
    ) -> list[RecordedEvent]:
        log = self._shards[shard]
        if aggregate is None:
            return log.events[after : after + limit]
        return [e for e in log.aggregates.get(aggregate, []) if e.position > after][:limit]

    async def prove(self, shard: int) -> None:
        pass

    async def close(self) -> None:
        pass

    def _record(self, shard: int, log: _Shard, p: Proposal, now: datetime) -> None:
        key = p.command.aggregate_key
        for event in p.events:
            recorded = RecordedEvent(
                shard=shard,
                position=len(log.events) + 1,
                aggregate_type=key.type,
                aggregate_id=key.id,
                sequence=len(log.aggregates[key]) + 1,
                type=type(event).__name__,
                schema_version=event.schema_version,
                subject=event.subject,
                command_id=p.command.command_id,
                payload=msgspec.Raw(event.payload()),
                metadata=msgspec.Raw(p.metadata),
                occurred_at=event.occurred_at or p.command.business_time,
                recorded_at=now,
            )
            log.events.append(recorded)
            log.aggregates[key].append(recorded)
            if recorded.subject is not None:
                log.subjects[key, recorded.subject].append(recorded)
        log.commands[p.command.command_key] = FirstResult(
            *key,
            p.command.command_id,
            p.fingerprint,
            p.reason,
            len(log.events),
            len(log.aggregates[key]) if p.events else None,
            tuple(type(event).__name__ for event in p.events),
        )
