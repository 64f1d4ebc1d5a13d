"""Interleavings of transactions, each forced: the one that must wait is seen waiting before the other goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import product

import asyncpg
import psycopg
import pytest

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.runner import ProjectionRunner
from foldbook.eventstore.store import Fate, Proposal, Verdict
from foldbook.trading.book import ORDER_BOOK
from tests.builders import ACCOUNT, created, open_account, place
from tests.conftest import Postgres
from tests.eventstore.test_store_contract import opened, placed, propose
from tests.proof.soundness import assert_sound, head_of
from tests.readside.projecting import (
    DEFINITIONS,
    administering,
    assert_equal_to_fresh_folds,
    caught_up,
    connected,
    projecting,
    status_of,
    waiting_for_a_lock,
)
from tests.waiting import until

APPEND = "%eventstore.append%"


class SlowWriter:
    """A store whose appends stay open until it is told how they end."""

    def __init__(self, dsn: str) -> None:
        self.store = PostgresStore(dsn)
        self._transaction: asyncpg.transaction.Transaction | None = None

    async def append(self, *proposals: Proposal) -> list[Verdict]:
        writer = await self.store._writer(0)
        self._transaction = writer.connection.transaction()
        await self._transaction.start()
        return await self.store.append(0, proposals)

    async def end(self, how: str) -> None:
        """``commit`` or ``rollback``."""
        assert self._transaction is not None
        await getattr(self._transaction, how)()


@asynccontextmanager
async def slow_writers(dsn: str, count: int) -> AsyncIterator[list[SlowWriter]]:
    writers = [SlowWriter(dsn) for _ in range(count)]
    yield writers
    for writer in writers:
        await writer.store.close()


async def waiting_appends(dsn: str, count: int) -> None:
    """Wait until that many appends wait for the lock of their shard."""

    async def wait() -> bool:
        with connected(dsn) as connection:
            row = connection.execute(
                "select count(distinct l.pid) from pg_locks l join pg_stat_activity a on a.pid = l.pid"
                " where a.datname = current_database() and l.locktype in ('transactionid', 'tuple') and not l.granted"
            ).fetchone()
        return row == (count,)

    await until(wait)


@pytest.mark.parametrize("ends", list(product(("commit", "rollback"), repeat=3)), ids="-".join)
async def test_writers_queue_and_a_rollback_leaves_no_hole(database: str, ends: tuple[str, ...]) -> None:
    reader = PostgresStore(database)
    await reader.append(0, [opened()])
    async with slow_writers(database, len(ends)) as writers:
        appends = []
        for n, writer in enumerate(writers):
            appends.append(asyncio.create_task(writer.append(placed(f"o-{n}", expected=None))))
            if n == 0:
                await appends[0]
            await waiting_appends(database, n)
        written = ["OrderBookCreated"]
        for n, (writer, append, how) in enumerate(zip(writers, appends, ends, strict=True)):
            (verdict,) = await append
            assert (verdict.position, verdict.sequence) == (len(written) + 1, len(written) + 1)
            assert len(await reader.read_log(0, 0, 10)) == len(written), "what is not committed is not read"
            await writer.end(how)
            written += [f"o-{n}"] if how == "commit" else []
            assert [e.subject or e.type for e in await reader.read_log(0, 0, 10)] == written
    await reader.close()
    with connected(database) as connection:
        assert_sound(connection)


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_a_retry_that_overtakes_its_first_attempt_is_done_once(database: str, end: str) -> None:
    reader = PostgresStore(database)
    await reader.append(0, [opened()])
    proposal = placed(expected=1)
    async with slow_writers(database, 2) as (first, second):
        await first.append(proposal)
        retry = asyncio.create_task(second.append(proposal))
        await waiting_appends(database, 1)
        await first.end(end)
        (verdict,) = await retry
        await second.end("commit")
    assert verdict.fate is (Fate.DUPLICATE if end == "commit" else Fate.APPENDED)
    assert verdict.sequence == 2
    assert [e.command_id for e in await reader.read_log(0, 1, 10)] == [proposal.command.command_id]
    await reader.close()
    with connected(database) as connection:
        assert_sound(connection)


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_a_bus_that_waits_for_another_writer_decides_on_what_that_one_left(database: str, end: str) -> None:
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    async with slow_writers(database, 1) as (other,):
        theirs, ours = place("o-1", quantity="1"), place("o-1", quantity="2")
        await other.append(propose(theirs, (created("o-1", "1"),), expected=1))
        answer = bus.submit(ours)
        await waiting_appends(database, 1)
        await other.end(end)
        if end == "rollback":
            assert (await answer).position == 2
        else:
            with pytest.raises(Exception, match="used for another order"):
                await answer
            assert bus.conflicts_total == 1
    assert len(await store.read_log(0, 0, 10)) == 2
    await bus.stop()
    await store.close()
    with connected(database) as connection:
        assert_sound(connection)


@contextmanager
def idle_in_transaction(dsn: str, count: int) -> Iterator[None]:
    """Sessions that began something and forgot it: each holds a snapshot, and every other one has written."""
    with ExitStack() as stack:
        for n in range(count):
            session = stack.enter_context(psycopg.connect(dsn))
            session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            session.execute("select count(*) from eventstore.events")
            if n % 2:
                session.execute("select pg_current_xact_id()")
            stack.callback(session.rollback)
        yield


async def test_forgotten_transactions_delay_no_reader(postgres: Postgres, database: str) -> None:
    # The poll would hide a notification that waits for somebody: it is put off beyond the patience of ``until``.
    other = postgres.create_database()
    store = PostgresStore(database)
    with ExitStack() as forgotten:
        forgotten.callback(postgres.drop_database, other)
        writing = forgotten.enter_context(psycopg.connect(other))
        writing.execute("create table t as select 1 as n")
        forgotten.enter_context(idle_in_transaction(database, 57))
        async with administering(database) as admin:
            runner = ProjectionRunner(database, DEFINITIONS, admin.rebuild, poll_interval_s=3600)
            await runner.start()

            async def listens() -> bool:
                return runner._listener.is_connected

            await until(listens)
            await store.append(0, [opened()])
            for n in range(20):
                await store.append(0, [placed(f"o-{n}", expected=None)])
                await caught_up(database)
            await runner.stop()
        with connected(database) as connection:
            row = connection.execute(
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and state = 'idle in transaction'"
            ).fetchone()
            assert row == (57,), "they were there all the time"
            assert connection.execute("select count(*) from read.orders").fetchone() == (20,)
        assert writing.execute("select n from t").fetchone() == (1,)
    await store.close()
    await assert_equal_to_fresh_folds(database, ["orders"])


async def test_a_rebuild_between_an_open_append_and_a_live_round(database: str) -> None:
    store = PostgresStore(database)
    await store.append(0, [opened(), *(placed(f"o-{n}", expected=None) for n in range(20))])
    with connected(database) as blocker:
        async with projecting(database), administering(database) as admin, slow_writers(database, 1) as (writer,):
            await caught_up(database)
            with blocker.transaction():
                blocker.execute("lock table read.orders in share mode")
                await store.append(0, [placed("seen-by-the-round", expected=None)])
                await waiting_for_a_lock(database, "%projection_round%")
                # The live round is under way, on positions that the rebuild folds too.
                await writer.append(placed("under-way", expected=None))
                rebuild = await admin.start_rebuild("orders")
                await waiting_for_a_lock(database, "%projection_swap%")
                await writer.end("commit")
                # The rebuild has folded up to a head that this append has moved since.
            await rebuild
            await caught_up(database)
            assert (await status_of(database, "orders")).checkpoint == head_of(blocker)[1] == 23
    await store.close()
    await assert_equal_to_fresh_folds(database, ["orders"])
    with connected(database) as connection:
        orders = connection.execute("select count(*) from read.orders where account = %s", [ACCOUNT]).fetchone()
        assert orders == (22,)
        assert_sound(connection)
