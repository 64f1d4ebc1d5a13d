"""What is on its way into one commit, and the states that rest on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from foldbook.errors import FoldbookError, StoreUnavailable
from foldbook.eventstore.commands.submission import Submission
from foldbook.eventstore.events import AggregateKey, CommandKey
from foldbook.eventstore.store import Proposal, Verdict

State = Any
"""Of an aggregate: what its decider makes it."""


class Overtaken(FoldbookError):
    """The server is another one than when a command was decided, so that it has to be decided again."""


@dataclass(slots=True, eq=False)
class Batch:
    """Decided commands on their way into one commit."""

    submissions: list[Submission] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    commands: set[CommandKey] = field(default_factory=set)
    touched: set[tuple[AggregateKey, str | None]] = field(default_factory=set)
    """Aggregate and subject of every event: what the log does not know yet."""
    run: int = 0
    """The store's run whose states it was decided on."""
    after: dict[AggregateKey, tuple[State, int]] = field(default_factory=dict)
    """Each aggregate's state and sequence once this batch is appended."""

    def without(self, keys: Collection[AggregateKey]) -> Batch:
        """The same without the commands of these aggregates."""
        kept = Batch(run=self.run)
        for submission, proposal in zip(self.submissions, self.proposals, strict=True):
            if submission.aggregate_key not in keys:
                kept.add(submission, proposal)
        kept.after = {key: after for key, after in self.after.items() if key not in keys}
        return kept

    def add(self, submission: Submission, proposal: Proposal) -> None:
        self.submissions.append(submission)
        self.proposals.append(proposal)
        self.commands.add(submission.command_key)
        for event in proposal.events:
            self.touched.add((submission.aggregate_key, event.subject))


@dataclass(slots=True)
class Landing:
    """What came back for a batch: a verdict for each proposal, or why there is none."""

    verdicts: Sequence[Verdict | Exception]
    is_resent: bool
    """It was sent more than once: a duplicate may be its own echo."""
    outage: StoreUnavailable | None = None
    """The database could not be reached for so long that those who still wait are told too."""
