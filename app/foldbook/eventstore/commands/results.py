"""The results of one shard's commands, for their senders: from the verdict, or from the log, which holds the first
result of a command that was sent before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from foldbook.errors import IdempotencyConflict
from foldbook.eventstore.commands.batch import Overtaken
from foldbook.eventstore.commands.refusals import refusal_from_json
from foldbook.eventstore.commands.submission import CommandResult, Submission
from foldbook.eventstore.events import Command, CommandKey
from foldbook.eventstore.retry import retry_while_unavailable
from foldbook.eventstore.store import EventStore, Fate, FirstResult, Proposal, Verdict


class Results:
    """Tells every sender of one shard."""

    def __init__(self, store: EventStore, shard: int, outage_max_s: float) -> None:
        self._store = store
        self._shard = shard
        self._outage_max_s = outage_max_s
        self._lookups: set[asyncio.Task[None]] = set()

    def tell(self, decided: Sequence[tuple[Submission, Proposal, Verdict | Exception]], *, is_resent: bool) -> None:
        """``is_resent``: the batch was sent more than once, so that a duplicate may be its own echo."""
        lookups: list[tuple[Submission, Proposal, Verdict]] = []
        for submission, proposal, verdict in decided:
            if isinstance(verdict, Overtaken):
                continue  # It is decided again.
            if isinstance(verdict, Exception):
                submission.fail(verdict)
            elif verdict.fate is Fate.APPENDED and proposal.reason is not None:
                submission.fail(refusal_from_json(proposal.reason))
            elif verdict.fate is Fate.APPENDED and proposal.events and verdict.position is not None:
                submission.succeed(
                    CommandResult(
                        aggregate_id=submission.aggregate_key.id,
                        shard=self._shard,
                        position=verdict.position,
                        sequence=verdict.sequence,
                        events=tuple([type(event).__name__ for event in proposal.events]),
                        command_id=proposal.command.command_id,
                    )
                )
            elif verdict.fate is Fate.DUPLICATE and not verdict.is_same_content:
                command_id = proposal.command.command_id
                submission.fail(IdempotencyConflict(f"command {command_id} was used before with different content"))
            elif verdict.fate is not Fate.CONFLICT:
                lookups.append((submission, proposal, verdict))
        if lookups:
            task = asyncio.create_task(self._look_up(lookups, is_resent=is_resent))
            self._lookups.add(task)
            task.add_done_callback(self._lookups.discard)

    async def finish(self) -> None:
        """Wait for the lookups under way."""
        if self._lookups:
            await asyncio.wait(self._lookups)

    async def _look_up(self, lookups: Sequence[tuple[Submission, Proposal, Verdict]], *, is_resent: bool) -> None:
        """Tell the senders of commands that were sent before, or that had nothing left to do."""
        try:
            keys = [submission.command_key for submission, _, _ in lookups]
            results = {first.command_key: first for first in await self._first_results(keys)}
            for submission, proposal, verdict in lookups:
                first = results[submission.command_key]
                if first.reason is not None:
                    submission.fail(refusal_from_json(first.reason))
                elif first.event_types:
                    echoes = {submission.doubtful_sequence}
                    if is_resent:
                        echoes.add(proposal.last_sequence)
                    is_echo = first.sequence in echoes
                    submission.succeed(self._result(submission.command, first, is_replayed=not is_echo))
                elif submission.command.subject is None:
                    submission.succeed(self._unchanged(submission.command, first, verdict))
                else:
                    submission.succeed(await self._result_of_what_had_done_it(submission, first))
        except Exception as error:
            for submission, _, _ in lookups:
                submission.fail(error)

    async def _result_of_what_had_done_it(self, submission: Submission, answered: FirstResult) -> CommandResult:
        """The result of the command that made the subject's first event, or the last that it had by then."""
        command, subject = submission.command, submission.command.subject
        assert subject is not None
        keyed = [(submission.aggregate_key, subject)]
        events = await retry_while_unavailable(
            lambda: self._store.read_subjects(self._shard, keyed), self._outage_max_s
        )
        events = [event for event in events if event.position <= answered.position]
        event = events[0] if command.creates_subject else events[-1]
        (first,) = await self._first_results([CommandKey(submission.aggregate_key, event.command_id)])
        return self._result(command, first, is_replayed=True)

    def _unchanged(self, command: Command, answered: FirstResult, verdict: Verdict) -> CommandResult:
        """The result of a command about the aggregate as a whole that changed nothing: its current sequence."""
        return CommandResult(
            aggregate_id=command.aggregate_id,
            shard=self._shard,
            position=answered.position,
            sequence=verdict.sequence,
            events=(),
            command_id=command.command_id,
            replayed=True,
        )

    def _result(self, command: Command, first: FirstResult, *, is_replayed: bool) -> CommandResult:
        assert first.sequence is not None
        return CommandResult(
            aggregate_id=command.aggregate_id,
            shard=self._shard,
            position=first.position,
            sequence=first.sequence,
            events=tuple(first.event_types),
            command_id=first.command_id,
            replayed=is_replayed,
        )

    async def _first_results(self, commands: Sequence[CommandKey]) -> list[FirstResult]:
        return await retry_while_unavailable(
            lambda: self._store.command_results(self._shard, commands), self._outage_max_s
        )
