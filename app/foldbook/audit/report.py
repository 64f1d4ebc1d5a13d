"""What a verification of the log says.

The problems it can name, in ``Finding.problem``, are listed in ``docs/audit.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec

from foldbook.errors import FoldbookError

TEXT_MAX = 500


def one_line(text: str) -> str:
    """A text that may quote a file that anybody has made: as a line of bounded length that a terminal only prints."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * TEXT_MAX]).split())
    return line if len(line) <= TEXT_MAX else f"{line[:TEXT_MAX]}..."


class AuditError(FoldbookError, code="audit", title="A file that the audit needs cannot be used"):
    """A file that an audit needs cannot be used; the text says what to do. It is one line, whatever it quotes."""

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far a shard was after a commit. ``hash``, hexadecimal, covers everything up to there."""

    log_id: UUID
    shard: Annotated[int, msgspec.Meta(ge=0, le=1023)]
    commits: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    events: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
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


def check_belongs(of_file: Checkpoint, heads: Sequence[Checkpoint], what: str) -> None:
    """Raises :class:`AuditError` if a checkpoint from a file is of another log than ``heads``, or of a shard that this
    one has not. ``what`` it is."""
    if of_file.log_id != heads[0].log_id:
        raise AuditError(f"this is log {heads[0].log_id}, but the {what} is of log {of_file.log_id}")
    if of_file.shard not in {head.shard for head in heads}:
        raise AuditError(f"the {what} is of shard {of_file.shard}, which this log has not")


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
