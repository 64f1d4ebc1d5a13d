"""A database is migrated as a whole, twice without harm, and only by a program that fits it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from foldbook.audit.verify import verify
from foldbook.errors import LogMismatch
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import Fate
from foldbook.postgres.code import in_order_of_need
from foldbook.postgres.migrations import MigrationError, migrate
from foldbook.resources import ROOT
from tests.builders import book_created, open_account
from tests.eventstore.test_store_contract import propose


def one(dsn: str, question: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]


def test_a_second_migration_changes_nothing(empty_database: str) -> None:
    migrate(empty_database, shard_count=3)
    log_id = one(empty_database, "select log_id from eventstore.log_info")
    applied = one(empty_database, "select max(applied_at) from eventstore.code")

    migrate(empty_database, shard_count=3)

    assert one(empty_database, "select log_id from eventstore.log_info") == log_id
    assert one(empty_database, "select max(applied_at) from eventstore.code") == applied


def test_two_migrations_at_once_take_turns(empty_database: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: migrate(empty_database, shard_count=1), range(2)))
    assert one(empty_database, "select count(*) from eventstore.log_info") == 1


def test_the_number_of_shards_is_fixed(database: str) -> None:
    with pytest.raises(LogMismatch, match="FOLDBOOK_SHARDS=1"):
        migrate(database, shard_count=2)


async def test_a_command_of_before_an_upgrade_is_known_after_it(database: str) -> None:
    """The shape of 0008, in which a command's id was unique within the shard."""
    opened = propose(open_account(), (book_created(),), 0)
    store = PostgresStore(database)
    await store.append(0, [opened])
    with psycopg.connect(database) as connection:
        connection.execute(
            "alter table eventstore.commands drop constraint commands_pkey, add primary key (shard, command_id)"
        )
        connection.execute("update eventstore.alembic_version set version_num = '0008'")
    migrate(database, shard_count=1)

    bob = "bob/binance/simulated"
    other = propose(open_account(bob, command_id=opened.command.command_id), (book_created(bob),), 0)
    assert [verdict.fate for verdict in await store.append(0, [opened, other])] == [Fate.DUPLICATE, Fate.APPENDED]
    await store.close()
    assert (await verify(database)).ok


def test_changed_code_is_applied_again(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            "update eventstore.code set sha256 = 'old' where path = 'sql/eventstore/log/command_results.sql'"
        )
        connection.execute("drop function eventstore.command_results")
    migrate(database, shard_count=1)
    assert one(database, "select count(*) from pg_proc where proname = 'command_results'") == 1
    assert one(database, "select count(*) from eventstore.code where sha256 = 'old'") == 0


def test_a_function_whose_result_changed_is_replaced(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("update eventstore.code set sha256 = 'old'")
        connection.execute("drop function audit.fills_of_position")
        connection.execute(
            "create function audit.fills_of_position(p_account text, p_symbol text) returns integer return 1"
        )
        connection.execute("create function audit.of_a_file_that_is_gone() returns integer return 1")
    migrate(database, shard_count=1)
    assert one(database, "select count(*) from audit.fills_of_position('a/b/live', 'X')") == 0
    assert one(database, "select to_regproc('audit.of_a_file_that_is_gone') is null")


def test_what_others_made_of_our_views_is_never_dropped(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("create view public.mine as select type from audit.command_log")
        connection.execute("update eventstore.code set sha256 = 'old'")
    with pytest.raises(MigrationError, match="mine") as refused:
        migrate(database, shard_count=1)
    cause = refused.value.__cause__
    assert isinstance(cause, psycopg.Error)
    assert cause.sqlstate == "FB005"
    assert one(database, "select count(*) from public.mine") == 0
    with psycopg.connect(database) as connection:
        connection.execute("drop view public.mine")
    migrate(database, shard_count=1)


def test_a_database_of_a_newer_program_is_left_alone(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("update eventstore.alembic_version set version_num = '9999'")
    with pytest.raises(LogMismatch, match="newer Foldbook"):
        migrate(database, shard_count=1)


GHOST = """
create table ghosts (shard integer);
create function project_ghost(p_shard integer, p_from bigint, p_to bigint) returns void
language plpgsql as $$ begin end $$;
"""


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_log_of_an_earlier_shape_is_refused_and_left_alone(database: str, revision: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("update eventstore.alembic_version set version_num = %s", [revision])
        connection.execute("update eventstore.code set sha256 = 'old'")
    with pytest.raises(LogMismatch, match=r"before aggregates had types.*start over"):
        migrate(database, shard_count=1)
    assert one(database, "select version_num from eventstore.alembic_version") == revision
    assert one(database, "select count(*) from eventstore.code where sha256 <> 'old'") == 0


def test_a_projection_whose_file_is_gone_goes_with_it(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("select eventstore.projection_install('ghost', %s, '{order_book}')", [GHOST])
    assert one(database, "select count(*) from eventstore.subscriptions where name = 'ghost'") == 1
    migrate(database, shard_count=1)
    assert one(database, "select to_regclass('read.ghosts') is null and to_regproc('read.project_ghost') is null")
    for table in ("projections", "subscriptions", "projection_runs"):
        assert one(database, f"select count(*) from eventstore.{table} where name = 'ghost'") == 0


def test_what_a_file_needs_is_applied_before_it() -> None:
    folder = ROOT / "sql" / "eventstore"
    files = {
        folder / "a.sql": b"create view eventstore.a as select eventstore.c(1)",
        folder / "b.sql": b"create function eventstore.b() ... -- no needs, says eventstore.b",
        folder / "c.sql": b"create function eventstore.c(integer) ... select eventstore.b()",
    }
    order = [path.stem for path in in_order_of_need(files)]
    assert order.index("b") < order.index("c") < order.index("a")
