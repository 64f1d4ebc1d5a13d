"""Whatever happened, the checks find nothing wrong in read tables that are right, and fold what the decider folds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from foldbook.resources import projection_files
from foldbook.trading.commands import BookCommand
from foldbook.trading.order_events import evolve_order
from tests.builders import ACCOUNT
from tests.readside.executions import bookings, executions
from tests.readside.fills import histories
from tests.readside.histories import Happening, write
from tests.trading.lives import Life, commands

READ_TABLES = "select c.relname from pg_class c where c.relnamespace = 'read'::regnamespace and c.relkind = 'r'"
ORDER_AS_OF = "select * from audit.order_as_of(%s, %s, %s)"
ORDERS = "select * from trading.query_orders(0, %s, %s, null, null, 0, 2)"
ORDERS_AS_OF = "select * from trading.query_orders_as_of(0, %s, %s, %s, null, null, 0, 2)"
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Connection = psycopg.Connection[dict[str, Any]]


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as opened:
        yield opened


def empty(connection: Connection) -> None:
    for table in ("events", "commits"):
        connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
    connection.execute("truncate eventstore.events, eventstore.commits")
    for row in connection.execute(READ_TABLES).fetchall():
        connection.execute(f"truncate read.{row['relname']}".encode())
    for path in projection_files():
        connection.execute("update eventstore.subscriptions set checkpoint = 0 where name = %s", [path.stem])


def log(connection: Connection, history: Sequence[Happening]) -> None:
    with psycopg.connect(connection.info.dsn, autocommit=True) as writer:
        write(writer, history)


def project(connection: Connection, name: str, events: int) -> None:
    connection.execute("select eventstore.projection_round('live', %s, 0, %s)", [name, events]).fetchall()


def differences(connection: Connection, name: str) -> list[dict[str, Any]]:
    return connection.execute(f"select * from audit.{name}()".encode()).fetchall()


@settings(UNHURRIED, max_examples=20)
@given(asked=commands(), cuts=st.lists(st.integers(1, 40), max_size=3))
def test_orders(connection: Connection, asked: list[BookCommand], cuts: list[int]) -> None:
    empty(connection)
    life = Life().try_all(asked)
    log(connection, [Happening(ACCOUNT, type(e).__name__, json.loads(e.payload())) for e in life.events])
    ends = [0, *sorted({cut for cut in cuts if cut < len(life.events)}), len(life.events)]
    for begin, end in pairwise(ends):
        project(connection, "orders", end - begin)
        assert differences(connection, "order_differences") == []
        for statuses in (None, ["open"], ["CANCELED", "PENDING_CANCEL"]):
            now = connection.execute(ORDERS, [ACCOUNT, statuses]).fetchone()
            then = connection.execute(ORDERS_AS_OF, [ACCOUNT, end, statuses]).fetchone()
            assert now == then
            assert now is not None and now["position"] == end

        for order_id in ("o-1", "o-2", "o-3"):
            order = None
            for event in life.events[:end]:
                if event.subject == order_id:
                    order = evolve_order(order, event)
            found = connection.execute(ORDER_AS_OF, [ACCOUNT, order_id, end]).fetchone()
            if order is None or found is None:
                assert (order is None) == (found is None)
                continue
            assert found["status"] == order.status
            for name in (
                "working_state", "pending_request", "quantity", "limit_price", "cum_qty", "leaves_qty", "leaves_cash",
                "broker_order_id", "reason",
            ):  # fmt: skip
                assert found[name] == getattr(order, name)


@settings(UNHURRIED, max_examples=20)
@given(history=histories(), cuts=st.lists(st.integers(1, 40), max_size=3))
def test_fills_and_exceptions(connection: Connection, history: list[Happening], cuts: list[int]) -> None:
    empty(connection)
    log(connection, history)
    for begin, end in pairwise([0, *sorted({cut for cut in cuts if cut < len(history)}), len(history)]):
        project(connection, "fills", end - begin)
        assert differences(connection, "fill_differences") == []


@settings(UNHURRIED, max_examples=20)
@given(history=executions(), cuts=st.lists(st.integers(1, 40), max_size=3))
def test_fills_positions_lots_and_ledger(connection: Connection, history: list[Happening], cuts: list[int]) -> None:
    empty(connection)
    if history:
        log(connection, history)
    for begin, end in pairwise([0, *sorted({cut for cut in cuts if cut < len(history)}), len(history)]):
        for name, checks in (
            ("fills", ("fill_differences",)),
            ("positions", ("position_differences",)),
            ("lots", ("lot_differences",)),
            ("ledger", ("ledger_differences", "ledger_imbalance")),
        ):
            project(connection, name, end - begin)
            for check in checks:
                assert differences(connection, check) == [], check


@settings(UNHURRIED, max_examples=20)
@given(history=bookings(), cuts=st.lists(st.integers(1, 40), max_size=3))
def test_lots_and_ledger_of_everything_that_they_fold(
    connection: Connection, history: list[Happening], cuts: list[int]
) -> None:
    empty(connection)
    if history:
        log(connection, history)
    for begin, end in pairwise([0, *sorted({cut for cut in cuts if cut < len(history)}), len(history)]):
        for name in ("lots", "ledger"):
            project(connection, name, end - begin)
        for check in ("lot_differences", "ledger_differences", "ledger_imbalance"):
            assert differences(connection, check) == [], check
