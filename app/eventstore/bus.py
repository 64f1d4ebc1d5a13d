"""The command bus: load, decide, group commit.

Commands queue. While one append is in flight the next batch is decided and encoded, on the state that will be there
if the one in flight succeeds; it is sent the moment the answer is in, before anybody is told of it. So PostgreSQL and
Python work side by side, and the lock, the fsync and the NOTIFY are paid once per batch, without a timer.

Nothing is sent that was decided on a state that did not come true: when an append meets a conflict, whatever was
decided after it for that aggregate goes back to the front of the queue, the tail is read, and it is decided again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from app.eventstore.decider import Decider
from app.eventstore.errors import IdempotencyConflict, Overloaded, Refusal, SequenceConflict, StoreUnavailable
from app.eventstore.events import Command, Event, Metadata
from app.eventstore.store import EventStore, Fate, FirstResult, Proposal, SubjectEvent, Verdict, shard_of

logger = logging.getLogger(__name__)

S = TypeVar("S")
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
    outage_max_s: float = 10.0
    """Seconds that an append or a load is retried while the database cannot be reached."""


class CommandBus(Generic[S]):
    """Takes commands for the aggregates of one decider. ``start`` it inside a running event loop."""

    def __init__(
        self, store: EventStore, decider: Decider[S], *, shard_count: int = 1, limits: BusLimits | None = None
    ) -> None:
        self._shard_count = shard_count
        self._lanes = [_Lane(store, decider, shard, limits or BusLimits()) for shard in range(shard_count)]

    async def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    async def stop(self) -> None:
        """Takes no more, answers everything it has, stops."""
        await asyncio.gather(*(lane.stop() for lane in self._lanes))

    def submit(
        self, command: Command, *, metadata: Metadata = Metadata(), expected_sequence: int | None = None
    ) -> asyncio.Future[CommandResult]:
        """Queue a command; the future has its result once that is durable.

        ``expected_sequence`` makes it conditional. Raises ``Overloaded`` at once when the queue is full; the future
        raises ``Refusal``, ``IdempotencyConflict``, ``Overloaded`` or ``StoreUnavailable``. Commands to one aggregate
        are decided in the order of submission.
        """
        lane = self._lanes[shard_of(command.aggregate_id, self._shard_count)]
        return lane.submit(command, metadata, expected_sequence)

    async def execute(
        self, command: Command, *, metadata: Metadata = Metadata(), expected_sequence: int | None = None
    ) -> CommandResult:
        """``submit``, and wait for the result."""
        return await self.submit(command, metadata=metadata, expected_sequence=expected_sequence)

    @property
    def queued(self) -> int:
        """Commands waiting to be decided."""
        return sum(len(lane.queue) for lane in self._lanes)

    @property
    def in_flight(self) -> int:
        """Commands in an append that was not answered yet."""
        return sum(len(lane.flight.entries) if lane.flight else 0 for lane in self._lanes)

    @property
    def states_cached(self) -> int:
        """Aggregates whose state is in memory."""
        return sum(len(lane.aggregates) for lane in self._lanes)

    @property
    def commits_total(self) -> int:
        return sum(lane.commits_total for lane in self._lanes)

    @property
    def commands_total(self) -> int:
        return sum(lane.commands_total for lane in self._lanes)

    @property
    def conflicts_total(self) -> int:
        return sum(lane.conflicts_total for lane in self._lanes)


@dataclass(slots=True, eq=False)
class _Entry:
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

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def succeed(self, result: CommandResult) -> None:
        if not self.future.done():
            self.future.set_result(result)


@dataclass(slots=True, eq=False)
class _Aggregate(Generic[S]):
    """A cached state: as the log has it, and as it will be once all that is under way has gone in."""

    stored: S
    stored_sequence: int
    state: S
    sequence: int
    is_stale: bool = False
    """The log has more than ``stored``: read the tail before deciding anything."""


@dataclass(slots=True, eq=False)
class _Batch(Generic[S]):
    """Decided commands on their way into one commit."""

    entries: list[_Entry] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    command_ids: set[UUID] = field(default_factory=set)
    touched: set[tuple[str, str | None]] = field(default_factory=set)
    """(aggregate, subject) of every event: what the log does not know yet."""
    after: dict[str, tuple[S, int]] = field(default_factory=dict)
    """Each aggregate's state and sequence once this batch has gone in."""

    def without(self, aggregate_ids: set[str]) -> _Batch[S]:
        kept: _Batch[S] = _Batch()
        for entry, proposal in zip(self.entries, self.proposals, strict=True):
            if entry.command.aggregate_id not in aggregate_ids:
                kept.add(entry, proposal)
        kept.after = {k: v for k, v in self.after.items() if k not in aggregate_ids}
        return kept

    def add(self, entry: _Entry, proposal: Proposal) -> None:
        self.entries.append(entry)
        self.proposals.append(proposal)
        self.command_ids.add(proposal.command.command_id)
        if proposal.events:
            self.touched.add(entry.key)


