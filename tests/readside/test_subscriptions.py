"""What wakes a subscription, and what it does when a round takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from foldbook.errors import ProjectionError
from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.runner import LiveRounds, install_projections
from foldbook.eventstore.readers.subscription import Round, Subscription
from foldbook.postgres.connection import UNREACHABLE, Connection, connect
from foldbook.resources import projection_files
from tests.readside.histories import write_book
from tests.readside.projecting import administering, connected, status_of
from tests.waiting import until

NEVER_S = 3600.0


class Log:
    """Work of a subscription that reads a log which is a number, its head. Counts the rounds."""

    def __init__(self) -> None:
        self.head = 0
        self.checkpoint = 0
        self.rounds = 0
        self.during: Callable[[], None] | None = None

    async def read(self, _connection: Connection) -> Round:
        self.rounds += 1
        begin, self.checkpoint = self.checkpoint, self.head
        if self.during is not None:
            self.during()
        return Round(begin, self.checkpoint, self.checkpoint)

    async def rounds_reach(self, rounds: int) -> None:
        async with asyncio.timeout(10):
            while self.rounds < rounds:
                await asyncio.sleep(0.001)
        for _ in range(20):  # so that a round too many would be seen
            await asyncio.sleep(0.001)
        assert self.rounds == rounds


@asynccontextmanager
async def subscribed(dsn: str, log: Log) -> AsyncIterator[Subscription]:
    """A subscription that has done its first round and never polls."""
    subscription = Subscription("test", 0, log.read, dsn, interval_s=0.0, poll_interval_s=NEVER_S)
    await subscription.start()
    try:
        await log.rounds_reach(1)
        yield subscription
    finally:
        await subscription.stop()


async def test_a_hint_about_what_was_read_wakes_nobody(database: str) -> None:
    log = Log()
    log.head = 5
    async with subscribed(database, log) as subscription:
        for payload in ("0:4", "0:5", "1:99"):
            subscription.hint(payload)
        await log.rounds_reach(1)
        log.head = 6
        subscription.hint("0:6")
        await log.rounds_reach(2)
        assert log.checkpoint == 6


async def test_a_hint_during_a_round_counts_only_if_the_round_did_not_get_there(database: str) -> None:
    log = Log()
    async with subscribed(database, log) as subscription:

        def append_two_and_hint_at(position: int) -> Callable[[], None]:
            def during() -> None:
                log.during = None
                subscription.hint(f"0:{position}")

            return during

        log.head = 2
        log.during = append_two_and_hint_at(2)
        subscription.hint("0:1")
        await log.rounds_reach(2)
        log.head = 4
        log.during = append_two_and_hint_at(5)
        subscription.hint("0:4")
        await log.rounds_reach(4)


async def test_without_a_hint_it_looks_again_after_the_poll_interval(database: str) -> None:
    log = Log()
    subscription = Subscription("test", 0, log.read, database, interval_s=0.0, poll_interval_s=0.05)
    await subscription.start()
    try:
        for head in (1, 2, 3):
            log.head = head
            await until(lambda: log.checkpoint == log.head)
    finally:
        await subscription.stop()
    assert log.rounds >= 3


@pytest.mark.parametrize("payload", [None, "", "nonsense", "0", "0:", "0:x", "x:1", "0:99999999999999999999"])
async def test_a_hint_that_says_nothing_is_a_reason_to_look(database: str, payload: str | None) -> None:
    log = Log()
    async with subscribed(database, log) as subscription:
        subscription.hint(payload)
        await log.rounds_reach(2)


async def test_a_round_beside_a_round_does_nothing_and_waits_for_nothing(database: str) -> None:
    """Two processes have the same projection; one of them is inside a round."""
    with connected(database) as connection:
        session = await connect(database, settings={"statement_timeout": "5s"})
        await install_projections(session, [Definition.read(path) for path in projection_files()])
        head = write_book(connection, orders=3)
        ask = "select from_position, to_position from eventstore.projection_round('live', 'orders', 0, 1000)"
        with connected(database) as other, other.transaction():
            assert other.execute(ask.encode()).fetchall() == [(0, head)]
            assert await session.fetch(ask) == []
        assert [tuple(row) for row in await session.fetch(ask)] == [(head, head)]
        await session.close()


SLOW = """\
-- Aggregate types: order_book
-- Folds: OrderCreated
-- Ignores: nothing

create table slow (shard integer not null, position bigint not null, primary key (position));

create function project_slow(p_shard integer, p_from bigint, p_to bigint) returns void
language plpgsql as $$
begin
    perform pg_sleep(0.02 * (p_to - p_from));
    insert into slow select p_shard, e.position from log e
    where e.shard = p_shard and e.position > p_from and e.position <= p_to;
