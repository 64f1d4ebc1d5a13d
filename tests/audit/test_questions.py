"""Every query of docs/audit.md is asked of a log in which it has an answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from foldbook.errors import Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.events import Metadata
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.runner import LiveRounds
from foldbook.postgres.connection import connect
from foldbook.postgres.roles import AUDITOR, as_role
from foldbook.trading.book import ORDER_BOOK
from tests.builders import cancel, open_account, place, trade
from tests.conftest import Postgres

QUERIES = re.findall(
    r"^```sql\n(.*?)^```$", (Path(__file__).parents[2] / "docs" / "audit.md").read_text(), re.DOTALL | re.MULTILINE
)
NO_ROW = "-- no row: all is well"


async def trade_a_little(dsn: str) -> None:
    store = PostgresStore(dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    placed = place()
    await bus.execute(placed, metadata=Metadata(actor="trader-7", correlation_id="c-1"))
    await bus.execute(trade("e-1", "0.5"), metadata=Metadata(causation_id=str(placed.command_id)))
    await bus.execute(trade("e-2", "1.5"), metadata=Metadata(causation_id=str(placed.command_id)))
    await bus.execute(trade("e-3", "1", order_id="o-9"), metadata=Metadata(raw_message="35=8"))
    with pytest.raises(Refusal):
        await bus.execute(cancel("unknown"))
    await bus.stop()
    await store.close()
    connection = await connect(dsn)
    for projection in ("orders", "fills", "positions", "lots", "ledger"):
        await LiveRounds(projection, 0)(connection)
    await connection.close()


@pytest.fixture(scope="module")
def traded(postgres: Postgres, template_database: str) -> Iterator[str]:
    dsn = postgres.create_database(template_database)
    asyncio.run(trade_a_little(dsn))
    yield dsn
    postgres.drop_database(dsn)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.split("\n")[0])
def test_an_auditor_gets_an_answer(traded: str, query: str) -> None:
    with psycopg.connect(as_role(traded, AUDITOR)) as connection:
        rows = connection.execute(query.encode()).fetchall()
    assert bool(rows) == (NO_ROW not in query)


def test_there_are_ten_questions_and_more() -> None:
    assert len(QUERIES) >= 10


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def test_an_order_s_history(traded: str) -> None:
    history = "select type, actor, command_type, causation_id is null from audit.order_history({}, {})"
    assert rows(traded, history.format("'alice/binance/simulated'", "'o-1'")) == [
        ("OrderCreated", "trader-7", "PlaceOrder", True),
        ("OrderFilled", None, "RecordExecution", False),
        ("OrderFilled", None, "RecordExecution", False),
    ]
    assert rows(traded, history.format("'bob/binance/simulated'", "'o-1'")) == []


def test_what_led_to_what(traded: str) -> None:
    fills = rows(traded, "select command_id from audit.command_log where type = 'RecordExecution' order by commit")
    tree = f"select depth, type, is_asked from audit.causation_tree('{fills[1][0]}')"
    assert rows(traded, tree) == [
        (0, "PlaceOrder", False),
        (1, "RecordExecution", False),
        (1, "RecordExecution", True),
    ]


def test_what_a_position_is_made_of(traded: str) -> None:
    fills = (
        "select booked_quantity::text, quantity::text, order_id"
        " from audit.position_history('alice/binance/simulated', {})"
    )
    assert rows(traded, fills.format("'BTCUSDT'")) == [("0.5", "0.5", "o-1"), ("1.5", "2.0", "o-1")]
    assert rows(traded, fills.format("'ETHUSDT'")) == []
    told = "position, order_id, exec_id, booked_quantity, price, fee, command_id, actor"
    asked = "('alice/binance/simulated', 'BTCUSDT')"
    of_position = rows(traded, f"select {told} from audit.fills_of_position{asked}")
    assert of_position == rows(traded, f"select {told} from audit.position_history{asked}")
    assert [str(fill[3]) for fill in of_position] == ["0.5", "1.5"]


def test_what_was_not_applied(traded: str) -> None:
    exceptions = "select account, type, order_id, exec_id, is_applied, raw_message from audit.execution_exceptions"
    assert rows(traded, exceptions) == [
        ("alice/binance/simulated", "UnmatchedExecutionRecorded", "o-9", "e-3", False, "35=8")
    ]


def test_commands_and_what_became_of_them(traded: str) -> None:
    log = rows(
        traded,
        'select type, outcome, reason, first_position, last_position, events from audit.command_log order by "commit"',
    )
    assert log[1] == ("PlaceOrder", "accepted", None, 2, 2, ["OrderCreated"])
    assert log[-1] == ("RequestCancel", "refused", "unknown-order", None, None, None)


def test_between_two_times(traded: str) -> None:
    between = "select array_agg(position) from audit.events_between({}, {})"
    at = "(select recorded_at from eventstore.commits where number = {})"
    assert rows(traded, between.format(at.format(2), at.format(4))) == [([2, 3],)]
    assert rows(traded, between.format("'-infinity'", "'infinity'")) == [([1, 2, 3, 4, 5],)]
    assert rows(traded, between.format("'infinity'", "'infinity'")) == [(None,)]


def test_everything_explains_itself(traded: str) -> None:
    undocumented = """
        select p.proname
        from pg_proc p
        where p.pronamespace = 'audit'::regnamespace
            and obj_description(p.oid, 'pg_proc') is null
        union all
        select c.relname
        from pg_class c
        where c.relnamespace = 'audit'::regnamespace
            and obj_description(c.oid, 'pg_class') is null
    """
    assert rows(traded, undocumented) == []
