"""What a process remembers of the commits that it saw."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from foldbook.eventstore.seen import RECENT_MAX, SPARSE_EVERY, SPARSE_MAX, Commit, Seen

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def seen_up_to(last: int) -> Seen:
    seen = Seen()
    for number in range(1, last + 1):
        seen.see(Commit(number, number * 10, b"%d" % number))
    return seen


def up_to(seen: Seen, head: int) -> dict[int, bool]:
    """Of the remembered commits, a log has those up to its head."""
    return {commit.number: commit.number <= head for commit in seen.remembered()}


def test_a_log_that_has_the_last_commit_has_lost_nothing() -> None:
    seen = seen_up_to(9)
    assert seen.compare(0, up_to(seen, 9), NOW) is None
    assert seen.last.number == 9
    assert Seen().compare(0, {}, NOW) is None


@pytest.mark.parametrize("kept", [0, 1, 5, 8])
def test_what_is_lost_is_told_to_the_position_and_told_once(kept: int) -> None:
    seen = seen_up_to(9)
    loss = seen.compare(3, up_to(seen, kept), NOW)
    assert loss is not None
    assert (loss.shard, loss.after_position, loss.last_position) == (3, kept * 10, 90)
    assert (loss.after_commit, loss.last_commit, loss.hash) == (kept, 9, b"9")
    assert seen.compare(3, up_to(seen, kept), NOW) is None
    seen.see(Commit(kept + 1, kept * 10 + 1, b"new"))
    assert seen.last.hash == b"new"


def test_commits_without_events_are_lost_without_positions() -> None:
    seen = Seen()
    seen.see(Commit(1, 1, b"1"))
    seen.see(Commit(2, 1, b"2"))
    loss = seen.compare(0, {1: True, 2: False}, NOW)
    assert loss is not None
    assert loss.describe() == "commands without events after position 1 of shard 0, commits 2 to 2"


def test_an_earlier_commit_does_not_replace_a_later_one() -> None:
    seen = seen_up_to(3)
    seen.see(Commit(2, 20, b"other"))
    assert seen.last == Commit(3, 30, b"3")


def test_the_past_is_remembered_in_larger_steps_and_within_bounds() -> None:
    count = RECENT_MAX + 3 * SPARSE_EVERY
    seen = seen_up_to(count)
    remembered = [commit.number for commit in seen.remembered()]
    assert remembered == sorted(remembered)
    assert len(remembered) <= RECENT_MAX + SPARSE_MAX
    loss = seen.compare(0, up_to(seen, SPARSE_EVERY + 7), NOW)
    assert loss is not None
    assert loss.after_commit == SPARSE_EVERY, "it may have begun later"
    assert loss.last_commit == count
