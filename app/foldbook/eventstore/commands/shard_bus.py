"""The bus of one shard: a queue, a batch in the making, and at most one append in flight."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from foldbook.errors import FoldbookError, LogMismatch, Overloaded, StoreUnavailable
from foldbook.eventstore.commands.appending import Appender
from foldbook.eventstore.commands.batch import Batch, Landing, Overtaken, State
from foldbook.eventstore.commands.deciding import DecisionMaker
from foldbook.eventstore.commands.proving import WriteProof
from foldbook.eventstore.commands.results import Results
from foldbook.eventstore.commands.state_cache import Heard, StateCache
from foldbook.eventstore.commands.submission import CommandResult, Submission
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import AggregateKey, Command, Metadata
from foldbook.eventstore.store import EventStore, Fate, Verdict

logger = logging.getLogger(__name__)

_FRESH_START_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class BusLimits:
    """The bounds of a bus, per shard."""

    queue_max: int = 10_000
    """Commands waiting; one more is refused with ``Overloaded``."""
    batch_max: int = 128
    """Commands in one commit. Two batches are under way at once, so 128 keeps some 256 senders busy."""
    aggregates_max: int = 20_000
    """States kept in memory."""
    attempts_max: int = 50
    """Times a command is decided anew after a conflict before its sender is asked to send it again."""
    snapshot_every: int = 500
    """Events after which an aggregate's state is cached in the database."""
    outage_max_s: float = 10.0
    """Seconds that an append or a load is retried while the database cannot be reached."""


