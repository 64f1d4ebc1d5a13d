"""The orders table: equal to the orders that the decider folds, whatever happens to them and however the log is cut."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from foldbook.eventstore.events import Event
from foldbook.eventstore.readers.definitions import Definition
from foldbook.resources import projection_files
from foldbook.trading.commands import BookCommand
from foldbook.trading.events import EVENT_TYPES, OrderEvent
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from tests.builders import ACCOUNT, cancel, open_account, place, replace_order, report, trade
from tests.readside.histories import Happening, book_created, write
from tests.trading.lives import ORDER_IDS, Life, commands, sums_of

Row = dict[str, Any]

TOLD = (
    "quantity", "limit_price", "stop_price", "working_state", "is_open", "pending_request", "requested_quantity",
    "requested_limit_price", "requested_stop_price", "cum_qty", "cum_cost", "leaves_qty", "leaves_cash", "overfill_qty",
    "fees", "broker_order_id", "reason", "doubts", "sequence",
)  # fmt: skip


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Row]]:
    (definition,) = (d for d in map(Definition.read, projection_files()) if d.name == "orders")
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as opened:
        for copy in ("whole", "cut"):
            opened.execute(
                "select eventstore.projection_create(%s, %s, %s, %s)",
                [copy, definition.name, definition.sql, list(definition.aggregate_types)],
            )
        yield opened


def expected(events: list[Event]) -> dict[str, Row]:
    """The rows, from the orders that the decider folds."""
    orders: dict[str, tuple[Order, int]] = {}
    for sequence, event in enumerate(events, 1):
        if event.subject is None or event.subject.startswith("~"):
            continue
        known = orders.get(event.subject)
        folded = evolve_order(known[0] if known else None, event)
        if folded is not None:
            counts = isinstance(event, OrderEvent)  # a report that was not applied is not an event of the order
            orders[event.subject] = (folded, sequence if counts or known is None else known[1])
    return {order_id: _row(order, sequence) for order_id, (order, sequence) in orders.items()}


def _row(order: Order, sequence: int) -> Row:
    asked = order.requested
    return {
        "quantity": order.quantity,
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
        "working_state": order.working_state,
        "is_open": order.is_open,
        "pending_request": order.pending_request,
        "requested_quantity": None if asked is None else asked.quantity,
        "requested_limit_price": None if asked is None else asked.limit_price,
        "requested_stop_price": None if asked is None else asked.stop_price,
        "leaves_qty": order.leaves_qty,
        "leaves_cash": order.leaves_cash,
        "overfill_qty": order.overfill_qty,
        **sums_of(order),
        "broker_order_id": order.broker_order_id,
        "reason": order.reason,
        "doubts": json.loads(msgspec.json.encode(order.doubts)) or None,
        "sequence": sequence,
    }


def stored(connection: psycopg.Connection[Row], copy: str) -> dict[str, Row]:
    rows = connection.execute(f"select * from {copy}_orders.orders".encode()).fetchall()
    for row in rows:
        row["fees"] = {currency: Decimal(amount) for currency, amount in row["fees"].items()}
    return {row["order_id"]: {name: row[name] for name in TOLD} for row in rows}


def project(connection: psycopg.Connection[Row], life: Life, cuts: list[int]) -> None:
    project_all(connection, [Happening(ACCOUNT, type(e).__name__, json.loads(e.payload())) for e in life.events], cuts)


def project_all(connection: psycopg.Connection[Row], history: list[Happening], cuts: list[int]) -> None:
    for table in ("events", "commits"):
        connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
    connection.execute("truncate eventstore.events, eventstore.commits")
    for copy in ("whole", "cut"):
        connection.execute(f"truncate {copy}_orders.orders, {copy}_orders.order_books".encode())
    with psycopg.connect(connection.info.dsn, autocommit=True) as writer:
        head = write(writer, history)
    for copy, positions in (("whole", [0, head]), ("cut", [0, *sorted({c for c in cuts if 0 < c < head}), head])):
        for begin, end in pairwise(positions):
            connection.execute("select eventstore.projection_apply(%s, 'orders', 0, %s, %s)", [copy, begin, end])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=commands(), cuts=st.lists(st.integers(1, 60), max_size=12))
def test_the_table_is_the_fold(connection: psycopg.Connection[Row], asked: list[BookCommand], cuts: list[int]) -> None:
    life = Life().try_all(asked)
    project(connection, life, cuts)
    rows = expected(life.events)
    assert stored(connection, "whole") == rows
    assert stored(connection, "cut") == rows
    for order_id in ORDER_IDS:  # the book remembers what is open, and what a pending replace may open
        is_live = order_id in rows and (rows[order_id]["is_open"] or _may_open_again(rows[order_id]))
        assert (order_id in life.book.orders) == is_live


def _may_open_again(row: Row) -> bool:
    wanted: Decimal | None = row["requested_quantity"]
    return row["working_state"] == "FILLED" and wanted is not None and wanted > row["cum_qty"]


def test_a_life_with_everything_in_it(connection: psycopg.Connection[Row]) -> None:
    """What a random history may miss, once for certain, and event by event."""
    life = Life()
    for command in (
        open_account(),
        place(quantity="10", symbol="BTC-USDT"),
        report("PENDING_NEW"),
        report("NEW", broker_order_id="b-1"),
        trade("e-1", "4", "100", fee=Decimal("0.1"), fee_currency="USDT"),
        replace_order(quantity=Decimal(12), limit_price=Decimal(101)),
        report("PENDING_REPLACE"),
        report("REPLACED"),
        report("DONE_FOR_DAY"),
        report("RESTATED", quantity=Decimal(8)),
        trade("e-2", "4", "101", fee=Decimal("0.004"), fee_currency="BTC"),
        report("TRADE_CORRECT", exec_id="e-3", exec_ref_id="e-1", last_qty=Decimal(3), last_px=Decimal(99)),
        cancel(),
        report("CANCEL_REJECTED", reason="too late"),
        report("TRADE_CANCEL", exec_id="e-4", exec_ref_id="e-2"),
        report("SUSPENDED"),
        report("EXPIRED", reason="end of day"),
    ):
        assert life.execute(command)
    project(connection, life, list(range(1, len(life.events))))
    rows = expected(life.events)
    assert stored(connection, "whole") == stored(connection, "cut") == rows
    assert rows["o-1"]["cum_qty"] == 3
    assert (rows["o-1"]["working_state"], rows["o-1"]["reason"]) == ("EXPIRED", "end of day")


NAMES = {"order_id": "o-1", "strategy_id": "s", "symbol": "BTC-USDT", "side": "BUY"}
AN_ORDER = NAMES | {"order_type": "LIMIT", "quantity": "2", "limit_price": "100", "time_in_force": "GTC"}


def rows_of(connection: psycopg.Connection[Row], *history: Happening) -> list[Row]:
    """Of a table that was folded in one range; it is the same folded event by event."""
    told = [book_created(ACCOUNT), *history]
    project_all(connection, told, list(range(len(told))))
    whole, cut = (
        connection.execute(f"select * from {copy}_orders.orders order by order_id".encode()).fetchall()
        for copy in ("whole", "cut")
    )
    assert whole == cut
    return whole


def test_what_only_the_creation_says_stays(connection: psycopg.Connection[Row]) -> None:
    said = {
        "post_only": True, "reduce_only": True, "trailing_offset": "2.5", "display_quantity": "0.5",
        "group": {"kind": "OCO", "id": "g-1"},
    }  # fmt: skip
    state = {"quantity": "2", "limit_price": "100", "working_state": "NEW", "leaves_qty": "2"}
    rows = rows_of(
        connection,
        Happening(ACCOUNT, "OrderCreated", AN_ORDER | said),
        Happening(ACCOUNT, "OrderAccepted", NAMES | state),
        Happening(ACCOUNT, "OrderCreated", AN_ORDER | {"order_id": "o-2"}),
    )
    said |= {"trailing_offset": Decimal("2.5"), "display_quantity": Decimal("0.5")}
    group = said.pop("group")
    for row, expected_row in zip(
        rows,
        (
            said | {"group_kind": "OCO", "group_id": "g-1"},
            {"post_only": False, "reduce_only": False} | dict.fromkeys(("trailing_offset", "display_quantity")),
        ),
        strict=True,
    ):
        assert {name: row[name] for name in expected_row} == expected_row
    shown = connection.execute("select trading.order_json(o) as json from whole_orders.orders o").fetchall()
    assert [row["json"]["group"] for row in shown] == [group, None]
    assert [row["json"]["denial"] for row in shown] == [None, None]


def test_an_order_for_money_is_open_while_money_is_left(connection: psycopg.Connection[Row]) -> None:
    created = Happening(ACCOUNT, "OrderCreated", AN_ORDER | {"quantity": "0", "cash_quantity": "500"})
    traded = {"working_state": "PARTIALLY_FILLED", "cum_qty": "1", "cum_cost": "100", "leaves_cash": "400"}
    spent = {"working_state": "FILLED", "cum_qty": "5", "cum_cost": "500"}

    def shown(*later: Happening) -> list[Any]:
        (row,) = rows_of(connection, created, *later)
        return [row[name] for name in ("cash_quantity", "quantity", "leaves_qty", "leaves_cash", "is_open")]

    assert shown() == [500, 0, 0, 500, True]
    fills = [Happening(ACCOUNT, "OrderFilled", NAMES | state) for state in (traded, spent)]
    assert shown(fills[0]) == [500, 0, 0, 400, True]
    assert shown(*fills) == [500, 0, 0, 0, False]


def test_a_denied_order_says_what_the_check_found(connection: psycopg.Connection[Row]) -> None:
    denied = {"working_state": "DENIED", "quantity": "2", "reason": "max-quantity", "limit": "1", "observed": "2"}
    (row,) = rows_of(
        connection,
        Happening(ACCOUNT, "OrderCreated", AN_ORDER),
        Happening(ACCOUNT, "OrderDenied", NAMES | denied),
        Happening(ACCOUNT, "OrderFilled", NAMES | {"working_state": "DENIED", "quantity": "2", "cum_qty": "1"}),
    )
    assert (row["denied_limit"], row["denied_observed"], row["cum_qty"]) == ("1", "2", 1)
    (shown,) = connection.execute("select trading.order_json(o) as json from whole_orders.orders o").fetchall()
    assert shown["json"]["denial"] == {"limit": "1", "observed": "2"}


def test_an_execution_without_an_order_touches_none(connection: psycopg.Connection[Row]) -> None:
    booked = {"kind": "LIQUIDATION", "symbol": "BTC-USDT", "side": "SELL", "exec_id": "x-1", "last_qty": "1"}
    corrected = {"previous_qty": "2", "previous_px": "100", "exec_ref_id": "x-1"}
    (row,) = rows_of(
        connection,
        Happening(ACCOUNT, "OrderCreated", AN_ORDER),
        Happening(ACCOUNT, "ExecutionBooked", booked | {"last_px": "100"}),
        Happening(ACCOUNT, "ExecutionCorrected", booked | {"last_px": "100"} | corrected),
        Happening(ACCOUNT, "UnmatchedExecutionRecorded", {"exec_type": "TRADE", "order_id": "o-1", "side": "BUY"}),
    )
    assert (row["sequence"], row["cum_qty"]) == (2, 0)
    books = connection.execute("select sequence from whole_orders.order_books").fetchall()
    assert books == [{"sequence": 5}]


def test_it_says_which_events_it_folds_and_which_it_ignores(connection: psycopg.Connection[Row]) -> None:
    (definition,) = (d for d in map(Definition.read, projection_files()) if d.name == "orders")
    lists = dict(re.findall(r"^-- (Aggregate types|Folds|Ignores): (.*(?:\n--   .*)*)", definition.sql, re.MULTILINE))
    named = {word: re.findall(r"\w+", names) for word, names in lists.items()}
    folds, ignores = set(named["Folds"]), set(named["Ignores"])
    assert named["Aggregate types"] == ["order_book"]
    assert not folds & ignores
    assert folds | ignores == {event_type.__name__ for event_type in EVENT_TYPES.types}
    recognised = set(re.findall(r"'((?:Order|Fill)\w+)'", definition.sql.split("as $$")[1]))
    assert recognised == folds
