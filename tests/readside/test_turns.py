"""One reset, rebuild or verification of a projection at a time, by a lock that nobody else may take."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

import foldbook.eventstore.readers.copies
from foldbook.errors import ProjectionError
from foldbook.postgres.roles import AUDITOR, as_role
from tests.audit.conftest import as_superuser
from tests.conftest import Postgres
from tests.readside.histories import write_many
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
)
from tests.waiting import until

TURN = "select pid from pg_locks where mode = 'ExclusiveLock' and relation = 'input_orders.turn'::regclass"


@contextmanager
def reading(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A reader in whose way the last step of a rebuild stands."""
    with connected(dsn) as reader, reader.transaction():
        reader.execute("select count(*) from read.orders")
        yield reader


async def test_a_run_holds_back_no_vacuum_while_it_lasts(database: str) -> None:
    async with projecting(database), administering(database) as admin:
        with reading(database), connected(database) as connection:
            run = await admin.start_rebuild("orders")
            await waiting_for_a_lock(database, "%projection_swap%")
            found = connection.execute(
                f"select state, backend_xid, backend_xmin from pg_stat_activity where pid = ({TURN})"
            ).fetchall()
            assert found == [("idle in transaction", None, None)]
        await run
        await admin.rebuild("orders")  # The turn was given back when the first one was over.


async def test_a_run_whose_turn_is_lost_changes_nothing(database: str) -> None:
    async with projecting(database), administering(database) as admin:
        with connected(database) as connection:
            write_many(connection, 20)
            await caught_up(database)
            before = connection.execute("select installed_at from eventstore.projections where name = 'orders'")
            (installed_at,) = before.fetchall()
            with reading(database):
                run = await admin.start_rebuild("orders")
                await waiting_for_a_lock(database, "%projection_swap%")
                connection.execute(f"select pg_terminate_backend(({TURN}))".encode())
                with pytest.raises(ProjectionError, match="its turn was lost"):
                    await run
            after = connection.execute("select installed_at from eventstore.projections where name = 'orders'")
            assert after.fetchall() == [installed_at]
        status = await status_of(database, "orders")
        assert status.run is not None and status.run.state == "failed"
        await admin.rebuild("orders")
    await assert_equal_to_fresh_folds(database, ["orders"])


@pytest.mark.parametrize(
    "step",
    [
        "select eventstore.projection_swap('orders', %(run)s, '{order_book}')",
        "select eventstore.projection_reset('orders', %(run)s)",
        "select eventstore.projection_finish('orders', %(run)s)",
        "select eventstore.projection_filled('rebuild', 'orders', %(run)s, 0, 5)",
        "select eventstore.projection_apply('rebuild', 'orders', 0, 0, 5, %(run)s)",
        "select eventstore.projection_defer_indexes('rebuild', 'orders', %(run)s)",
        "select eventstore.projection_build_index('orders', %(run)s, 'create index on rebuild_orders.orders (shard)')",
        "select eventstore.projection_create('rebuild', 'orders', %(sql)s, '{order_book}', %(run)s)",
    ],
)
def test_no_step_of_an_earlier_run_takes_effect(database: str, step: str) -> None:
    (orders,) = [definition for definition in DEFINITIONS if definition.name == "orders"]
    with connected(database) as connection:
        write_many(connection, 5)
        (earlier,) = connection.execute("select eventstore.projection_begin('orders', 'rebuild')").fetchall()[0]
        create = "select eventstore.projection_create('rebuild', 'orders', %s, '{order_book}', %s)"
        (later,) = connection.execute("select eventstore.projection_begin('orders', 'rebuild')").fetchall()[0]
        connection.execute(create, [orders.sql, later])
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(step.encode(), {"run": earlier, "sql": orders.sql})
        assert refused.value.sqlstate == "FB021"
        rows = connection.execute("select count(*) from rebuild_orders.orders").fetchall()
        assert rows == [(0,)]


def test_a_finished_run_is_never_interrupted_in_between(database: str) -> None:
    """The state of a run while another session looks at it between any two of its steps, in each order."""
    with connected(database) as runner, connected(database) as looker:

        def state() -> str:
            row = looker.execute("select run ->> 'state' from eventstore.projection_status('orders')").fetchone()
            assert row is not None
            return str(row[0])

        runner.execute("begin")
        runner.execute("select eventstore.projection_take_turn('orders')")
        looker.execute("select eventstore.projection_begin('orders', 'rebuild')")
        assert state() == "running"
        looker.execute("select eventstore.projection_finish('orders', 1)")
        assert state() == "finished"
        runner.execute("rollback")
        assert state() == "finished"
        looker.execute("select eventstore.projection_begin('orders', 'rebuild')")
        assert state() == "interrupted"


