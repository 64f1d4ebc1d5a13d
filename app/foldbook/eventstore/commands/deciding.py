"""Deciding: commands from the queue become proposals of the next batch, on the states that will be there."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from foldbook.errors import LogMismatch, Refusal, SequenceConflict, StoreUnavailable
from foldbook.eventstore.commands.batch import Batch, State
from foldbook.eventstore.commands.refusals import refusal_to_json
from foldbook.eventstore.commands.state_cache import StateCache, SubjectKey
from foldbook.eventstore.commands.submission import Submission
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import NO_METADATA, AggregateKey, Event
from foldbook.eventstore.store import Proposal

logger = logging.getLogger(__name__)

_SPLIT_MIN = 24
"""Commands under way from which deciding half of them takes as long as the fixed cost of a commit."""

_ENCODER = msgspec.json.Encoder()
_NO_METADATA_JSON = _ENCODER.encode(NO_METADATA)

Past = Mapping[SubjectKey, Sequence[Event]]
"""The events of subjects that a state has forgotten."""


class DecisionMaker:
    """Decides the commands of one shard."""

    def __init__(self, deciders: Mapping[str, Decider[State]], states: StateCache, batch_max: int) -> None:
        self._deciders = deciders
        self._states = states
        self._batch_max = batch_max

    async def fill(self, batch: Batch, flight: Batch | None, queue: deque[Submission]) -> None:
        """Move commands from the queue into the batch, decided, as far as that is possible now.

        ``flight``: the batch that is being appended. A command that has to wait for it stays at the front of the queue.
        Nothing is decided if the store begins another run meanwhile.

        Raises ``StoreUnavailable`` or ``LogMismatch`` when a state cannot be read; the commands concerned are told.
        """
        if not queue:
            return
        room = self._room(batch, flight, queue)
        if room <= 0:
            return
        window = [queue.popleft() for _ in range(min(room, len(queue)))]
        decided = 0
        try:
            keys = {submission.aggregate_key: None for submission in window}
            self._states.hear(keys)
            if not self._states.are_current(keys):
                unreadable = await self._states.load(keys)
                window = _without_unreadable(window, lambda s: unreadable.get(s.aggregate_key))
            past: Past = {}
            if forgotten := self._forgotten(window, batch, flight):
                past, unrecalled = await self._states.recall(forgotten)
                window = _without_unreadable(window, lambda s: unrecalled.get(s.subject_key))
            if self._states.is_overtaken:
                return
            batch.run = self._states.run
            for submission in window:
                if not self._decide(submission, batch, flight, past):
                    break
                decided += 1
        except (StoreUnavailable, LogMismatch) as error:
            for submission in window[decided:]:
                submission.fail(error)
            decided = len(window)
            raise
        finally:
            queue.extendleft(reversed(window[decided:]))

    def _room(self, batch: Batch, flight: Batch | None, queue: deque[Submission]) -> int:
        """Of many senders, half are served by the database while the others are served here; a few are better off with
        one commit than with two."""
        under_way = len(queue) + len(batch.submissions) + (len(flight.submissions) if flight else 0)
        share = under_way if under_way < _SPLIT_MIN else (under_way + 1) // 2
        return min(share, self._batch_max) - len(batch.submissions)

    def _forgotten(
        self, window: Sequence[Submission], batch: Batch, flight: Batch | None
    ) -> list[tuple[AggregateKey, str]]:
        """The subjects of these commands that only the log remembers, and whose events are all in it."""
        forgotten: dict[tuple[AggregateKey, str], None] = {}
        for submission in window:
            command, key = submission.command, submission.aggregate_key
            if command.subject is None or (command.creates_subject and not submission.is_subject_taken):
                continue
            if _is_under_way(submission, batch, flight):
                continue
            if self._deciders[key.type].has_forgotten(command, self._states[key].state):
                forgotten[key, command.subject] = None
        return list(forgotten)

    def _decide(self, submission: Submission, batch: Batch, flight: Batch | None, recalled: Past) -> bool:
        """Decide one command on the state that will be. False: it has to wait for what is under way."""
        command, key = submission.command, submission.aggregate_key
        decider, aggregate = self._deciders[key.type], self._states[key]
        if submission.command_key in batch.commands or aggregate.is_stale:
            return False
        past: Sequence[Event] = ()
        absent_subject = None
        if decider.has_forgotten(command, aggregate.state):
            if _is_under_way(submission, batch, flight):
                return False
            if command.creates_subject and not submission.is_subject_taken:
                absent_subject = command.subject
            elif submission.subject_key not in recalled:
                return False
            else:
                past = recalled[submission.subject_key]
        events: Sequence[Event] = ()
        reason = None
        try:
            _check_sequence(submission, aggregate.sequence)
            events = decider.decide_recalling(command, aggregate.state, past)
            state = decider.fold(events, aggregate.state)
        except Refusal as refusal:
            reason, absent_subject = refusal_to_json(refusal), None
        except Exception as error:
            logger.exception("%s could not be decided", type(command).__name__)
            submission.fail(error)
            return True
        submission.fingerprint = submission.fingerprint or command.fingerprint()
        metadata = submission.metadata
        batch.add(
            submission,
            Proposal(
                command=command,
                fingerprint=submission.fingerprint,
                expected_sequence=aggregate.sequence,
                absent_subject=absent_subject,
                actor=metadata.actor,
                metadata=_NO_METADATA_JSON if metadata is NO_METADATA else _ENCODER.encode(metadata),
                events=events,
                reason=reason,
            ),
        )
        if events:
            aggregate.state = state
            aggregate.sequence += len(events)
            batch.after[key] = (aggregate.state, aggregate.sequence)
        return True


def _check_sequence(submission: Submission, sequence: int) -> None:
    if submission.expected_sequence is not None and submission.expected_sequence != sequence:
        raise SequenceConflict(submission.expected_sequence, sequence)


def _is_under_way(submission: Submission, batch: Batch, flight: Batch | None) -> bool:
    key = submission.subject_key
    return key in batch.touched or (flight is not None and key in flight.touched)


def _without_unreadable(
    window: Iterable[Submission], why: Callable[[Submission], Exception | None]
) -> list[Submission]:
    """Those that can be decided. The others are told why not."""
    readable = []
    for submission in window:
        error = why(submission)
        if error is None:
            readable.append(submission)
        else:
            submission.fail(error)
    return readable
