"""The projections' folds: equal to a plain Python fold, however the log is cut into ranges."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from foldbook.eventstore.readers.definitions import Definition
from foldbook.resources import projection_files
from tests.readside.histories import Fold, Happening, book_created, histories, stated, write

NAMES = ("fills", "orders")
ACCOUNT = "alice/binance/simulated"

Row = dict[str, Any]


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Row]]:
    """With two empty copies of each projection: ``whole`` and ``cut``."""
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as opened:
        for definition in map(Definition.read, projection_files()):
            for copy in ("whole", "cut"):
                opened.execute(
                    "select eventstore.projection_create(%s, %s, %s, %s)",
                    [copy, definition.name, definition.sql, list(definition.aggregate_types)],
                )
        yield opened


def project(connection: psycopg.Connection[Row], copy: str, positions: list[int]) -> None:
    for name in NAMES:
        for begin, end in pairwise(positions):
            connection.execute("select eventstore.projection_apply(%s, %s, 0, %s, %s)", [copy, name, begin, end])


def rows(connection: psycopg.Connection[Row], table: str, key: str) -> list[Row]:
    return connection.execute(f"select * from {table} order by {key}").fetchall()


def tables(connection: psycopg.Connection[Row], copy: str) -> dict[str, list[Row]]:
    return {
        "orders": rows(connection, f"{copy}_orders.orders", "created_position"),
        "order_books": rows(connection, f"{copy}_orders.order_books", "account"),
        "fills": rows(connection, f"{copy}_fills.fills", "position"),
    }


def folded(history: list[Happening]) -> dict[str, list[Row]]:
    fold = Fold().add_all(history)
    orders = sorted(fold.orders.values(), key=lambda o: o["created_position"])
    return {
        "orders": orders,
        "order_books": sorted(fold.books.values(), key=lambda b: b["account"]),
        "fills": fold.fills,
    }


def empty(connection: psycopg.Connection[Row]) -> None:
    for table in ("events", "commits"):
        connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
    connection.execute("truncate eventstore.events, eventstore.commits")
    for copy in ("whole", "cut"):
        connection.execute(f"truncate {copy}_orders.orders, {copy}_orders.order_books, {copy}_fills.fills".encode())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_any_cut_of_the_log_folds_to_the_same_rows(
    connection: psycopg.Connection[Row], history: list[Happening], cuts: list[int]
) -> None:
    empty(connection)
    with connection.transaction(), connection.cursor(row_factory=psycopg.rows.tuple_row):
        head = _write(connection, history)

    project(connection, "whole", [0, head])
    project(connection, "cut", [0, *sorted(c for c in cuts if 0 < c < head), head])

    whole = tables(connection, "whole")
    assert tables(connection, "cut") == whole
    expected = folded(history)
    told = expected["orders"][0].keys() if expected["orders"] else ()
    whole["orders"] = [{name: row[name] for name in told} for row in whole["orders"]]
    recorded = [row.pop("recorded_at") for row in whole["fills"]]
    assert all(recorded)
    assert whole == expected


def _write(connection: psycopg.Connection[Row], history: list[Happening]) -> int:
    with psycopg.connect(connection.info.dsn, autocommit=True) as writer:
        return write(writer, history)


def test_amounts_stay_exact(connection: psycopg.Connection[Row]) -> None:
    """Twenty digits before the point, eighteen after it, squared and summed."""
    amount = "99999999999999999999.999999999999999999"
    names = {"order_id": "o-1", "strategy_id": "s", "symbol": "BTCUSDT", "side": "BUY"}
    order = {"order_type": "LIMIT", "quantity": amount, "limit_price": amount, "time_in_force": "GTC"}
    trade = {
        "last_qty": "0.000000000000000001",
        "last_px": amount,
        "fee": "-0.000000000000000001",
        "fee_currency": "BNB",
    }
    history = [book_created(ACCOUNT), Happening(ACCOUNT, "OrderCreated", names | order)]
    history += [Happening(ACCOUNT, "OrderFilled", names | trade | {"exec_id": f"x-{number}"}) for number in range(3)]
    head = _write(connection, stated(history))

    project(connection, "whole", [0, head])
    project(connection, "cut", list(range(head + 1)))

    assert tables(connection, "cut") == tables(connection, "whole")
    (row,) = tables(connection, "whole")["orders"]
    assert row["cum_qty"] == Decimal("0.000000000000000003")
    assert str(row["cum_cost"]).rstrip("0") == "299.999999999999999999999999999999999997"
    assert str(row["leaves_qty"]) == "99999999999999999999.999999999999999996"
    assert row["fees"] == {"BNB": "-0.000000000000000003"}


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ((), "an event in positions 1 to 1 belongs to an order book that was never created"),
        ((book_created(ACCOUNT),), "an event in positions 1 to 2 is about an order that was never created"),
    ],
)
def test_an_event_about_nothing_known_is_an_error(
    connection: psycopg.Connection[Row], known: tuple[Happening, ...], message: str
) -> None:
    names = {"order_id": "o-1", "strategy_id": "s", "symbol": "BTCUSDT", "side": "BUY"}
    head = _write(connection, [*known, Happening(ACCOUNT, "OrderAccepted", names)])
    with pytest.raises(psycopg.Error, match=message) as raised:
        connection.execute("select eventstore.projection_apply('whole', 'orders', 0, 0, %s)", [head])
    assert raised.value.sqlstate == "FB010"