async def test_a_run_that_ends_while_it_is_looked_at_is_finished(database: str) -> None:
    """The look takes its snapshot, and then waits until the run has ended and given back its turn."""
    with connected(database) as looker, connected(database) as other, connected(database) as runner:
        runner.execute("begin")
        runner.execute("select eventstore.projection_take_turn('orders')")
        other.execute("select eventstore.projection_begin('orders', 'rebuild')")
        other.execute("select pg_advisory_lock(7)")
        question = """
            select eventstore.projection_run('orders') ->> 'state'
            from (select pg_advisory_lock(7) offset 0) waited
        """
        asked = asyncio.create_task(asyncio.to_thread(lambda: looker.execute(question.encode()).fetchone()))
        await waiting_for_a_lock(database, "%projection_run(%")
        other.execute("select eventstore.projection_finish('orders', 1)")
        runner.execute("rollback")
        other.execute("select pg_advisory_unlock(7)")
        assert await asked == ("finished",)


async def test_nobody_needs_the_right_to_make_temporary_objects(database: str, postgres: Postgres) -> None:
    with psycopg.connect(as_superuser(postgres, database), autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'revoke temporary on database "{name}" from public'.encode())
        assert connection.execute(
            "select has_database_privilege('foldbook_engine', current_database(), 'temporary')"
        ).fetchone() == (False,)
    with connected(database) as connection:
        write_many(connection, 50)
    engine = as_role(database, "foldbook_engine")
    async with projecting(engine), administering(engine) as admin:
        await caught_up(database)
        for name in NAMES:
            await admin.rebuild(name)
            assert (await admin.verify(name)).equal


async def test_whoever_keeps_the_old_tables_is_named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is the owner's login, which nobody ends."""
    monkeypatch.setattr(foldbook.eventstore.readers.copies, "READERS_PATIENCE_S", 0.0)
    monkeypatch.setattr(foldbook.eventstore.readers.copies, "LOCK_ATTEMPTS_MAX", 2)
    async with administering(database) as admin:
        with reading(database) as reader, pytest.raises(ProjectionError) as failed:
            pid = reader.info.backend_pid
            await admin.rebuild("orders")
        assert f"session {pid} of " in failed.value.detail
        await admin.rebuild("orders")


async def test_an_auditor_cannot_take_the_turn(database: str) -> None:
    with psycopg.connect(as_role(database, AUDITOR), autocommit=True) as auditor:
        for number in (1178553162, 1178553163, 1178553164):
            auditor.execute("select pg_advisory_lock(%s)", [number])
            auditor.execute("select pg_advisory_lock(%s, hashtext('orders'))", [number])
        with pytest.raises(psycopg.errors.InsufficientPrivilege), auditor.transaction():
            auditor.execute("lock table input_orders.turn in access share mode")
        async with administering(database) as admin:
            await admin.rebuild("orders")
            await admin.reset("orders")
            assert (await admin.verify("orders")).equal


@pytest.mark.parametrize("position", [4, None])
def test_a_checkpoint_does_not_move_back(database: str, position: int | None) -> None:
    with connected(database) as connection:
        move = "select eventstore.subscription_move('orders', 0, %s)"
        connection.execute(move, [5])
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(move, [position])
        assert refused.value.sqlstate == "FB020"
        assert connection.execute("select eventstore.checkpoint(0, 'orders')").fetchone() == (5,)
        connection.execute(move, [5])


def test_a_subscription_that_has_not_begun_does_not_move(database: str) -> None:
    with connected(database) as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute("select eventstore.subscription_move('nobody', 0, 7)")
    assert refused.value.sqlstate == "FB020"


async def test_what_a_dead_process_had_is_free_at_once(database: str) -> None:
    with connected(database) as connection, closing(psycopg.connect(database)) as other:
        other.execute("select eventstore.projection_take_turn('orders')")
        async with administering(database) as admin:
            with pytest.raises(ProjectionError) as busy:
                await admin.rebuild("orders")
            assert busy.value.code == "projection-busy"
            connection.execute("select pg_terminate_backend(%s)", [other.info.backend_pid])

            async def is_free() -> bool:
                return connection.execute("select eventstore.projection_is_taken('orders')").fetchone() == (False,)

            await until(is_free)
            await admin.rebuild("orders")
