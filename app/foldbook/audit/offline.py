"""Verifies an export without a database: the checks of ``audit.verify_commits`` and ``audit.verify_ends``, in Python.

One pass over the three files of a shard, commit by commit. Only the last sequence of each aggregate is kept.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from foldbook.audit.files import read_manifest, read_rows
from foldbook.audit.hashes import GENESIS, command_hash, commit_hash, event_hash, jsonb_text
from foldbook.audit.report import (
    AuditError,
    Checkpoint,
    Finding,
    Report,
    ShardReport,
    check_belongs,
    compare_with_anchors,
    one_line,
    report_on,
)
from foldbook.audit.rows import CommandRow, CommitRow, EventRow
from foldbook.eventstore.store import shard_of
from foldbook.eventstore.strict_json import refuse_repeated_keys

FINDINGS_MAX = 100
ROWS_PER_COMMIT_MAX = 1_000_000
"""Events, or commands, of one commit: all that are looked at together."""
NO_ROW = (ValueError, OverflowError, RecursionError, struct.error, msgspec.DecodeError)
"""What hashing raises for values that no row of a log can hold: such a row has no hash."""

Progress = Callable[[int, int, int], None]
"""Called with a shard, how many of its events are verified, and how many there are."""
T = TypeVar("T")


def verify_export(folder: Path, *, anchors: Sequence[Checkpoint] = (), on_progress: Progress | None = None) -> Report:
    """Verify all shards of an export. Raises :class:`AuditError` for files that are not an export."""
    manifest = read_manifest(folder)
    log_id = manifest.shards[0].log_id
    for anchor in anchors:
        check_belongs(anchor, manifest.shards, "anchor")
    reports = []
    for head in manifest.shards:
        verification = ShardVerification(head, len(manifest.shards), [a for a in anchors if a.shard == head.shard])
        reports.append(
            verification.run(
                read_rows(folder, manifest.rows, CommitRow, head.shard),
                read_rows(folder, manifest.rows, CommandRow, head.shard),
                read_rows(folder, manifest.rows, EventRow, head.shard),
                on_progress,
            )
        )
    return Report(log_id=log_id, ok=all(r.ok for r in reports), shards=reports)


class ShardVerification:
    """What is known of a shard while its files are read."""

    def __init__(self, head: Checkpoint, shard_count: int, anchors: Sequence[Checkpoint]) -> None:
        self._head = head
        self._shard_count = shard_count
        self._anchors = anchors
        self._hashes: dict[int, str | None] = dict.fromkeys(anchor.commits for anchor in anchors)
        """The hashes of the commits that have an anchor; None until they are read."""
        self._sequences: dict[tuple[str, str], int] = {}
        self._findings: list[Finding] = []
        self._previous = CommitRow(head.shard, 0, 1, 0, datetime.min.replace(tzinfo=UTC), "", GENESIS.hex())

    def run(
        self,
        commits: Iterable[CommitRow],
        commands: Iterable[CommandRow],
        events: Iterable[EventRow],
        on_progress: Progress | None,
    ) -> ShardReport:
        command_queue, event_queue = Queue(commands), Queue(events)
        for commit in commits:
            self._check_commit(
                commit,
                command_queue.take_while(lambda c, number=commit.number: c.commit <= number),  # type: ignore[misc]
                event_queue.take_while(lambda e, end=commit.last_position: e.position <= end),  # type: ignore[misc]
            )
            if len(self._findings) >= FINDINGS_MAX:
                break
            if on_progress is not None:
                on_progress(self._head.shard, commit.last_position, self._head.events)
        else:
            self._check_end(command_queue, event_queue)
            anchored = [(anchor, self._hashes[anchor.commits]) for anchor in self._anchors]
            self._findings += compare_with_anchors(self._reached(), anchored)
        return report_on(self._reached(), self._findings)

    def _reached(self) -> Checkpoint:
        last = self._previous
        return Checkpoint(
            log_id=self._head.log_id, shard=last.shard, commits=last.number, events=last.last_position, hash=last.hash
        )

    def _check_commit(self, commit: CommitRow, commands: list[CommandRow], events: list[EventRow]) -> None:
        previous, self._previous = self._previous, commit
        if commit.number in self._hashes:
            self._hashes[commit.number] = commit.hash
        self._check_place(previous, commit)
        self._check_rows(commit, commands, events)
        self._check_hash(previous, commit, commands, events)

    def _check_place(self, previous: CommitRow, commit: CommitRow) -> None:
        begin = previous.last_position + 1
        if commit.number != previous.number + 1:
            missing = f"commits {previous.number + 1} to {commit.number - 1} are missing"
            self._find(begin, previous.number + 1, "commit-missing", missing)
        elif commit.first_position != begin or commit.last_position < commit.first_position - 1:
            run = f"positions {commit.first_position} to {commit.last_position} do not follow {previous.last_position}"
            self._find(min(commit.first_position, begin), commit.number, "commit-run", run)
        if commit.recorded_at < previous.recorded_at:
            self._find(begin, commit.number, "commit-order", "recorded before the commit that precedes it")

    def _check_hash(
        self, previous: CommitRow, commit: CommitRow, commands: list[CommandRow], events: list[EventRow]
    ) -> None:
        is_sealed = commit.hash == _hash_commit(commit, commands, events).hex()
        commanded = sum(command.event_count for command in commands)
        # Only if no finding about one of its rows says more.
        if (not is_sealed or commanded != len(events)) and commit.number not in {f.commit for f in self._findings}:
            self._find(
                commit.first_position,
                commit.number,
                "command-count" if is_sealed else "commit-hash",
                f"the commit, its commands (of {commanded} events) or its events at positions "
                f"{commit.first_position} to {commit.last_position} were changed",
            )
        # This commit still matches what it once followed: the commit before it, or an earlier one, was rewritten.
        if is_sealed and commit.number == previous.number + 1 and commit.previous_hash != previous.hash:
            detail = f"commit {commit.number} was sealed after a different commit {previous.number}"
            self._find(previous.first_position, previous.number, "commit-rewritten", detail)

    def _check_rows(self, commit: CommitRow, commands: list[CommandRow], events: list[EventRow]) -> None:
        for command in commands:
            if (
                command.hash != _hash_command(command).hex()
                or command.recorded_at != commit.recorded_at
                or command.outcome != ("accepted" if command.stored_reason is None else "refused")
            ):
                self._find(
                    commit.first_position if command.first_position is None else command.first_position,
                    commit.number,
                    "command-changed",
                    f"command {command.command_id} does not match its hash",
                )
        gap = _first_gap(commit, events)
        if gap is not None:
            missing = _length(commit) - len(events)
            self._find(gap, commit.number, "event-missing", f"{missing} of its {_length(commit)} events are missing")
        by_key = {(c.aggregate_type, c.aggregate_id, c.command_id): c for c in commands}
        for event in events:
            key = event.aggregate_type, event.aggregate_id, event.command_id
            self._check_event(commit, event, by_key.get(key))

    def _check_event(self, commit: CommitRow, event: EventRow, command: CommandRow | None) -> None:
        def find(problem: str, detail: str) -> None:
            self._find(event.position, commit.number, problem, detail)

        if event.position < commit.first_position:
            find("event-stray", "no commit wrote it")
        if event.hash != _hash_event(event).hex():
            find("event-changed", "it does not match its hash")
        if event.recorded_at != commit.recorded_at:
            find("event-date", "recorded at a different time than its commit")
        if (
            command is None
            or command.first_position is None
            or not command.first_position <= event.position < command.first_position + command.event_count
        ):
            find("event-command", f"no command {event.command_id} of this commit has an event here")
        key = (event.aggregate_type, event.aggregate_id)
        last = self._sequences.get(key, 0)
        self._sequences[key] = event.sequence
        if event.sequence != last + 1:
            find("event-sequence", f"sequence {event.sequence} of {event.aggregate_id} does not follow {last}")
        if event.sequence == 1 and (shard := shard_of(event.aggregate_id, self._shard_count)) != commit.shard:
            find("event-shard", f"{event.aggregate_id} belongs to shard {shard}")

    def _check_end(self, commands: Queue[CommandRow], events: Queue[EventRow]) -> None:
        last = self._previous
        if last.number < self._head.commits:
            self._find(
                last.last_position + 1,
                last.number + 1,
                "commit-missing",
                f"commits {last.number + 1} to {self._head.commits} are missing",
            )
        for event in islice(events, FINDINGS_MAX):
            self._find(event.position, None, "event-stray", "no commit wrote it")
        for command in islice(commands, FINDINGS_MAX):
            self._find(
                last.last_position + 1,
                command.commit,
                "command-stray",
                f"command {command.command_id} names commit {command.commit}, which does not exist",
            )

    def _find(self, position: int, commit: int | None, problem: str, detail: str) -> None:
        self._findings.append(Finding(self._head.shard, position, commit, problem, one_line(detail)))


class Queue(Iterator[T]):
    """An iterator that can put its next element back."""

    def __init__(self, elements: Iterable[T]) -> None:
        self._elements = iter(elements)
        self._waiting: list[T] = []

    def __next__(self) -> T:
        return self._waiting.pop() if self._waiting else next(self._elements)

    def take_while(self, holds: Callable[[T], bool]) -> list[T]:
        taken = []
        for element in self:
            if not holds(element):
                self._waiting.append(element)
                break
            taken.append(element)
            if len(taken) > ROWS_PER_COMMIT_MAX:
                raise AuditError(f"a commit has more than {ROWS_PER_COMMIT_MAX} commands or events: none of a log has")
        return taken


def _hashes_in_order(commands: list[CommandRow], events: list[EventRow]) -> Iterator[bytes]:
    """Each command and then its events, by position; then the commands without events, by id and hash."""
    placed = [(c.first_position, 0, c.hash) for c in commands if c.first_position is not None]
    for _, _, digest in sorted([*placed, *((e.position, 1, e.hash) for e in events)]):
        yield bytes.fromhex(digest)
    for command in sorted((c for c in commands if c.first_position is None), key=lambda c: (c.command_id, c.hash)):
        yield bytes.fromhex(command.hash)


def _first_gap(commit: CommitRow, events: list[EventRow]) -> int | None:
    for expected, event in enumerate(events, commit.first_position):
        if event.position != expected:
            return expected
    return None if len(events) >= _length(commit) else commit.first_position + len(events)


def _length(commit: CommitRow) -> int:
    return commit.last_position - commit.first_position + 1


def _hash_event(event: EventRow) -> bytes:
    """JSON that is not written as PostgreSQL writes it is hashed as PostgreSQL would write it."""
    try:
        digest = event_hash(event, bytes(event.payload), bytes(event.metadata))
        if digest.hex() != event.hash:
            refuse_repeated_keys(bytes(event.payload))
            refuse_repeated_keys(bytes(event.metadata))
            digest = event_hash(event, jsonb_text(bytes(event.payload)), jsonb_text(bytes(event.metadata)))
    except NO_ROW:
        return b""
    return digest


def _hash_command(command: CommandRow) -> bytes:
    reason = command.stored_reason
    try:
        digest = command_hash(command, reason)
        if digest.hex() != command.hash and reason is not None:
            refuse_repeated_keys(reason)
            digest = command_hash(command, jsonb_text(reason))
    except NO_ROW:
        return b""
    return digest


def _hash_commit(commit: CommitRow, commands: list[CommandRow], events: list[EventRow]) -> bytes:
    try:
        return commit_hash(commit, _hashes_in_order(commands, events))
    except NO_ROW:
        return b""
