"""Two engines on one log, as a machine that Hypothesis drives through whatever can happen to them.

Every step is a real one, on a real database: commands alone and in bursts, retries, conditions that fail, projections
folded, rebuilt and reset while commands go on, snapshots deleted, engines restarted, crashed and cut off.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from foldbook.errors import IdempotencyConflict, Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Event
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.runner import LiveRounds
from foldbook.eventstore.specification import Specification
from foldbook.postgres.connection import connect
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import BookCommand
from tests.builders import cancel, open_account, place, report, trade
from tests.conftest import Postgres
from tests.proof.soundness import Outcome, assert_gapless, assert_recorded, assert_sealed, recorded
from tests.readside.projecting import NAMES, administering, connected, waiting_for_a_lock

T = TypeVar("T")

Answer = CommandResult | str
"""What a caller was told; a refusal by its code."""
Job = tuple[int, BookCommand]
"""A command for one of the engines."""

LIMITS = BusLimits(snapshot_every=5, outage_max_s=60)
ENGINES = st.integers(0, 1)
PICKS = st.integers(0, 1000)
"""Of what there is by then."""
PROJECTIONS = st.sampled_from(NAMES)
ACCOUNTS = st.sampled_from(["alice/binance/simulated", "bob/kraken/live"])
ORDER_IDS = st.sampled_from(["o-1", "o-2", "o-3", "o-4"])
AMOUNTS = st.decimals("0.5", "3", places=1).map(str)
COMMANDS: st.SearchStrategy[BookCommand] = st.one_of(
    st.builds(place, ORDER_IDS, ACCOUNTS, AMOUNTS),
    st.builds(lambda n, qty, id_, account: trade(f"e-{n}", qty, order_id=id_, account=account),
              st.integers(0, 9), AMOUNTS, ORDER_IDS, ACCOUNTS),
    st.builds(report, st.sampled_from(["NEW", "CANCELED", "REJECTED"]), ORDER_IDS, ACCOUNTS),
    st.builds(cancel, ORDER_IDS, ACCOUNTS),
    st.builds(open_account, ACCOUNTS),
)  # fmt: skip
BURSTS = st.lists(st.tuples(ENGINES, COMMANDS), min_size=1, max_size=12)


def drive(server: Postgres, template: str, *, runs: int, steps: int) -> None:
    """``runs`` times from an empty log, each time some ``steps`` steps that Hypothesis chooses."""

    class Driven(TwoEngines):
        def __init__(self) -> None:
            super().__init__(server, template)

    run_state_machine_as_test(
        Driven,
        settings=settings(
            max_examples=runs, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


class TwoEngines(RuleBasedStateMachine):
    """``server``: where each run makes a database of its own from ``template``."""

    def __init__(self, server: Postgres, template: str) -> None:
        super().__init__()
        self._server = server
        self._dsn = server.create_database(template)
        self._engine_dsn = as_role(self._dsn, ENGINE)
        self._loop = asyncio.Runner()
        self._sent: list[BookCommand] = []
        self._answers: dict[UUID, Answer] = {}
        self._stores: list[PostgresStore] = []
        self._engines: list[CommandBus] = []
        self._abandoned: list[asyncio.Future[CommandResult]] = []
        self._run(self._begin())

    def teardown(self) -> None:
        try:
            self._run(self._finish())
            self._check_all()
        finally:
            self._loop.close()
            self._server.drop_database(self._dsn)

    # -- what happens --------------------------------------------------------------------------------------------

    @initialize()
    def open_the_first_account(self) -> None:
        self._run(self._ask((0, open_account("alice/binance/simulated"))))

    @rule(engine=ENGINES, command=COMMANDS)
    def a_command(self, engine: int, command: BookCommand) -> None:
        self._run(self._ask((engine, command)))

    @rule(burst=BURSTS)
    def a_burst_on_both_engines(self, burst: list[Job]) -> None:
        self._run(self._ask(*burst))

    @rule(engine=ENGINES, command=COMMANDS, expected=st.integers(0, 30))
    def a_conditional_command(self, engine: int, command: BookCommand, expected: int) -> None:
        answer = self._run(self._ask_one((engine, command), expected))
        if isinstance(answer, CommandResult) and not answer.replayed:
            assert answer.sequence == expected + len(answer.events)

    @rule(engine=ENGINES, pick=PICKS)
    def a_retry(self, engine: int, pick: int) -> None:
        self._run(self._ask((engine, self._sent[pick % len(self._sent)])))

    @rule(engine=ENGINES, pick=PICKS)
    def a_used_command_id_with_other_content(self, engine: int, pick: int) -> None:
        answered = [command for command in self._sent if command.command_id in self._answers]
        known = answered[pick % len(answered)]
        other = place("another", known.account, command_id=known.command_id)
        try:
            self._run(self._engines[engine].execute(other))
        except IdempotencyConflict:
            return
        raise AssertionError("it was taken for the first one")

    @rule(name=PROJECTIONS, limit=st.integers(1, 10))
    def a_round_of_a_projection(self, name: str, limit: int) -> None:
        self._run(self._project(name, limit))

    @rule(name=PROJECTIONS, kind=st.sampled_from(["rebuild", "reset"]), burst=BURSTS)
    def a_projection_made_anew_meanwhile(self, name: str, kind: str, burst: list[Job]) -> None:
        self._run(self._make_anew(name, kind, burst))

    @rule()
    def all_snapshots_deleted(self) -> None:
        with connected(self._dsn) as connection:
            connection.execute("delete from eventstore.snapshots")

    @rule(engine=ENGINES)
    def an_engine_restarted(self, engine: int) -> None:
        self._run(self._restart(engine))

    @rule(burst=BURSTS, moment=st.sampled_from(["queued", "in flight", "in doubt"]))
    def both_engines_crash(self, burst: list[Job], moment: str) -> None:
        self._run(self._crash(burst, moment))

    @rule(burst=BURSTS)
    def all_connections_cut(self, burst: list[Job]) -> None:
        self._run(self._cut(burst))

    @invariant()
    def the_log_has_no_hole(self) -> None:
        with connected(self._dsn) as connection:
            assert_gapless(connection)

    # -- how ------------------------------------------------------------------------------------------------------

    def _run(self, happening: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(happening)

    async def _begin(self) -> None:
        self._stores = [PostgresStore(self._engine_dsn) for _ in range(2)]
        self._engines = [CommandBus(store, ORDER_BOOK, limits=LIMITS) for store in self._stores]
        for engine in self._engines:
            await engine.start()

    async def _finish(self) -> None:
        for engine, store in zip(self._engines, self._stores, strict=True):
            await engine.stop()
            await store.close()

    async def _ask(self, *jobs: Job) -> None:
        await asyncio.gather(*map(self._ask_one, jobs))

    async def _ask_one(self, job: Job, expected_sequence: int | None = None) -> Answer:
        """Every command is answered; one that was answered before, as it was then."""
        engine, command = job
        if command not in self._sent:
            self._sent.append(command)
        answer: Answer
        try:
            answer = await self._engines[engine].execute(command, expected_sequence=expected_sequence)
        except Refusal as refusal:
            answer = refusal.code
        first = self._answers.setdefault(command.command_id, answer)
        if first is not answer:
            assert _as_replayed(first) == answer
        return answer

    async def _project(self, name: str, limit: int) -> None:
        connection = await connect(self._engine_dsn)
        try:
            await connection.fetchrow("select * from eventstore.projection_round('live', $1, 0, $2)", name, limit)
            if limit == 10:
                await LiveRounds(name, 0)(connection)
        finally:
            await connection.close()

    async def _make_anew(self, name: str, kind: str, burst: Sequence[Job]) -> None:
        async with administering(self._engine_dsn) as admin:
            work = admin.rebuild(name) if kind == "rebuild" else admin.reset(name)
            await asyncio.gather(work, self._ask(*burst), self._project(name, 10))

    async def _restart(self, engine: int) -> None:
        await self._engines[engine].stop()
        self._engines[engine] = CommandBus(self._stores[engine], ORDER_BOOK, limits=LIMITS)
        await self._engines[engine].start()

    async def _crash(self, burst: Sequence[Job], moment: str) -> None:
        """Nobody gets an answer. ``in doubt``: an append was sent, and succeeds after its engine is gone."""
        async with self._held_log(is_held=moment == "in doubt"):
            self._submit(burst)
            if moment == "in doubt":
                await waiting_for_a_lock(self._dsn, "%eventstore.append%")
            elif moment == "in flight":
                while not any(engine.in_flight for engine in self._engines):
                    await asyncio.sleep(0)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for store in self._stores:
                await store.close()
        await self._begin()

    def _submit(self, burst: Sequence[Job]) -> None:
        for engine, command in burst:
            self._sent.append(command)
            self._abandoned.append(self._engines[engine].submit(command))

    async def _cut(self, burst: Sequence[Job]) -> None:
        async with self._held_log() as holder:
            asked = asyncio.create_task(self._ask(*burst))
            await waiting_for_a_lock(self._dsn, "%eventstore.append%")
            await holder.execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        await asked

    @asynccontextmanager
    async def _held_log(self, *, is_held: bool = True) -> AsyncIterator[asyncpg.Connection[Any]]:
        """Nobody appends meanwhile."""
        connection = await connect(self._dsn)
        try:
            if is_held:
                await connection.execute("begin; select from eventstore.shards where shard = 0 for no key update")
            yield connection
        finally:
            await connection.close()

    # -- what must hold in the end ----------------------------------------------------------------------------------

    def _check_all(self) -> None:
        with connected(self._dsn) as connection:
            assert_gapless(connection)
            assert_sealed(connection)
            found = recorded(connection)
        assert found.keys() <= {command.command_id for command in self._sent}
        assert_recorded({id_: _outcome(id_, answer) for id_, answer in self._answers.items()}, found)
        self._run(self._check_decisions())
        self._run(self._check_read_tables())

    async def _check_decisions(self) -> None:
        """Each command in the log led to what the decider says, on the events before it."""
        commands = {command.command_id: command for command in self._sent}
        histories: dict[str, list[Event]] = defaultdict(list)
        due: list[Event] = []
        store = PostgresStore(self._dsn)
        log = await store.read_log(0, 0, 1_000_000)
        await store.close()
        for before, event in zip([None, *log], log, strict=False):
            history = histories[event.aggregate_id]
            if before is None or before.command_id != event.command_id:
                assert due == []
                due = _decide(commands[event.command_id], history)
            fact = ORDER_BOOK.event_types.decode(event.type, event.schema_version, event.payload)
            assert fact == due.pop(0)
            history.append(fact)
        assert due == []

    async def _check_read_tables(self) -> None:
        async with administering(self._engine_dsn) as admin:
            for name in NAMES:
                found = await admin.verify(name)
                assert found.equal, f"{name}: {bytes(found.differences).decode()}"
                await self._project(name, 10)
                assert (await admin.verify(name)).equal


def _decide(command: BookCommand, history: Sequence[Event]) -> list[Event]:
    return list(Specification(ORDER_BOOK, tuple(history)).decide(command))


def _as_replayed(answer: Answer) -> Answer:
    return answer if isinstance(answer, str) else msgspec.structs.replace(answer, replayed=True)


def _outcome(command_id: UUID, answer: Answer) -> Outcome | None:
    if isinstance(answer, str):
        return answer
    is_its_own = answer.command_id == command_id
    return (answer.position, answer.sequence) if is_its_own else None
