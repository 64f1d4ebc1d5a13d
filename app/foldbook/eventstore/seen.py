"""What a process saw of the log, so that it notices if the log is not the one that it remembers.

A server that takes over after a failover may lack what the other one had: with asynchronous replication it lacks what
was under way, and a restored backup lacks what came after it. A commit's hash covers everything before it. So a log
that has a commit with the number and the hash that a process remembers has all that the process saw up to there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

RECENT_MAX = 4_096
SPARSE_MAX = 4_096
SPARSE_EVERY = 256
"""Of older commits one in so many is remembered: about a million commits altogether."""


class Commit(NamedTuple):
    """A commit, as it was read: ``hash`` covers it and all before it. ``position``: the last that was there then."""

    number: int
    position: int
    hash: bytes


BEGINNING = Commit(0, 0, b"")


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What a process saw and the log does not have: the positions after ``after_position`` up to ``last_position``, and
    the commits after ``after_commit`` up to ``last_commit``. Commits without events have no positions.

    ``after_...``: what log and process have in common, as far as the process remembers; the loss may have begun later.
    """

    shard: int
    after_position: int
    last_position: int
    after_commit: int
    last_commit: int
    hash: bytes
    """Of the last commit that was seen."""
    found_at: datetime

    def describe(self) -> str:
        what = describe_lost(self.shard, self.after_position, self.last_position)
        return f"{what}, commits {self.after_commit + 1} to {self.last_commit}"


def describe_lost(shard: int, after_position: int, last_position: int) -> str:
    if last_position > after_position:
        return f"positions {after_position + 1} to {last_position} of shard {shard}"
    return f"commands without events after position {after_position} of shard {shard}"


class Seen:
    """The commits of one shard that a process saw: the last ones all, and of those before them one in some."""

    def __init__(self) -> None:
        self._recent: deque[Commit] = deque(maxlen=RECENT_MAX)
        self._sparse: deque[Commit] = deque(maxlen=SPARSE_MAX)
        self._count = 0

    @property
    def last(self) -> Commit:
        return self._recent[-1] if self._recent else BEGINNING

    def see(self, commit: Commit) -> None:
        """Remember a commit, unless a later one is known already."""
        if self._recent and commit.number <= self._recent[-1].number:
            return
        self._recent.append(commit)
        self._count += 1
        if self._count % SPARSE_EVERY == 0:
            self._sparse.append(commit)

    def remembered(self) -> Sequence[Commit]:
        """In the order of their numbers."""
        first_recent = self._recent[0].number if self._recent else 0
        return [*(commit for commit in self._sparse if commit.number < first_recent), *self._recent]

    def compare(self, shard: int, is_there: Mapping[int, bool], now: datetime) -> Loss | None:
        """What is lost, if of the commits that were looked up, by their numbers, the log has only these. It is
        forgotten, and so is what was seen since they were looked up."""
        looked_up = [commit for commit in self.remembered() if commit.number in is_there]
        if not looked_up or is_there[looked_up[-1].number]:
            return None
        last = looked_up[-1]
        kept = BEGINNING
        for commit in looked_up:
            if is_there[commit.number]:
                kept = commit
        for commits in (self._recent, self._sparse):
            while commits and commits[-1].number > kept.number:
                commits.pop()
        return Loss(
            shard=shard,
            after_position=kept.position,
            last_position=last.position,
            after_commit=kept.number,
            last_commit=last.number,
            hash=last.hash,
            found_at=now,
        )