end
$$;
"""


async def test_a_round_that_takes_too_long_is_halved(database: str) -> None:
    session = await connect(database, settings={"statement_timeout": "300ms"})
    await install_projections(session, [Definition.parse("slow", SLOW)])
    with connected(database) as connection:
        head = [write_book(connection, orders=30) for _ in range(2)][-1]
        rounds, failures = LiveRounds("slow", 0), 0
        while (await status_of(database, "slow")).checkpoint < head:
            try:
                await rounds(session)
            except ProjectionError:
                failures += 1
                assert failures < 50
                status = await status_of(database, "slow")
                assert status.error is not None and status.error.sqlstate == "57014"
                assert status.state == ("slow" if status.error.events > 1 else "failed")
        assert failures > 0
        assert connection.execute("select count(*) from read.slow").fetchone() == (head,)
    assert (await status_of(database, "slow")).error is None
    await session.close()


async def test_an_event_that_alone_takes_too_long_stops_the_projection_and_says_so(database: str) -> None:
    session = await connect(database, settings={"statement_timeout": "200ms"})
    slower = Definition.parse("slow", SLOW.replace("0.02 *", "0.4 *"))
    await install_projections(session, [slower])
    with connected(database) as connection:
        write_book(connection)
    rounds = LiveRounds("slow", 0)

    async def attempts() -> int:
        error = (await status_of(database, "slow")).error
        assert error is None or (error.position, error.sqlstate) == (1, "57014")
        return 0 if error is None or error.events > 1 else error.attempts

    while await attempts() < 2:
        with pytest.raises(ProjectionError, match="took too long"):
            await rounds(session)
    assert (await status_of(database, "slow")).state == "failed"
    await session.execute("set statement_timeout = 0")
    done = await rounds(session)
    assert done is not None and done.to_position == 1
    assert ((await status_of(database, "slow")).state, (await status_of(database, "slow")).error) == ("live", None)
    await session.close()


NEEDY = SLOW.replace("slow", "needy").replace(
    "perform pg_sleep(0.02 * (p_to - p_from));",
    """if p_to - p_from > 8 then
        raise exception 'this round is too large' using errcode = current_setting('test.errcode');
    end if;""",
)


@pytest.mark.parametrize("errcode", ["55P03", "53100", "53200", "53400", "57014", "40P01"])
async def test_a_round_that_needs_more_than_there_is_becomes_smaller(database: str, errcode: str) -> None:
    session = await connect(database, settings={"test.errcode": errcode})
    await install_projections(session, [Definition.parse("needy", NEEDY)])
    with connected(database) as connection:
        head = write_book(connection, orders=20)
        rounds, told = LiveRounds("needy", 0), set()
        while (status := await status_of(database, "needy")).checkpoint < head:
            if status.error is not None:
                told.add((status.state, status.error.sqlstate))
            with suppress(ProjectionError):
                await rounds(session)
        assert told == {("slow", errcode)}
        assert (status.state, status.error) == ("live", None)
        assert connection.execute("select count(*) from read.needy").fetchone() == (head,)
    await session.close()


async def test_no_event_is_skipped_for_a_round_of_many(database: str) -> None:
    session = await connect(database, settings={"test.errcode": "53200"})
    await install_projections(session, [Definition.parse("needy", NEEDY)])
    with connected(database) as connection:
        write_book(connection, orders=20)
    with pytest.raises(ProjectionError, match="took too long"):
        await LiveRounds("needy", 0)(session)
    async with administering(database, [Definition.parse("needy", NEEDY)]) as admin:
        with pytest.raises(ProjectionError, match="takes fewer"):
            await admin.skip("needy", 0, 1, reason="none", actor=None)
    await session.close()


async def test_a_round_that_the_server_breaks_at_becomes_smaller(database: str) -> None:
    """As when the system ends a backend that takes too much memory: the connection is lost, each time."""
    breaking = NEEDY.replace(
        "raise exception 'this round is too large' using errcode = current_setting('test.errcode');",
        "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(60);",
    )
    session = await connect(database)
    await install_projections(session, [Definition.parse("needy", breaking)])
    with connected(database) as connection:
        head = write_book(connection, orders=20)
    rounds, told = LiveRounds("needy", 0), set()
    while (status := await status_of(database, "needy")).checkpoint < head:
        if status.error is not None:
            told.add((status.state, status.error.sqlstate))
        if session.is_closed():
            session = await connect(database)
        with suppress(ProjectionError, *UNREACHABLE):
            await rounds(session)
    assert {state for state, _ in told} == {"slow"}
    await session.close()
