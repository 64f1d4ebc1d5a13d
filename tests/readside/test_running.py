"""Projectors keep the read tables equal to the log, through each of the faults they must survive."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from foldbook.eventstore.readers.definitions import Definition
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.migrations import migrate
from tests.readside.histories import Happening, book_created, write, write_book, write_many
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

ROUND = "%projection_round%"


@contextmanager
def projector(dsn: str, *rebuilds: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.readside.projector", dsn, *rebuilds]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_what_is_written_while_projectors_run_is_read(database: str) -> None:
    with connected(database) as connection:
        write_many(connection, 50)
        async with projecting(database):
            await caught_up(database)
            write(connection, [book_created("bob/kraken/live")])
            await caught_up(database)
            assert connection.execute("select sequence from read.order_books where user_name = 'bob'").fetchone() == (
                1,
            )
    await assert_equal_to_fresh_folds(database)


async def test_two_processes_with_the_same_projections_apply_every_event_once(database: str) -> None:
    with connected(database) as connection:
        async with projecting(database), projecting(database):
            with projector(database):
                for _ in range(40):
                    write_book(connection)
                    await asyncio.sleep(0)
                await caught_up(database)
    await assert_equal_to_fresh_folds(database)


async def test_a_projector_killed_inside_a_round_leaves_nothing_half_done(database: str) -> None:
    with connected(database) as connection, connected(database) as other:
        async with projecting(database):
            write_many(connection, 50)
            await caught_up(database)
        before = (await status_of(database, "orders")).checkpoint
        with projector(database) as process, other.transaction():
            other.execute("lock table read.orders in share mode")
            write_book(connection)
            await waiting_for_a_lock(database, ROUND)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert (await status_of(database, "orders")).checkpoint == before
        async with projecting(database):
            await caught_up(database)
    await assert_equal_to_fresh_folds(database)


async def test_a_round_whose_backend_is_terminated_is_undone_and_done_again(database: str) -> None:
    with connected(database) as connection, connected(database) as other:
        async with projecting(database):
            write_many(connection, 50)
            await caught_up(database)
            with other.transaction():
                other.execute("lock table read.orders in share mode")
                write_book(connection)
                backend = await waiting_for_a_lock(database, ROUND)
                connection.execute("select pg_terminate_backend(%s, 10000)", [backend])
                assert (await status_of(database, "orders")).lag > 0
            await caught_up(database)
    await assert_equal_to_fresh_folds(database)


async def test_a_terminated_listener_comes_back_and_nothing_is_missed(database: str) -> None:
    with connected(database) as connection:
        async with projecting(database) as runner:
            write_many(connection, 50)
            await caught_up(database)
            listener = runner._listener
            first = listener.backend_pid
            connection.execute("select pg_terminate_backend(%s, 10000)", [first])
            write_book(connection)
            await caught_up(database)

            async def is_back() -> bool:
                return listener.is_connected and listener.backend_pid != first

            await until(is_back)
            write_book(connection)
            await caught_up(database)


async def test_without_any_notification_the_poll_finds_what_was_written(database: str) -> None:
    with connected(database) as connection:
        async with projecting(database) as runner:
            # The listener's connection is a hint, too, and the first round finds whatever is there.
            write_book(connection)
            await caught_up(database)
            await runner._listener.stop()
            # A hint from before may still find the first of these; the poll alone finds the second.
            for _ in range(2):
                write_book(connection)
                await caught_up(database)


async def test_a_poison_event_stops_only_the_projection_that_fails_on_it(database: str) -> None:
    with connected(database) as connection:
        head = write_many(connection, 50)
        account = "user-1/binance/simulated"
        names = {"order_id": "never-created", "strategy_id": "s", "symbol": "BTCUSDT", "side": "BUY"}
        state = {"quantity": "2", "limit_price": "100", "working_state": "NEW", "leaves_qty": "2"}
        write(connection, [Happening(account, "OrderAccepted", names | state)])
        write_book(connection)
        async with projecting(database):
            await caught_up(database, ["fills"])

            async def is_tried_again() -> bool:
                error = (await status_of(database, "orders")).error
                return error is not None and error.attempts > 1

            await until(is_tried_again)
            status = await status_of(database, "orders")
            assert status.state == "failed"
            assert status.checkpoint == head, "everything before the event is folded in"
            assert status.error is not None
            assert status.error.position == head + 1
            assert status.error.sqlstate == "FB010"
            assert "never-created" not in status.error.message
            assert (await status_of(database, "fills")).state == "live"

            # Only a forger can remove an event; here it shows that the projection continues by itself.
            connection.execute("alter table eventstore.events disable trigger refuse_change")
            connection.execute(
                "update eventstore.events set subject = 'order-1', payload = payload || '{\"order_id\": \"order-1\"}'"
                " where position = %s",
                [head + 1],
            )
            await caught_up(database)
            status = await status_of(database, "orders")
            assert (status.state, status.error) == ("live", None)
    await assert_equal_to_fresh_folds(database)


async def test_a_changed_definition_rebuilds_itself_while_the_old_tables_serve(database: str) -> None:
    with connected(database) as connection, connected(database) as reader:
        write_many(connection, 50)
        async with projecting(database):
            await caught_up(database)
        fills = next(d for d in DEFINITIONS if d.name == "fills")
        wider = fills.sql.replace("fee_currency text,", "fee_currency text,\n    notional numeric not null,", 1)
        wider = wider.replace(
            "e.payload ->> 'fee_currency',",
            "e.payload ->> 'fee_currency', (e.payload ->> 'last_qty')::numeric * (e.payload ->> 'last_px')::numeric,",
            1,
        )
        changed = [Definition.parse("fills", wider), *(d for d in DEFINITIONS if d.name != "fills")]
        with reader.transaction():
            before = reader.execute("select count(*) from read.fills").fetchone()
            async with projecting(database, changed):
                # The reader above keeps the old table; the rebuild waits for it, and the old table goes on serving.
                await waiting_for_the_swap(database)
                write_book(connection)
                await caught_up(database)
                with connected(database) as third:
                    row = third.execute("select count(*) from read.fills").fetchone()
                    assert row is not None and before is not None and row[0] == before[0] + 5
                made_by = (await status_of(database, "fills")).definition_hash
                reader.execute("commit; begin")

                async def is_swapped() -> bool:
                    return (await status_of(database, "fills")).definition_hash != made_by

                await until(is_swapped)
                await caught_up(database)
        assert connection.execute("select sum(notional) > 0 from read.fills").fetchone() == (True,)
        async with administering(database, changed) as admin:
            assert (await admin.verify("fills")).equal


async def waiting_for_the_swap(dsn: str) -> None:
    await waiting_for_a_lock(dsn, "%projection_swap%")


async def test_a_restarted_database_is_found_again(own_postgres: EmbeddedPostgres) -> None:
    dsn = own_postgres.dsn
    with connected(dsn) as connection:
        write_many(connection, 50)
    async with projecting(dsn):
        await caught_up(dsn)
        own_postgres.stop()
        own_postgres.start()
        with connected(dsn) as connection:
            write_book(connection)
        await caught_up(dsn)
    await assert_equal_to_fresh_folds(dsn)


async def test_each_shard_has_its_own_checkpoint(empty_database: str) -> None:
    migrate(empty_database, shard_count=2)
    with connected(empty_database) as connection:
        head = write_many(connection, 20)
        connection.execute(
            "insert into eventstore.events"
            " select 1, position, aggregate_type, 'x' || aggregate_id, sequence, type, 1, subject, gen_random_uuid(),"
            " payload, '{}', occurred_at, now(), '' from eventstore.events where position <= 40"
        )
        connection.execute("insert into eventstore.commits select 1, 1, 1, 40, now(), '', ''")
        async with projecting(empty_database):
            await caught_up(empty_database)
        async with administering(empty_database) as admin:
            assert {(s.shard, s.checkpoint) for s in await admin.status("orders")} == {(0, head), (1, 40)}
            await admin.rebuild("orders")
    await assert_equal_to_fresh_folds(empty_database)
