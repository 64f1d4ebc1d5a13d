"""Reset, rebuild and verification, while the log grows and others read."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from threading import Event

import asyncpg
import psycopg
import pytest

from foldbook.errors import ProjectionError
from foldbook.eventstore.readers import runner
from foldbook.postgres.urls import with_setting
from foldbook.resources import projection_files
from tests.conftest import Postgres, name_of
from tests.readside.histories import write_book, write_many
from tests.readside.projecting import (
    DEFINITIONS,
    NAMES,
    administering,
    assert_equal_to_fresh_folds,
    caught_up,
    connected,
    projecting,
    status_of,
    waiting_for_a_lock,
    waiting_for_no_lock,
)
from tests.readside.test_running import projector
from tests.waiting import until


@pytest.mark.parametrize("name", NAMES)
async def test_a_rebuild_while_writes_go_on_equals_a_fresh_fold(database: str, name: str) -> None:
    is_done = Event()

    def keep_writing() -> None:
        with connected(database) as writer:
            while not is_done.is_set():
                write_book(writer)

    def keep_reading() -> None:
        with connected(database) as reader:
            while not is_done.is_set():
                for table in ("orders", "order_books", "fills", "positions", "position_entries"):
                    row = reader.execute(f"select count(*) from read.{table}").fetchone()
                    assert row is not None and row[0] > 0, "the old tables serve until the new ones are full"

    with connected(database) as connection:
        write_many(connection, 300)
        async with projecting(database), administering(database) as admin:
            await caught_up(database)
            others = [asyncio.create_task(asyncio.to_thread(work)) for work in (keep_writing, keep_reading)]
            for _ in range(3):
                before = (await status_of(database, name)).checkpoint
                await admin.rebuild(name)
                assert (await status_of(database, name)).checkpoint >= before
                assert (await admin.verify(name)).equal
            is_done.set()
            await asyncio.gather(*others)
            await caught_up(database)
    await assert_equal_to_fresh_folds(database)


@pytest.mark.parametrize("setter", ["options", "database"])
async def test_a_rebuild_folds_every_event_whatever_slice_its_session_was_given(
    postgres: Postgres, database: str, setter: str
) -> None:
    """What is written after the workers have filled the copy is folded by the session that swaps it."""
    dsn = database
    if setter == "options":
        dsn = with_setting(with_setting(database, "foldbook.slices", "2"), "foldbook.slice", "1")
    else:
        with connected(postgres.admin_dsn) as admin_connection:
            for name, value in (("slices", 2), ("slice", 1)):
                statement = f"alter database {name_of(database)} set foldbook.{name} = {value}"
                admin_connection.execute(statement.encode())
    with connected(database) as connection:
        for _ in range(8):
            write_book(connection)
        async with projecting(dsn):
            await caught_up(dsn)
        async with administering(dsn) as admin:
            with connected(database) as reader, reader.transaction():
                reader.execute("select count(*) from read.orders")
                rebuild = await admin.start_rebuild("orders")
                await waiting_for_a_lock(database, "%projection_swap%")
                for _ in range(8):
                    write_book(connection)
                await waiting_for_a_lock(database, "%projection_swap%", is_afresh=True)
            await rebuild
        created = "select count(distinct subject) from eventstore.events where type = 'OrderCreated'"
        counts = connection.execute(f"select (select count(*) from read.orders), ({created})".encode()).fetchone()
        assert counts is not None and counts[0] == counts[1] > 0
    await assert_equal_to_fresh_folds(dsn, ["orders"])


async def test_rebuilt_tables_have_the_indexes_and_keys_of_the_old_ones(database: str) -> None:
    indexes = "select indexname, replace(indexdef, tablename, '') from pg_indexes where schemaname = 'read' order by 1"
    with connected(database) as connection:
        write_many(connection, 20)
        async with projecting(database), administering(database) as admin:
            await caught_up(database)
            before = connection.execute(indexes).fetchall()
            for name in NAMES:
                await admin.rebuild(name)
            assert connection.execute(indexes).fetchall() == before
            key_or_index = re.compile(r"^ *(primary key|unique) \(|^create (unique )?index", re.MULTILINE)
            assert len(before) == sum(len(key_or_index.findall(definition.sql)) for definition in DEFINITIONS)
        left = "select nspname from pg_namespace where nspname ~ '^(rebuild|verify)_'"
        assert connection.execute(left).fetchall() == []


async def test_reset_empties_the_tables_and_replays(database: str) -> None:
    with connected(database) as connection:
        write_many(connection, 100)
        async with projecting(database):
            await caught_up(database)
        connection.execute("update read.orders set quantity = quantity + 1")
        async with administering(database) as admin:
            assert not (await admin.verify("orders")).equal
            await admin.reset("orders")
            status = await status_of(database, "orders")
            assert (status.state, status.lag) == ("live", 0)
            assert status.run is not None and (status.run.state, status.run.events_done) == ("finished", status.head)
    await assert_equal_to_fresh_folds(database)


async def test_verification_names_the_rows_that_were_tampered_with(database: str) -> None:
    with connected(database) as connection:
        write_many(connection, 100)
        async with projecting(database):
            await caught_up(database)
        connection.execute("update read.fills set last_px = last_px + 0.1 where order_id = 'order-4'")
        connection.execute("delete from read.fills where order_id = 'order-5'")
        connection.execute(
            "insert into read.fills select (jsonb_populate_record(f, '{\"shard\": 7}')).* from read.fills f limit 1"
        )
        async with administering(database) as admin:
            found = await admin.verify("fills")
        assert not found.equal
        assert found.rows_different == 3
        differences = json.loads(bytes(found.differences))
        changed, missing, invented = differences
        assert (changed["table"], changed["live"]["last_px"], changed["fresh"]["last_px"]) == ("fills", 100.1, 100)
        assert missing["live"] is None and missing["fresh"]["order_id"] == "order-5"
        assert invented["fresh"] is None and invented["live"]["shard"] == 7


async def test_differences_are_bounded(database: str) -> None:
    with connected(database) as connection:
        write_many(connection, 100)
        async with projecting(database):
            await caught_up(database)
        connection.execute("delete from read.order_books")
        connection.execute("delete from read.orders where order_id like '%7'")
        async with administering(database) as admin:
            found = await admin.verify("orders")
        assert found.rows_different == 20 + 10
        assert len(json.loads(bytes(found.differences))) == 20


async def test_only_one_at_a_time(database: str) -> None:
    with connected(database) as connection, connected(database) as reader:
        write_many(connection, 20)
        async with projecting(database), administering(database) as admin, administering(database) as other:
            await caught_up(database)
            with reader.transaction():
                reader.execute("select count(*) from read.orders")
                rebuild = await admin.start_rebuild("orders")
                await waiting_for_a_lock(database, "%projection_swap%")
                assert (await status_of(database, "orders")).state == "rebuilding"
                for start in (
                    admin.start_rebuild,
                    admin.start_reset,
                    other.start_rebuild,
                    other.start_reset,
                    other.verify,
                ):
                    with pytest.raises(ProjectionError) as refused:
                        await start("orders")
                    assert refused.value.code == "projection-busy"
                await other.rebuild("fills")
            await rebuild
            await other.rebuild("orders")


async def test_an_unknown_projection_is_refused(database: str) -> None:
    async with administering(database) as admin:
        for ask in (admin.start_rebuild, admin.start_reset, admin.verify, admin.status):
            with pytest.raises(ProjectionError) as refused:
                await ask("nonsense")
            assert refused.value.code == "unknown-projection"


async def test_a_swap_that_waits_for_a_reader_keeps_no_other_reader_waiting(database: str) -> None:
    with connected(database) as connection, connected(database) as slow, connected(database) as quick:
        write_many(connection, 20)
        async with projecting(database), administering(database) as admin:
            await caught_up(database)
            with slow.transaction():
                slow.execute("select count(*) from read.orders")
                rebuild = await admin.start_rebuild("orders")
                quick.execute("set lock_timeout = '1s'")
                for _ in range(3):
                    await waiting_for_a_lock(database, "%projection_swap%")
                    quick.execute("select count(*) from read.orders")
                    head = write_book(connection)
                await caught_up(database)
                assert (await status_of(database, "orders")).checkpoint == head
            await rebuild
    await assert_equal_to_fresh_folds(database)


async def test_a_rebuild_whose_process_is_killed_is_begun_again_at_the_next_start(database: str) -> None:
    with connected(database) as connection, connected(database) as reader:
        write_many(connection, 100)
        async with projecting(database):
            await caught_up(database)
        installed = "select installed_at from eventstore.projections where name = 'orders'"
        before = connection.execute(installed).fetchone()
        with reader.transaction():
            reader.execute("select count(*) from read.orders")
            with projector(database, "orders") as process:
                await waiting_for_a_lock(database, "%projection_swap%")
                process.send_signal(signal.SIGKILL)
                process.wait()

            async def is_interrupted() -> bool:
                run = (await status_of(database, "orders")).run
                return run is not None and run.state == "interrupted"

            await until(is_interrupted)
            assert (await status_of(database, "orders")).state == "live"
            await waiting_for_no_lock(database, "%projection_swap%")
        assert connection.execute(installed).fetchone() == before
        async with projecting(database):

            async def is_rebuilt() -> bool:
                run = (await status_of(database, "orders")).run
                return run is not None and run.state == "finished"

            await until(is_rebuilt)
        assert connection.execute(installed).fetchone() != before
    await assert_equal_to_fresh_folds(database)


@pytest.mark.parametrize("is_passing", [True, False])
async def test_a_rebuild_at_the_start_that_fails_for_a_reason_that_passes_is_tried_again(
    database: str, monkeypatch: pytest.MonkeyPatch, is_passing: bool
) -> None:
    monkeypatch.setattr(runner, "REBUILD_PAUSE_S_MIN", 0.1)
    with connected(database) as connection:
        write_many(connection, 20)
        connection.execute("update eventstore.projections set definition_hash = repeat('0', 64) where name = 'orders'")
    tries: list[str] = []
    async with administering(database) as admin:

        async def rebuild(name: str) -> None:
            tries.append(name)
            if len(tries) == 1:
                cause = ConnectionError("lost") if is_passing else asyncpg.DiskFullError("no space left")
                raise ProjectionError("projection-failed", "rebuild of orders failed") from cause
            if len(tries) == 2:
                async with administering(database) as other:
                    # Another process has the turn, and does it.
                    task = await other.start_rebuild(name)
                    with pytest.raises(ProjectionError, match="under way"):
                        await admin.rebuild(name)
                    await task
                raise ProjectionError("projection-busy", "a rebuild is under way")

        running = runner.ProjectionRunner(database, DEFINITIONS, rebuild)
        await running.start()
        try:
            assert running._rebuilds is not None
            async with asyncio.timeout(60):
                await running._rebuilds
        finally:
            await running.stop()
        assert tries == ["orders"] * (2 if is_passing else 1)
        assert (await status_of(database, "orders")).run is not None or not is_passing


async def test_a_rebuild_that_fails_says_so_and_leaves_the_live_tables(database: str) -> None:
    with connected(database) as connection, connected(database) as reader:
        write_many(connection, 100)
        async with projecting(database), administering(database) as admin:
            await caught_up(database)
            with reader.transaction():
                reader.execute("select count(*) from read.orders")
                rebuild = await admin.start_rebuild("orders")
                backend = await waiting_for_a_lock(database, "%projection_swap%")
                connection.execute("select pg_terminate_backend(%s, 10000)", [backend])
                with pytest.raises(ProjectionError) as failed:
                    await rebuild
            assert failed.value.code == "projection-failed"
            write_book(connection)
            await caught_up(database)
            await admin.rebuild("orders")
    await assert_equal_to_fresh_folds(database)


def test_a_projection_whose_file_is_gone_leaves_no_copy_behind(database: str) -> None:
    """A rebuild and a verification of it were interrupted before."""
    others = [path.stem for path in projection_files() if path.stem != "orders"]
    with psycopg.connect(database, autocommit=True) as connection:
        for copy in ("rebuild", "verify"):
            connection.execute(f"create schema {copy}_orders")
            connection.execute(
                "insert into eventstore.subscriptions (name, shard, checkpoint)"
                " values (eventstore.projection_subscription(%s, 'orders'), 0, 1)",
                [copy],
            )
        assert connection.execute("select eventstore.projection_retire(%s)", [others]).fetchall() == [("orders",)]
        left = connection.execute(
            "select nspname from pg_namespace where nspname ~ 'orders$'"
            " union all select name from eventstore.subscriptions where name ~ 'orders$'"
        )
        assert left.fetchall() == []
