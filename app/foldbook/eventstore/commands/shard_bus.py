"""The bus of one shard: a queue, a batch in the making, and at most one append in flight."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from foldbook.errors import Overloaded, Refusal, SequenceConflict, StoreUnavailable
from foldbook.eventstore.commands.batch import Batch, Landing
from foldbook.eventstore.commands.results import Answers, CommandResult, Submission, persist, reason_to_json
from foldbook.eventstore.commands.state_cache import States
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import Command, Event, Metadata
from foldbook.eventstore.store import EventStore, Fate, Proposal, Verdict

logger = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")

_SPLIT_MIN = 24
"""Commands under way from which deciding half of them takes as long as the fixed cost of a commit."""

_FRESH_START_PAUSE_S = 0.1

_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class BusLimits:
    """The bounds of a bus, per shard."""

    queue_max: int = 10_000
    """Commands waiting; one more is refused with ``Overloaded``."""
    batch_max: int = 128
    """Commands in one commit. Two batches are under way at once, so 128 keeps some 256 callers busy."""
    aggregates_max: int = 20_000
    """States kept in memory."""
    attempts_max: int = 50
    """Times a command is decided anew after a conflict before the caller is told to come back."""
    snapshot_every: int = 500
    """Events after which an aggregate's state is cached in the database."""
    outage_max_s: float = 10.0
    """Seconds that an append or a load is retried while the database cannot be reached."""