class _Lane(Generic[S]):
    """The bus of one shard: a queue, a batch in the making, and at most one append in flight."""

    def __init__(self, store: EventStore, decider: Decider[S], shard: int, limits: BusLimits) -> None:
        self._store = store
        self._decider = decider
        self._shard = shard
        self._limits = limits
        self.aggregates: OrderedDict[str, _Aggregate[S]] = OrderedDict()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lookups: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self.queue: deque[_Entry] = deque()
        self.flight: _Batch[S] | None = None
        self.commits_total = 0
        self.commands_total = 0
        self.conflicts_total = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"bus-{self._shard}")

    async def stop(self) -> None:
        self._is_stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._lookups:
            await asyncio.wait(self._lookups)

    def submit(
        self, command: Command, metadata: Metadata, expected_sequence: int | None
    ) -> asyncio.Future[CommandResult]:
        if self._is_stopping:
            raise Overloaded("the engine is stopping")
        if len(self.queue) >= self._limits.queue_max:
            raise Overloaded(f"{self._limits.queue_max} commands are waiting already")
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self.queue.append(_Entry(command, metadata, expected_sequence, future))
        self._wake.set()
        return future

    # -- the loop ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        batch: _Batch[S] = _Batch()
        append: asyncio.Task[_Landing] | None = None
        while True:
            self._wake.clear()
            try:
                await self._fill(batch)
            except StoreUnavailable as error:
                self._fail_all(error, self.queue)
                self.queue.clear()
            if append is not None and append.done():
                landed, landing, append, self.flight = self.flight, append.result(), None, None
                assert landed is not None
                batch = self._after_conflicts(landed, landing, batch)
                if landing.outage is not None:
                    self._fail_all(landing.outage, (*batch.entries, *self.queue))
                    self.queue.clear()
                    batch = self._discarded(batch)
                if batch.entries:
                    append, batch = self._send(batch), _Batch()
                self._answer(landed, landing)
                self._evict()
                continue
            if append is None and batch.entries:
                append, batch = self._send(batch), _Batch()
                continue
            if self._is_stopping and append is None and not self.queue:
                return
            await self._wake.wait()

    def _send(self, batch: _Batch[S]) -> asyncio.Task[_Landing]:
        self.flight = batch
        task = asyncio.create_task(self._append(batch))
        task.add_done_callback(lambda _: self._wake.set())
        return task

    # -- deciding ------------------------------------------------------------------------------------------------

    async def _fill(self, batch: _Batch[S]) -> None:
        """Move commands from the queue into the batch, decided, as far as that is possible now."""
        if not self.queue:
            return
        under_way = len(self.queue) + len(batch.entries) + (len(self.flight.entries) if self.flight else 0)
        # Of many callers, half are served by the database while the others are served here; a few are better off
        # with one commit than with two.
        share = under_way if under_way < _SPLIT_MIN else (under_way + 1) // 2
        room = min(share, self._limits.batch_max) - len(batch.entries)
        if room <= 0:
            return
        window = [self.queue.popleft() for _ in range(min(room, len(self.queue)))]
        decided = 0
        try:
            await self._load(window)
            recalled = await self._recall(window, batch)
            for entry in window:
                if not self._decide(entry, batch, recalled):
                    break
                decided += 1
        except StoreUnavailable as error:
            self._fail_all(error, window[decided:])
            decided = len(window)
            raise
        finally:
            self.queue.extendleft(reversed(window[decided:]))

    async def _load(self, window: Sequence[_Entry]) -> None:
        """Make the state of every aggregate in the window current, in one query."""
        after: dict[str, int] = {}
        for entry in window:
            aggregate_id = entry.command.aggregate_id
            aggregate = self.aggregates.get(aggregate_id)
            if aggregate is None:
                after[aggregate_id] = 0
            elif aggregate.is_stale:
                after[aggregate_id] = aggregate.stored_sequence
        if not after:
            return
        events = await self._persist(lambda: self._store.read_aggregates(self._shard, list(after.items())))
        for aggregate_id in after:
            if aggregate_id not in self.aggregates:
                initial = self._decider.initial
                self.aggregates[aggregate_id] = _Aggregate(initial, 0, initial, 0)
        for event in events:
            aggregate = self.aggregates[event.aggregate_id]
            fact = self._decider.event_types.decode(event.type, event.schema_version, event.payload)
            aggregate.stored = self._decider.evolve(aggregate.stored, fact)
            aggregate.stored_sequence = event.sequence
        for aggregate_id in after:
            aggregate = self.aggregates[aggregate_id]
            aggregate.state, aggregate.sequence = aggregate.stored, aggregate.stored_sequence
            aggregate.is_stale = False

    def _evict(self) -> None:
        """Forget the least recently used states, but none that is ahead of the log."""
        surplus = len(self.aggregates) - self._limits.aggregates_max
        if surplus > 0:
            for aggregate_id in list(islice(self.aggregates, surplus)):
                aggregate = self.aggregates[aggregate_id]
                if aggregate.sequence == aggregate.stored_sequence:
                    del self.aggregates[aggregate_id]

    async def _recall(self, window: Sequence[_Entry], batch: _Batch[S]) -> dict[tuple[str, str | None], list[Event]]:
        """The events of the subjects that the states no longer remember and the commands are about, in one query."""
        keys: dict[tuple[str, str | None], list[Event]] = {}
        asked: list[tuple[str, str]] = []
        for entry in window:
            command = entry.command
            if command.creates_subject and not entry.is_subject_taken:
                continue
            state = self.aggregates[command.aggregate_id].state
            if command.subject is not None and self._decider.forgotten(command, state):
                if not self._is_under_way(entry, batch):
                    keys[command.aggregate_id, command.subject] = []
                    asked.append((command.aggregate_id, command.subject))
        if not asked:
            return {}
        for event in await self._persist(lambda: self._store.read_subjects(self._shard, asked)):
            fact = self._decider.event_types.decode(event.type, event.schema_version, event.payload)
            keys[event.aggregate_id, event.subject].append(fact)
        return keys

    def _is_under_way(self, entry: _Entry, batch: _Batch[S]) -> bool:
        return entry.key in batch.touched or (self.flight is not None and entry.key in self.flight.touched)

    def _decide(
        self, entry: _Entry, batch: _Batch[S], recalled: dict[tuple[str, str | None], list[Event]]
    ) -> bool:
        """Decide one command on the state that will be. False: it has to wait for what is under way."""
        command = entry.command
        if command.command_id in batch.command_ids:
            return False
        aggregate = self.aggregates[command.aggregate_id]
        if aggregate.is_stale:
            return False
        state = aggregate.state
        absent_subject = None
        if self._decider.forgotten(command, state):
            if self._is_under_way(entry, batch):
                return False
            if command.creates_subject and not entry.is_subject_taken:
                absent_subject = command.subject
            elif (past := recalled.get(entry.key)) is None:
                return False
            elif past:
                state = self._decider.recall(state, past)
        events: Sequence[Event] = ()
        reason = None
        try:
            if entry.expected_sequence is not None and entry.expected_sequence != aggregate.sequence:
                raise SequenceConflict(entry.expected_sequence, aggregate.sequence)
            events = self._decider.decide(command, state)
        except Refusal as refusal:
            reason = _reason_to_json(refusal)
            absent_subject = None
        proposal = Proposal(
            command=command,
            fingerprint=entry.fingerprint or command.fingerprint(),
            expected_sequence=aggregate.sequence,
            absent_subject=absent_subject,
            actor=entry.metadata.actor,
            metadata=_ENCODER.encode(entry.metadata),
            events=events,
            reason=reason,
        )
        entry.fingerprint = proposal.fingerprint
        batch.add(entry, proposal)
        if events:
            evolve = self._decider.evolve
            evolved = aggregate.state
            for event in events:
                evolved = evolve(evolved, event)
            aggregate.state = evolved
            aggregate.sequence += len(events)
            batch.after[command.aggregate_id] = (evolved, aggregate.sequence)
        self.aggregates.move_to_end(command.aggregate_id)
        return True

    # -- appending -----------------------------------------------------------------------------------------------

    async def _append(self, batch: _Batch[S]) -> _Landing:
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
            return _Landing([error] * len(batch.entries), is_resent=resends > 0, outage=waiting)
        except Exception:
            # One proposal that the database cannot take must not spoil the others: send them one by one.
            logger.exception("an append of %d commands failed, sending them one by one", len(batch.proposals))
            verdicts = [await self._append_alone(proposal) for proposal in batch.proposals]
        return _Landing(verdicts, is_resent=resends > 0)

    async def _append_alone(self, proposal: Proposal) -> Verdict | Exception:
        try:
            return (await self._persist(lambda: self._store.append(self._shard, [proposal])))[0]
        except Exception as error:
            return error

    async def _persist(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Call again while the store is unavailable, with growing pauses, for ``outage_max_s`` at most."""
        deadline = time.monotonic() + self._limits.outage_max_s
        pause_s = 0.02
        while True:
            try:
                return await call()
            except StoreUnavailable:
                if time.monotonic() + pause_s > deadline:
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.5)

    # -- landing -------------------------------------------------------------------------------------------------

    def _after_conflicts(self, landed: _Batch[S], landing: _Landing, batch: _Batch[S]) -> _Batch[S]:
        """Take over what went in; what rests on anything that did not goes back to the queue. Returns the next batch."""
        broken: set[str] = set()
        again: list[_Entry] = []
        for entry, proposal, verdict in zip(landed.entries, landed.proposals, landing.verdicts, strict=True):
            if isinstance(verdict, Exception):
                broken.add(entry.command.aggregate_id)
            elif verdict.fate is Fate.CONFLICT:
                broken.add(entry.command.aggregate_id)
                again.append(entry)
                entry.attempts += 1
                entry.is_subject_taken = proposal.absent_subject is not None
            elif verdict.fate is Fate.DUPLICATE and proposal.events:
                broken.add(entry.command.aggregate_id)
        for aggregate_id, (state, sequence) in landed.after.items():
            if aggregate_id not in broken:
                aggregate = self.aggregates[aggregate_id]
                aggregate.stored, aggregate.stored_sequence = state, sequence
        if broken:
            self.conflicts_total += len(again)
            for aggregate_id in broken & self.aggregates.keys():
                aggregate = self.aggregates[aggregate_id]
                aggregate.state, aggregate.sequence = aggregate.stored, aggregate.stored_sequence
                aggregate.is_stale = True
            again += [entry for entry in batch.entries if entry.command.aggregate_id in broken]
            batch = batch.without(broken)
            for entry in again:
                if entry.attempts > self._limits.attempts_max:
                    entry.fail(Overloaded("other writers kept changing this aggregate"))
            self.queue.extendleft(reversed([entry for entry in again if not entry.future.done()]))
            self._wake.set()
        return batch

    def _discarded(self, batch: _Batch[S]) -> _Batch[S]:
        """Undo what the batch did to the states; returns an empty one."""
        for aggregate_id in batch.after.keys() & self.aggregates.keys():
            aggregate = self.aggregates[aggregate_id]
            aggregate.state, aggregate.sequence = aggregate.stored, aggregate.stored_sequence
        return _Batch()

    def _answer(self, landed: _Batch[S], landing: _Landing) -> None:
        """Tell every caller."""
        lookups: list[tuple[_Entry, Proposal]] = []
        for entry, proposal, verdict in zip(landed.entries, landed.proposals, landing.verdicts, strict=True):
            if isinstance(verdict, Exception):
                entry.fail(verdict)
            elif verdict.fate is Fate.APPENDED:
                self.commands_total += 1
                if proposal.reason is not None:
                    entry.fail(_reason_from_json(proposal.reason))
                elif proposal.events and verdict.position is not None:
                    entry.succeed(
                        CommandResult(
                            aggregate_id=proposal.command.aggregate_id,
                            shard=self._shard,
                            position=verdict.position,
                            sequence=verdict.sequence,
                            events=tuple([type(event).__name__ for event in proposal.events]),
                            command_id=proposal.command.command_id,
                        )
                    )
                else:
                    lookups.append((entry, proposal))
            elif verdict.fate is Fate.DUPLICATE:
                if verdict.is_same_content:
                    lookups.append((entry, proposal))
                else:
                    entry.fail(
                        IdempotencyConflict(f"command {proposal.command.command_id} came before with other content")
                    )
        if lookups:
            task = asyncio.create_task(self._answer_from_log(lookups, is_resent=landing.is_resent))
            self._lookups.add(task)
            task.add_done_callback(self._lookups.discard)

    async def _answer_from_log(self, lookups: Sequence[tuple[_Entry, Proposal]], *, is_resent: bool) -> None:
        """Answer those whose answer lies in the log: asked before, or nothing left to do."""
        try:
            ids = [entry.command.command_id for entry, _ in lookups]
            results = {
                result.command_id: result
                for result in await self._persist(lambda: self._store.command_results(self._shard, ids))
            }
            for entry, proposal in lookups:
                first = results[entry.command.command_id]
                if first.reason is not None:
                    entry.fail(_reason_from_json(first.reason))
                elif first.position is not None and first.sequence is not None:
                    entry.succeed(self._first_result(entry.command, first, replayed=not is_resent))
                else:
                    entry.succeed(await self._result_of_nothing(entry.command, proposal))
        except Exception as error:
            self._fail_all(error, (entry for entry, _ in lookups))

    def _first_result(self, command: Command, first: FirstResult, *, replayed: bool) -> CommandResult:
        assert first.position is not None and first.sequence is not None
        return CommandResult(
            aggregate_id=command.aggregate_id,
            shard=self._shard,
            position=first.position,
            sequence=first.sequence,
            events=tuple(first.event_types),
            command_id=first.command_id,
            replayed=replayed,
        )

    async def _result_of_nothing(self, command: Command, proposal: Proposal) -> CommandResult:
        """There was nothing left to do: answer with what had done it, the subject's first event or its last."""
        events: list[SubjectEvent] = []
        if command.subject is not None:
            key = (command.aggregate_id, command.subject)
            events = await self._persist(lambda: self._store.read_subjects(self._shard, [key]))
        if not events:
            raise LookupError(f"{type(command).__name__} {command.command_id} did nothing and concerns nothing")
        event = events[0] if command.creates_subject else events[-1]
        (first,) = await self._persist(lambda: self._store.command_results(self._shard, [event.command_id]))
        return self._first_result(command, first, replayed=True)

    def _fail_all(self, error: Exception, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            entry.fail(error)


@dataclass(slots=True)
class _Landing:
    """What came back for a batch: a verdict for each proposal, or why there is none."""

    verdicts: Sequence[Verdict | Exception]
    is_resent: bool
    """It was sent more than once: a duplicate may be its own echo."""
    outage: StoreUnavailable | None = None
    """The database could not be reached for so long that those who still wait are told too."""


_SPLIT_MIN = 24
"""Commands under way from which deciding half of them takes as long as the fixed cost of a commit."""

_ENCODER = msgspec.json.Encoder()


def _reason_to_json(refusal: Refusal) -> bytes:
    return _ENCODER.encode({"code": refusal.refusal, "detail": refusal.detail, **refusal.details})


def _reason_from_json(reason: bytes) -> Refusal:
    fields = msgspec.json.decode(reason)
    code, detail = fields.pop("code"), fields.pop("detail")
    if code == "sequence-conflict":
        return SequenceConflict(fields["expected"], fields["actual"])
    return Refusal(code, detail, **fields)
