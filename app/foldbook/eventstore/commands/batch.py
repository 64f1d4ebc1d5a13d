"""What is on its way into one commit, and the states that rest on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from foldbook.errors import StoreUnavailable
from foldbook.eventstore.commands.results import Submission
from foldbook.eventstore.store import Proposal, Verdict

S = TypeVar("S")


@dataclass(slots=True, eq=False)
class Aggregate(Generic[S]):
    """A cached state: as the log has it, and as it will be once all that is under way has gone in."""

    stored: S
    stored_sequence: int
    state: S
    sequence: int
    snapshot_sequence: int
    """Where the latest snapshot was taken or asked for; 0: nowhere."""
    is_stale: bool = False
    """The log has more than ``stored``: read the tail before deciding anything."""

    def go_back(self) -> None:
        """To what the log has: nothing that is under way will go in."""
        self.state, self.sequence = self.stored, self.stored_sequence


@dataclass(slots=True, eq=False)
class Batch(Generic[S]):
    """Decided commands on their way into one commit."""

    submissions: list[Submission] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    command_ids: set[UUID] = field(default_factory=set)
    touched: set[tuple[str, str | None]] = field(default_factory=set)
    """(aggregate, subject) of every event: what the log does not know yet."""
    after: dict[str, tuple[S, int]] = field(default_factory=dict)
    """Each aggregate's state and sequence once this batch has gone in."""

    def without(self, aggregate_ids: set[str]) -> Batch[S]:
        kept: Batch[S] = Batch()
        for submission, proposal in zip(self.submissions, self.proposals, strict=True):
            if submission.command.aggregate_id not in aggregate_ids:
                kept.add(submission, proposal)
        kept.after = {k: v for k, v in self.after.items() if k not in aggregate_ids}
        return kept

    def add(self, submission: Submission, proposal: Proposal) -> None:
        self.submissions.append(submission)
        self.proposals.append(proposal)
        self.command_ids.add(proposal.command.command_id)
        for event in proposal.events:
            self.touched.add((submission.command.aggregate_id, event.subject))


@dataclass(slots=True)
class Landing:
    """What came back for a batch: a verdict for each proposal, or why there is none."""

    verdicts: Sequence[Verdict | Exception]
    is_resent: bool
    """It was sent more than once: a duplicate may be its own echo."""
    outage: StoreUnavailable | None = None
    """The database could not be reached for so long that those who still wait are told too."""