class ShardBus:
    """Takes the commands of one shard, in the order in which they are submitted."""

    def __init__(
        self,
        store: EventStore,
        deciders: Mapping[str, Decider[State]],
        shard: int,
        shard_count: int,
        limits: BusLimits,
        heard: Heard | None = None,
    ) -> None:
        self._store = store
        self._shard = shard
        self._shard_count = shard_count
        self._limits = limits
        self.states = StateCache(
            store,
            deciders,
            shard,
            kept_max=limits.aggregates_max,
            snapshot_every=limits.snapshot_every,
            outage_max_s=limits.outage_max_s,
            heard=heard,
        )
        self._decisions = DecisionMaker(deciders, self.states, limits.batch_max)
        self._appender = Appender(store, shard, shard_count, limits.outage_max_s)
        self.proof = WriteProof(lambda: store.prove(shard), lambda: self._appender.latest)
        self._results = Results(store, shard, limits.outage_max_s)
        self.queue: deque[Submission] = deque()
        self._batch = Batch()
        self.flight: Batch | None = None
        self._append_task: asyncio.Task[Landing] | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._looks: set[asyncio.Task[None]] = set()
        self.commands_total = 0
        self.conflicts_total = 0

    @property
    def commits_total(self) -> int:
        return self._appender.commits_total

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._is_stopping

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"bus-{self._shard}")

    async def stop(self) -> None:
        """Take no more, answer everything there is, end."""
        self._is_stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        for look in self._looks:
            look.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)
        await self.proof.stop()
        await self._results.finish()
        await self.states.finish()

    def submit(
        self, command: Command, key: AggregateKey, metadata: Metadata, expected_sequence: int | None
    ) -> asyncio.Future[CommandResult]:
        if self._is_stopping:
            raise Overloaded("the engine is stopping")
        if len(self.queue) >= self._limits.queue_max:
            raise Overloaded(f"{self._limits.queue_max} commands are waiting already")
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self.queue.append(Submission(command, key, metadata, expected_sequence, future))
        self._wake.set()
        return future

    def look(self, call: Callable[[], Awaitable[object]]) -> None:
        """Have the store look at its log, beside everything else."""
        task = asyncio.create_task(self._look(call), name=f"look-{self._shard}")
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look(self, call: Callable[[], Awaitable[object]]) -> None:
        with suppress(FoldbookError):  # The next append meets it too.
            await call()
        self._wake.set()

    def look_for_another_run(self) -> None:
        """Somebody else has lost a connection."""
        if not self._looks:
            self.look(lambda: self._store.ready(self._shard, self._shard_count))

    # -- the loop ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Serve until stopped. If anything breaks, those who wait get an error and the bus starts afresh: what it holds
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
            if self.states.is_overtaken:
                self._begin_run()
            try:
                await self._decisions.fill(self._batch, self.flight, self.queue)
            except (StoreUnavailable, LogMismatch) as error:
                _fail_all(error, self.queue)
                self.queue.clear()
            if self.states.is_overtaken:
                continue
            if self._append_task is not None and self._append_task.done():
                self._land(self._append_task.result())
            elif self._append_task is None and self._batch.submissions:
                self._send()
            elif self._is_stopping and self._append_task is None and not self.queue:
                return
            else:
                await self._wake.wait()

    def _begin_run(self) -> None:
        """The server is another one: what is decided and not sent is decided again, on what that server has. What is in
        flight comes back as ``Overtaken``."""
        self.states.begin_run()
        self.queue.extendleft(reversed(self._batch.submissions))
        self._batch = Batch()

    def _send(self) -> None:
        # A task, even for a single command: without one it costs 10 us less, and nothing can be decided meanwhile.
        self.flight, self._batch = self._batch, Batch()
        self._append_task = asyncio.create_task(self._appender.append(self.flight))
        self._append_task.add_done_callback(lambda _: self._wake.set())

    def _land(self, landing: Landing) -> None:
        """Take over what was appended, then tell the senders. The database comes first: what is ready is sent next,
        before anybody is told."""
        landed, self.flight, self._append_task = self.flight, None, None
        assert landed is not None
        self._batch = self._after_conflicts(landed, landing, self._batch)
        if landing.outage is not None:
            _fail_all(landing.outage, (*self._batch.submissions, *self.queue))
            self.queue.clear()
            self.states.go_back(self._batch.after)
            self._batch = Batch()
        if self._batch.submissions:
            self._send()
        decided = list(zip(landed.submissions, landed.proposals, landing.verdicts, strict=True))
        self.commands_total += sum(isinstance(v, Verdict) and v.fate is Fate.APPENDED for _, _, v in decided)
        self._results.tell(decided, is_resent=landing.is_resent)
        self.states.evict()

    def _after_conflicts(self, landed: Batch, landing: Landing, batch: Batch) -> Batch:
        """Take over what was appended; what rests on anything else goes back to the queue. Returns the next batch."""
        broken: dict[AggregateKey, int | None] = {}
        again: list[Submission] = []
        for submission, proposal, verdict in zip(landed.submissions, landed.proposals, landing.verdicts, strict=True):
            key = submission.aggregate_key
            if isinstance(verdict, Exception):
                broken.setdefault(key, None)
                if isinstance(verdict, Overtaken):
                    again.append(submission)
                    submission.attempts += 1
                    submission.doubtful_sequence = proposal.last_sequence if landing.is_resent else None
            elif verdict.fate is Fate.CONFLICT:
                broken[key] = max(broken.get(key) or 0, verdict.sequence)
                again.append(submission)
                submission.attempts += 1
                submission.is_subject_taken = proposal.absent_subject is not None
            elif verdict.fate is Fate.DUPLICATE and proposal.events:
                broken[key] = max(broken.get(key) or 0, verdict.sequence)
        if landed.run == self.states.run and self.states.store(landed.after, broken):
            logger.error("the log of shard %d has less than it had: everything cached is checked", self._shard)
            self.look(self._store.check)
        if broken:
            self.conflicts_total += len(again)
            again += [submission for submission in batch.submissions if submission.aggregate_key in broken]
            batch = batch.without(broken)
            for submission in again:
                if submission.attempts > self._limits.attempts_max:
                    submission.fail(Overloaded("other writers kept changing this aggregate"))
            self.queue.extendleft(reversed([submission for submission in again if not submission.future.done()]))
            self._wake.set()
        return batch

    async def _begin_afresh(self, error: Exception) -> None:
        if self._append_task is not None:
            await asyncio.wait([self._append_task])
        flying = self.flight.submissions if self.flight is not None else []
        broke = StoreUnavailable(f"the command bus broke: {error}", in_doubt=True)
        _fail_all(broke, (*flying, *self._batch.submissions, *self.queue))
        self.queue.clear()
        self.states.clear()
        self._batch, self.flight, self._append_task = Batch(), None, None
        await asyncio.sleep(_FRESH_START_PAUSE_S)


def _fail_all(error: BaseException, submissions: Iterable[Submission]) -> None:
    for submission in submissions:
        submission.fail(error)
