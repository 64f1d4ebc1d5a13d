"""The plans of the hot functions, on empty, small and large tables, with and without statistics.

A plan that is good for the tables that it was made on and bad for larger ones is the classic end of a fast insert. Two
guards: what EXPLAIN says about every statement inside the function, and how many rows it really read.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from foldbook.eventstore.postgres_store import APPEND, columns
from foldbook.eventstore.store import Proposal
from foldbook.postgres.connection import connect, set_codecs
from tests.builders import created, place
from tests.conftest import Postgres, name_of

Connection = asyncpg.Connection

FILL = """
with numbered as (select n, 'u' || n % 50 || '/binance/simulated' as account from generate_series(1, $1::bigint) n)
insert into eventstore.events
select
    0, n, 'order_book', account, (n + 49) / 50, 'OrderCreated', 1, 'o-' || n, gen_random_uuid(), '{"order_id": "o-1"}',
    '{}', now(), now(), ''
from numbered
"""
FILL_COMMANDS = """
insert into eventstore.commands
select
    shard, command_id, aggregate_type, aggregate_id, 'PlaceOrder', '\\x00', null, 'accepted', null, position, 1,
    position, recorded_at, ''
from eventstore.events
"""
FILL_COMMITS = """
insert into eventstore.commits
select shard, position, position, position, recorded_at, sha256(''), sha256('') from eventstore.events
"""
SIZES = [
    pytest.param(0, False, id="empty"),
    pytest.param(100, False, id="small"),
    pytest.param(30_000, False, id="large without statistics"),
    pytest.param(30_000, True, id="large"),
]


@pytest.fixture
async def explained(database: str, postgres: Postgres) -> AsyncIterator[tuple[Connection, list[str]]]:
    """A connection that collects the plan of every statement, those inside functions too."""
    connection = await asyncpg.connect(
        re.sub(r"^(\w+://[^/?]*)/[^?]*", rf"\g<1>/{name_of(database)}", postgres.admin_dsn)
    )
    plans: list[str] = []
    await set_codecs(connection)
    await connection.execute("load 'auto_explain'")
    await connection.execute("set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on")
    await connection.execute("set client_min_messages = log; set jit = off")
    connection.add_log_listener(lambda _connection, message: plans.append(str(message)))
    yield connection, plans
    await connection.close()


async def fill(database: str, size: int, *, analyze: bool) -> None:
    connection = await connect(database)
    await connection.execute("alter table eventstore.events set (autovacuum_enabled = off)")
    await connection.execute("alter table eventstore.commands set (autovacuum_enabled = off)")
    await connection.execute(FILL, size) if size else None
    await connection.execute(FILL_COMMANDS)
    await connection.execute(FILL_COMMITS)
    if analyze:
        await connection.execute("analyze")
    await connection.close()


def proposals(count: int, size: int) -> list[Proposal]:
    """Orders on the 50 accounts that ``fill`` filled, expected where they are."""
    found = []
    for n in range(count):
        command = place(f"new-{n}", f"u{n % 50}/binance/simulated")
        stored = size // 50
        event = created(f"new-{n}")
        found.append(Proposal(command, b"x", stored + n // 50, f"new-{n}", None, b"{}", (event,)))
    return found


def assert_only_indexes(plans: list[str]) -> None:
    scans = re.findall(
        r"(Seq Scan|Bitmap Heap Scan|Parallel [\w ]*Scan) on (events|commands|commits)", "\n".join(plans)
    )
    assert scans == []


async def rows_touched(connection: Connection) -> int:
    """Rows that this transaction's scans of the log's tables returned."""
    return int(
        await connection.fetchval(
            "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_xact_user_tables"
            " where schemaname = 'eventstore'"
        )
    )


@pytest.mark.parametrize(("size", "analyze"), SIZES)
async def test_append(database: str, explained: tuple[Connection, list[str]], size: int, analyze: bool) -> None:
    await fill(database, size, analyze=analyze)
    connection, plans = explained
    async with connection.transaction():
        rows = await connection.fetch(APPEND, 0, *columns(proposals(100, size)))
        assert {row["verdict"] for row in rows} == {"appended"}
        assert await rows_touched(connection) <= 400
    assert_only_indexes(plans)
    assert sum("events_aggregate" in plan for plan in plans) == 1
    assert sum("events_subject" in plan for plan in plans) == 1


async def test_a_plan_made_on_an_empty_table_stays_good(database: str, explained: tuple[Connection, list[str]]) -> None:
    connection, plans = explained
    warm = proposals(50, 0)
    turn = connection.transaction()
    await turn.start()
    await connection.fetch(APPEND, 0, *columns(warm))
    await turn.rollback()
    await fill(database, 30_000, analyze=False)
    async with connection.transaction():
        rows = await connection.fetch(APPEND, 0, *columns(proposals(100, 30_000)))
        assert {row["verdict"] for row in rows} == {"appended"}
        assert await rows_touched(connection) <= 400
    assert_only_indexes(plans)


READS = [
    pytest.param(
        "select * from eventstore.read_aggregates(0, $1, $2, $3)",
        (["order_book"], ["u1/binance/simulated"], [0]),
        600,
        id="aggregate",
    ),
    pytest.param(
        "select * from eventstore.read_aggregates(0, $1, $2, $3)",
        (["order_book"], ["u1/binance/simulated"], [590]),
        10,
        id="tail",
    ),
    pytest.param(
        "select * from eventstore.read_subjects(0, $1, $2, $3)",
        (["order_book"], ["u1/binance/simulated"], ["o-1"]),
        1,
        id="subject",
    ),
    pytest.param("select * from eventstore.read_log(0, $1, 100)", (20_000,), 100, id="log"),
    pytest.param("select * from eventstore.read_log(0, 0, 100, p_subject => $1)", ("o-7",), 1, id="log by subject"),
    pytest.param(
        "select * from eventstore.read_log(0, 0, 100, p_aggregate_id => $1)",
        ("u1/binance/simulated",),
        100,
        id="log by aggregate",
    ),
    pytest.param("select * from eventstore.head($1)", (0,), 1, id="head"),
]


@pytest.mark.parametrize(("size", "analyze"), SIZES)
@pytest.mark.parametrize(("query", "arguments", "rows_max"), READS)
async def test_reads(
    database: str,
    explained: tuple[Connection, list[str]],
    size: int,
    analyze: bool,
    query: str,
    arguments: tuple[object, ...],
    rows_max: int,
) -> None:
    await fill(database, size, analyze=analyze)
    connection, plans = explained
    async with connection.transaction():
        rows = await connection.fetch(query, *arguments)
        assert len(rows) == (rows_max if size == 30_000 else len(rows))
        assert size < 1_000 or await rows_touched(connection) <= rows_max + 2
    assert_only_indexes(plans)