class Lane(Generic[S]):
    """The bus of one shard: a queue, a batch in the making, and at most one append in flight."""

    def __init__(self, store: EventStore, decider: Decider[S], shard: int, limits: BusLimits) -> None:
        self._store = store
        self._decider = decider
        self._shard = shard
        self._limits = limits
        self.states = States(
            store,
            decider,
            shard,
            kept_max=limits.aggregates_max,
            snapshot_every=limits.snapshot_every,
            outage_max_s=limits.outage_max_s,
        )
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._answers = Answers(store, shard, limits.outage_max_s)
        self._is_stopping = False
        self.queue: deque[Submission] = deque()
        self._batch: Batch[S] = Batch()
        self.flight: Batch[S] | None = None
        self._append_task: asyncio.Task[Landing] | None = None
        self.commits_total = 0
        self.commands_total = 0
        self.conflicts_total = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"bus-{self._shard}")

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._is_stopping

    async def stop(self) -> None:
        self._is_stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        await self._answers.finish()
        await self.states.finish()

    def submit(
        self, command: Command, metadata: Metadata, expected_sequence: int | None
    ) -> asyncio.Future[CommandResult]:
        if self._is_stopping:
            raise Overloaded("the engine is stopping")
        if len(self.queue) >= self._limits.queue_max:
            raise Overloaded(f"{self._limits.queue_max} commands are waiting already")
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self.queue.append(Submission(command, metadata, expected_sequence, future))
        self._wake.set()
        return future

    # -- the loop ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Serve until stopped. If anything breaks, those who wait are told, and the lane begins afresh: what it holds
        is only a cache."""
        while True:
            try:
                await self._serve()
            except Exception as error:
                logger.exception("the bus of shard %d broke and begins afresh", self._shard)
                await self._begin_afresh(error)
            else:
                return

    async def _serve(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._fill(self._batch)
            except StoreUnavailable as error:
                self._fail_all(error, self.queue)
                self.queue.clear()
            if self._append_task is not None and self._append_task.done():
                self._land(self._append_task.result())
            elif self._append_task is None and self._batch.submissions:
                self._send()
            elif self._is_stopping and self._append_task is None and not self.queue:
                return
            else:
                await self._wake.wait()

    def _send(self) -> None:
        self.flight, self._batch = self._batch, Batch()
        self._append_task = asyncio.create_task(self._append(self.flight))
        self._append_task.add_done_callback(lambda _: self._wake.set())

    def _land(self, landing: Landing) -> None:
        """The database first: what is ready is sent before anybody is told of what has landed."""
        landed, self.flight, self._append_task = self.flight, None, None
        assert landed is not None
        self._batch = self._after_conflicts(landed, landing, self._batch)
        if landing.outage is not None:
            self._fail_all(landing.outage, (*self._batch.submissions, *self.queue))
            self.queue.clear()
            self.states.go_back(self._batch.after)
            self._batch = Batch()
        if self._batch.submissions:
            self._send()
        self._answer(landed, landing)
        self.states.evict()

    async def _begin_afresh(self, error: Exception) -> None:
        if self._append_task is not None:
            await asyncio.wait([self._append_task])
        flying = self.flight.submissions if self.flight is not None else []
        told = StoreUnavailable(f"the command bus broke: {error}", in_doubt=True)
        self._fail_all(told, (*flying, *self._batch.submissions, *self.queue))
        self.queue.clear()
        self.states.clear()
        self._batch, self.flight, self._append_task = Batch(), None, None
        await asyncio.sleep(_FRESH_START_PAUSE_S)

    # -- deciding ------------------------------------------------------------------------------------------------

    async def _fill(self, batch: Batch[S]) -> None:
        """Move commands from the queue into the batch, decided, as far as that is possible now."""
        if not self.queue:
            return
        under_way = len(self.queue) + len(batch.submissions) + (len(self.flight.submissions) if self.flight else 0)
        # Of many callers, half are served by the database while the others are served here; a few are better off
        # with one commit than with two.
        share = under_way if under_way < _SPLIT_MIN else (under_way + 1) // 2
        room = min(share, self._limits.batch_max) - len(batch.submissions)
        if room <= 0:
            return
        window = [self.queue.popleft() for _ in range(min(room, len(self.queue)))]
        decided = 0
        try:
            unreadable = await self.states.load({s.command.aggregate_id: None for s in window})
            if unreadable:
                window = self._without_unreadable(window, unreadable)
            recalled = await self.states.recall(self._forgotten(window, batch))
            for submission in window:
                if not self._decide(submission, batch, recalled):
                    break
                decided += 1
        except StoreUnavailable as error:
            self._fail_all(error, window[decided:])
            decided = len(window)
            raise
        finally:
            self.queue.extendleft(reversed(window[decided:]))

    def _without_unreadable(self, window: list[Submission], unreadable: dict[str, Exception]) -> list[Submission]:
        for submission in window:
            if (error := unreadable.get(submission.command.aggregate_id)) is not None:
                submission.fail(error)
        return [submission for submission in window if submission.command.aggregate_id not in unreadable]

    def _forgotten(self, window: Sequence[Submission], batch: Batch[S]) -> list[tuple[str, str]]:
        """The subjects of these commands that only the log remembers, and whose events are all in it."""
        forgotten: dict[tuple[str, str], None] = {}
        for submission in window:
            command = submission.command
            if command.subject is None or (command.creates_subject and not submission.is_subject_taken):
                continue
            if self._is_under_way(submission, batch):
                continue
            if self._decider.forgotten(command, self.states[command.aggregate_id].state):
                forgotten[command.aggregate_id, command.subject] = None
        return list(forgotten)

    def _is_under_way(self, submission: Submission, batch: Batch[S]) -> bool:
        return submission.key in batch.touched or (self.flight is not None and submission.key in self.flight.touched)

    def _decide(
        self, submission: Submission, batch: Batch[S], recalled: dict[tuple[str, str | None], list[Event]]
    ) -> bool:
        """Decide one command on the state that will be. False: it has to wait for what is under way."""
        command = submission.command
        aggregate = self.states[command.aggregate_id]
        if command.command_id in batch.command_ids or aggregate.is_stale:
            return False
        state, absent_subject = aggregate.state, None
        if self._decider.forgotten(command, state):
            if self._is_under_way(submission, batch):
                return False
            if command.creates_subject and not submission.is_subject_taken:
                absent_subject = command.subject
            elif (past := recalled.get(submission.key)) is None:
                return False
            elif past:
                state = self._decider.recall(state, past)
        try:
            events, reason = self._judge(submission, state, aggregate.sequence)
        except Exception as error:
            logger.exception("%s could not be decided", type(command).__name__)
            submission.fail(error)
            return True
        submission.fingerprint = submission.fingerprint or command.fingerprint()
        proposal = Proposal(
            command=command,
            fingerprint=submission.fingerprint,
            expected_sequence=aggregate.sequence,
            absent_subject=absent_subject if reason is None else None,
            actor=submission.metadata.actor,
            metadata=_ENCODER.encode(submission.metadata),
            events=events,
            reason=reason,
        )
        batch.add(submission, proposal)
        if events:
            evolve = self._decider.evolve
            evolved = aggregate.state
            for event in events:
                evolved = evolve(evolved, event)
            aggregate.state = evolved
            aggregate.sequence += len(events)
            batch.after[command.aggregate_id] = (evolved, aggregate.sequence)
        return True

    def _judge(self, submission: Submission, state: S, sequence: int) -> tuple[Sequence[Event], bytes | None]:
        """The events, or why there are none."""
        if submission.expected_sequence is not None and submission.expected_sequence != sequence:
            return (), reason_to_json(SequenceConflict(submission.expected_sequence, sequence))
        try:
            return self._decider.decide(submission.command, state), None
        except Refusal as refusal:
            return (), reason_to_json(refusal)

    # -- appending -----------------------------------------------------------------------------------------------

    async def _append(self, batch: Batch[S]) -> Landing:
        resends = 0

        async def attempt() -> list[Verdict]:
            nonlocal resends
            try:
                return await self._store.append(self._shard, batch.proposals)
            except StoreUnavailable as error:
                resends += error.in_doubt
                raise

        try:
            verdicts: list[Verdict | Exception] = [*await self._persist(attempt)]
            self.commits_total += 1
        except StoreUnavailable as error:
            error.in_doubt = resends > 0
            waiting = StoreUnavailable(str(error))
            return Landing([error] * len(batch.submissions), is_resent=resends > 0, outage=waiting)
        except Exception:
            # One proposal that the database cannot take must not spoil the others: send them one by one.
            logger.exception("an append of %d commands failed, sending them one by one", len(batch.proposals))
            verdicts = [await self._append_alone(proposal) for proposal in batch.proposals]
        return Landing(verdicts, is_resent=resends > 0)

    async def _append_alone(self, proposal: Proposal) -> Verdict | Exception:
        try:
            return (await self._persist(lambda: self._store.append(self._shard, [proposal])))[0]
        except Exception as error:
            return error

    # -- landing -------------------------------------------------------------------------------------------------

    def _after_conflicts(self, landed: Batch[S], landing: Landing, batch: Batch[S]) -> Batch[S]:
        """Take over what went in; what rests on anything else goes back to the queue. Returns the next batch."""
        broken: set[str] = set()
        again: list[Submission] = []
        for submission, proposal, verdict in zip(landed.submissions, landed.proposals, landing.verdicts, strict=True):
            if isinstance(verdict, Exception):
                broken.add(submission.command.aggregate_id)
            elif verdict.fate is Fate.CONFLICT:
                broken.add(submission.command.aggregate_id)
                again.append(submission)
                submission.attempts += 1
                submission.is_subject_taken = proposal.absent_subject is not None
            elif verdict.fate is Fate.DUPLICATE and proposal.events:
                broken.add(submission.command.aggregate_id)
        self.states.store(landed.after, broken)
        if broken:
            self.conflicts_total += len(again)
            again += [submission for submission in batch.submissions if submission.command.aggregate_id in broken]
            batch = batch.without(broken)
            for submission in again:
                if submission.attempts > self._limits.attempts_max:
                    submission.fail(Overloaded("other writers kept changing this aggregate"))
            self.queue.extendleft(reversed([submission for submission in again if not submission.future.done()]))
            self._wake.set()
        return batch

    def _answer(self, landed: Batch[S], landing: Landing) -> None:
        decided = list(zip(landed.submissions, landed.proposals, landing.verdicts, strict=True))
        self.commands_total += sum(isinstance(v, Verdict) and v.fate is Fate.APPENDED for _, _, v in decided)
        self._answers.give(decided, is_resent=landing.is_resent)

    def _persist(self, call: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        return persist(call, self._limits.outage_max_s)

    def _fail_all(self, error: BaseException, submissions: Iterable[Submission]) -> None:
        for submission in submissions:
            submission.fail(error)
