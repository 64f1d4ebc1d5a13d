"""What a verification of the log says.

The problems it can name, in ``Finding.problem``, are listed in ``docs/audit.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from foldbook.errors import FoldbookError


class AuditError(FoldbookError, code="audit", title="A file that the audit needs cannot be used"):
    """A file that an audit needs cannot be used; the text says what to do."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far a shard was after a commit. ``hash``, hexadecimal, covers everything up to there."""

    log_id: UUID
    shard: int
    commits: int
    events: int
    hash: str


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. ``position``: the first one that can be bad because of it; ``commit``: its number."""

    shard: int
    position: int
    commit: int | None
    problem: str
    detail: str


class ShardReport(msgspec.Struct, frozen=True, kw_only=True):
    """One shard: its head when the verification began, and what is wrong with it, ordered by position."""

    shard: int
    ok: bool
    commits: int
    events: int
    head_hash: str
    first_bad_position: int | None
    findings: Sequence[Finding]


class SnapshotReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many snapshots are what the log folds to, and how many no process of this program would use."""

    same: int
    ignored: int
    findings: Sequence[Finding]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``ok``: nothing is wrong. ``missing_guards``: what protects the log and is not as the program made it; the log
    may be intact all the same. ``snapshots``: null, if they were not folded anew."""

    log_id: UUID
    ok: bool
    shards: Sequence[ShardReport]
    missing_guards: Sequence[str] = ()
    snapshots: SnapshotReport | None = None


def report_on(head: Checkpoint, findings: Sequence[Finding]) -> ShardReport:
    ordered = sorted(findings, key=lambda f: (f.position, f.commit or 0, f.problem))
    return ShardReport(
        shard=head.shard,
        ok=not ordered,
        commits=head.commits,
        events=head.events,
        head_hash=head.hash,
        first_bad_position=ordered[0].position if ordered else None,
        findings=ordered,
    )


def compare_with_anchors(head: Checkpoint, anchors: Sequence[tuple[Checkpoint, str | None]]) -> list[Finding]:
    """Whether the log still is what it was when each anchor was made.

    ``anchors``: each with the hash that its commit has today, None if there is no such commit. If a commit between two
    anchors was rewritten with every hash after it, the later anchor shows it.
    """
    last_good = 0
    for anchor, hash_today in sorted(anchors, key=lambda pair: pair[0].commits):
        if anchor.commits == 0:
            continue
        if anchor.commits > head.commits:
            detail = f"it reached commit {anchor.commits}, position {anchor.events}, but ends at commit {head.commits}"
            return [Finding(head.shard, min(head.events, anchor.events) + 1, head.commits + 1, "tail-missing", detail)]
        if hash_today != anchor.hash:
            detail = f"rewritten somewhere between positions {last_good + 1} and {anchor.events}"
            return [Finding(head.shard, last_good + 1, anchor.commits, "log-rewritten", detail)]
        last_good = anchor.events
    return []
