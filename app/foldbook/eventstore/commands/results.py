"""Answering the callers of the bus: from the verdict, or, where that lies in the log, from there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import msgspec

from foldbook.errors import IdempotencyConflict, Refusal, SequenceConflict, StoreUnavailable
from foldbook.eventstore.events import Command, Metadata
from foldbook.eventstore.store import EventStore, Fate, FirstResult, Proposal, Verdict

T = TypeVar("T")


class CommandResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer to an accepted command, given only after COMMIT.

    ``position`` and ``sequence`` are those of its last event, ``events`` the types. ``replayed``: it was answered
    before, and this is the first answer.
    """

    aggregate_id: str
    shard: int
    position: int
    sequence: int
    events: tuple[str, ...]
    command_id: UUID
    replayed: bool = False


@dataclass(slots=True, eq=False)
class Submission:
    """A command in the bus."""

    command: Command
    metadata: Metadata
    expected_sequence: int | None
    future: asyncio.Future[CommandResult]
    fingerprint: bytes = b""
    attempts: int = 0
    is_subject_taken: bool = False
    """Its subject was thought to be new, and the log knew better."""

    @property
    def key(self) -> tuple[str, str | None]:
        return (self.command.aggregate_id, self.command.subject)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def succeed(self, result: CommandResult) -> None:
        if not self.future.done():
            self.future.set_result(result)


class Answers:
    """Tells every caller of one shard."""

    def __init__(self, store: EventStore, shard: int, outage_max_s: float) -> None:
        self._store = store
        self._shard = shard
        self._outage_max_s = outage_max_s
        self._lookups: set[asyncio.Task[None]] = set()

    def give(self, decided: Sequence[tuple[Submission, Proposal, Verdict | Exception]], *, is_resent: bool) -> None:
        """``is_resent``: the batch was sent more than once, so that a duplicate may be its own echo."""
        lookups: list[tuple[Submission, Proposal, Verdict]] = []
        for submission, proposal, verdict in decided:
            if isinstance(verdict, Exception):
                submission.fail(verdict)
            elif verdict.fate is Fate.APPENDED and proposal.reason is not None:
                submission.fail(reason_from_json(proposal.reason))
            elif verdict.fate is Fate.APPENDED and proposal.events and verdict.position is not None:
                submission.succeed(
                    CommandResult(
                        aggregate_id=proposal.command.aggregate_id,
                        shard=self._shard,
                        position=verdict.position,
                        sequence=verdict.sequence,
                        events=tuple([type(event).__name__ for event in proposal.events]),
                        command_id=proposal.command.command_id,
                    )
                )
            elif verdict.fate is Fate.DUPLICATE and not verdict.is_same_content:
                command_id = proposal.command.command_id
                submission.fail(IdempotencyConflict(f"command {command_id} came before with other content"))
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
        """Answer those who asked before, or for whom there was nothing left to do."""
        try:
            ids = [submission.command.command_id for submission, _, _ in lookups]
            results = {first.command_id: first for first in await self._results(ids)}
            for submission, proposal, verdict in lookups:
                first = results[submission.command.command_id]
                if first.reason is not None:
                    submission.fail(reason_from_json(first.reason))
                elif first.event_types:
                    is_echo = is_resent and first.sequence == (proposal.expected_sequence or 0) + len(proposal.events)
                    submission.succeed(self._first(submission.command, first, is_replayed=not is_echo))
                elif submission.command.subject is None:
                    submission.succeed(self._as_it_was(submission.command, first, verdict))
                else:
                    submission.succeed(await self._what_had_done_it(submission.command, first))
        except Exception as error:
            for submission, _, _ in lookups:
                submission.fail(error)

    async def _what_had_done_it(self, command: Command, answered: FirstResult) -> CommandResult:
        """The result of the command that made the subject's first event, or the last that it had by then."""
        assert command.subject is not None
        key = (command.aggregate_id, command.subject)
        events = await persist(lambda: self._store.read_subjects(self._shard, [key]), self._outage_max_s)
        events = [event for event in events if event.position <= answered.position]
        event = events[0] if command.creates_subject else events[-1]
        (first,) = await self._results([event.command_id])
        return self._first(command, first, is_replayed=True)

    def _as_it_was(self, command: Command, answered: FirstResult, verdict: Verdict) -> CommandResult:
        """The result of a command about the aggregate as a whole, which was so already: where that stands."""
        return CommandResult(
            aggregate_id=command.aggregate_id,
            shard=self._shard,
            position=answered.position,
            sequence=verdict.sequence,
            events=(),
            command_id=command.command_id,
            replayed=True,
        )

    async def _results(self, command_ids: Sequence[UUID]) -> list[FirstResult]:
        return await persist(lambda: self._store.command_results(self._shard, command_ids), self._outage_max_s)

    def _first(self, command: Command, first: FirstResult, *, is_replayed: bool) -> CommandResult:
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


async def persist(call: Callable[[], Awaitable[T]], outage_max_s: float) -> T:
    """Call again while the store is unavailable, with growing pauses, for ``outage_max_s`` seconds at most."""
    deadline = time.monotonic() + outage_max_s
    pause_s = 0.02
    while True:
        try:
            return await call()
        except StoreUnavailable:
            if time.monotonic() + pause_s > deadline:
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.5)


_ENCODER = msgspec.json.Encoder()


def reason_to_json(refusal: Refusal) -> bytes:
    return _ENCODER.encode({"code": refusal.code, "detail": refusal.detail, **refusal.details})


def reason_from_json(reason: bytes) -> Refusal:
    fields = msgspec.json.decode(reason)
    code, detail = fields.pop("code"), fields.pop("detail")
    if code == "sequence-conflict":
        return SequenceConflict(fields["expected"], fields["actual"])
    return Refusal(code, detail, **fields)
