"""Fills, their busts and corrections, and reports for a person to look at: the same rows however the log is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.readside.copies import Copies, copies_of
from tests.readside.fills import ACCOUNTS, folded, histories, names
from tests.readside.histories import BEGIN, Happening, write


@pytest.fixture
def copies(database: str) -> Iterator[Copies]:
    with copies_of(database, "fills") as made:
        yield made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), cuts=st.lists(st.integers(0, 40), max_size=8))
def test_any_cut_of_the_log_folds_to_the_same_fills(copies: Copies, history: list[Happening], cuts: list[int]) -> None:
    copies.empty()
    copies.fold(history, cuts)
    found = {table: copies.rows("whole", table, "position") for table in ("fills", "execution_exceptions")}
    assert {table: copies.rows("cut", table, "position") for table in found} == found
    for rows in found.values():
        assert all(row.pop("recorded_at") for row in rows)
    assert (found["fills"], found["execution_exceptions"]) == folded(history)


def test_a_change_of_a_fill_reads_its_order_only(copies: Copies) -> None:
    """However many fills the log has."""
    account = ACCOUNTS[0]
    trade = {"exec_id": "x", "last_qty": "1", "last_px": "1"}
    history = [Happening(account, "OrderFilled", names(f"o-{n}") | trade) for n in range(5_000)]
    head = copies.write(history)
    copies.project("whole", [0, head])
    bust = names("o-7") | trade | {"exec_id": "b", "exec_ref_id": "x"}
    last = copies.write([Happening(account, "FillBusted", bust, BEGIN)])
    connection = copies.connection
    with connection.transaction():
        before = _rows_read(copies)
        copies.project("whole", [head, last])
        assert _rows_read(copies) - before < 20
    busted = [row["order_id"] for row in copies.rows("whole", "fills", "position") if row["is_busted"]]
    assert busted == ["o-7"]


def _rows_read(copies: Copies) -> int:
    row = copies.connection.execute(
        "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint as read"
        " from pg_stat_xact_user_tables where relname in ('events', 'fills')"
    ).fetchone()
    assert row is not None
    return int(row["read"])


# -- totals ------------------------------------------------------------------------------------------------------


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


def project(connection: psycopg.Connection[Any], history: list[Happening]) -> None:
    write(connection, history)
    connection.execute("select eventstore.projection_round('live', 'fills', 0, 1000000)").fetchall()


ALICE, BOB = ACCOUNTS
ES = {"symbol": "ES=F", "instrument_kind": "FUTURE", "multiplier": "50", "quote_currency": "USD"}
INVERSE = {"symbol": "BTC/USD", "instrument_kind": "INVERSE", "multiplier": "100", "base_currency": "BTC"}


def filled(order_id: str, exec_id: str, qty: str, px: str, **more: str) -> Happening:
    return Happening(
        ALICE, "OrderFilled", names(order_id) | {"exec_id": exec_id, "last_qty": qty, "last_px": px} | more
    )


TRADED = [
    filled("o-1", "x-1", "2", "4000.25", **ES | {"side": "BUY", "fee": "2.5", "fee_currency": "USD"}),
    filled("o-1", "x-2", "1", "4001", **ES | {"fee": "1", "fee_currency": "BNB"}),
    filled("o-2", "x-1", "300", "60000", **INVERSE | {"side": "BUY"}),
    filled("o-2", "x-2", "1", "100"),
    filled("o-2", "x-3", "9", "9"),
    Happening(ALICE, "FillBusted", names("o-2") | {"exec_id": "b-3", "exec_ref_id": "x-3"}),
    Happening(
        ALICE,
        "ExecutionBooked",
        {"kind": "LIQUIDATION", "side": "SELL", "exec_id": "x-1", "last_qty": "1", "last_px": "4000"}
        | ES
        | {"gross_amount": "199999.99"},
    ),
]


def totals(connection: psycopg.Connection[Any], by: str, after: str = "//", limit: int = 100) -> dict[str, Any]:
    currency, strategy, symbol = after.split("/", 2)
    row = connection.execute(
        "select document from trading.query_fill_totals(0, %s, null, null, null, %s, %s, %s, %s, %s, %s)",
        [ALICE, "strategy" in by, "symbol" in by, strategy, symbol, currency, limit],
    ).fetchone()
    assert row is not None
    page: dict[str, Any] = row[0]
    return page


def test_totals_are_money_by_currency(connection: psycopg.Connection[Any]) -> None:
    project(connection, TRADED)
    bought = "bought_qty", "bought_cost", "sold_qty", "sold_cost", "fees"

    def shown(by: str, *keys: str) -> list[Any]:
        return [
            tuple(total[name] for name in (*keys, "currency", *bought)) for total in totals(connection, by)["totals"]
        ]

    assert shown("symbol", "symbol") == [
        ("BTC/USD", "BTC", "300", "0.5000000000000000000000000000000001", "0", "0", {}),
        ("BTCUSDT", None, "0", "0", "1", "100", {}),
        ("ES=F", "USD", "2", "400025", "2", "400049.99", {"BNB": "1", "USD": "2.5"}),
    ]
    assert shown("strategy", "strategy_id", "symbol") == [
        (None, None, "USD", "0", "0", "1", "199999.99", {}),
        ("s-o-1", None, "USD", "2", "400025", "1", "200050", {"BNB": "1", "USD": "2.5"}),
        ("s-o-2", None, None, "0", "0", "1", "100", {}),
        ("s-o-2", None, "BTC", "300", "0.5000000000000000000000000000000001", "0", "0", {}),
    ]


@pytest.mark.parametrize("by", ["", "strategy", "symbol", "strategy,symbol"])
def test_totals_come_in_pages(connection: psycopg.Connection[Any], by: str) -> None:
    project(connection, TRADED)
    pages: list[Any] = []
    after: str | None = "//"
    while after is not None:
        page = totals(connection, by, after, limit=1)
        pages += page["totals"]
        after = page.get("next")
    assert pages == totals(connection, by)["totals"]
    assert sum(total["fill_count"] for total in pages) == 5


# -- reports for a person to look at -----------------------------------------------------------------------------


def unmatched(exec_type: str, **more: str) -> Happening:
    return Happening(ALICE, "UnmatchedExecutionRecorded", {"exec_type": exec_type} | more)


def created(order_id: str) -> Happening:
    return Happening(ALICE, "OrderCreated", names(order_id) | {"quantity": "5"})


BUST = {"exec_id": "b-1", "exec_ref_id": "x-1"}
A_FOREIGN_FILL = {"kind": "ASSIGNMENT", "symbol": "X", "side": "BUY", "exec_id": "x-1", "last_qty": "1", "last_px": "1"}


@pytest.mark.parametrize(
    ("before", "report", "after"),
    [
        ([], unmatched("NEW", order_id="o-1"), [created("o-1")]),
        ([], unmatched("TRADE", order_id="o-1", exec_id="x-1"), [created("o-1"), filled("o-1", "x-1", "1", "1")]),
        ([created("o-1")], unmatched("TRADE_CANCEL", order_id="o-1", **BUST), [
            Happening(ALICE, "FillBusted", names("o-1") | BUST),
        ]),
        ([], unmatched("TRADE_CANCEL", kind="ASSIGNMENT", **BUST), [
            Happening(ALICE, "ExecutionBooked", A_FOREIGN_FILL),
            Happening(ALICE, "ExecutionBusted", A_FOREIGN_FILL | BUST),
        ]),
        ([created("o-1")], unmatched("CANCELED", order_id="o-1", broker_order_id="b-2", exec_id="e"), [
            Happening(ALICE, "OrderReplaced", names("o-1") | {"quantity": "5", "broker_order_id": "b-2"}),
        ]),
    ],
)  # fmt: skip
def test_a_report_that_came_too_early_is_applied(
    connection: psycopg.Connection[Any], before: list[Happening], report: Happening, after: list[Happening]
) -> None:
    others = [
        created("o-2"),
        Happening(BOB, "OrderCreated", names("o-1") | {"quantity": "5"}),
        filled("o-2", "x-1", "1", "1"),
        Happening(ALICE, "OrderReplaced", names("o-1") | {"quantity": "5", "broker_order_id": "b-3"}),
        Happening(ALICE, "FillConflictDetected", report.payload),
    ]
    project(connection, [*before, report, *others])
    position = len(before) + 1
    assert exceptions(connection) == {position: ("unmatched", False), position + len(others): ("conflict", False)}
    project(connection, after)
    assert exceptions(connection) == {position: ("unmatched", True), position + len(others): ("conflict", False)}


def test_what_still_waits_is_recorded_again(connection: psycopg.Connection[Any]) -> None:
    bust = unmatched("TRADE_CANCEL", order_id="o-1", **BUST)
    project(connection, [bust, created("o-1"), bust])
    assert exceptions(connection) == {1: ("unmatched", True), 3: ("unmatched", False)}


def test_a_wrong_time_is_told_and_the_report_applied(connection: psycopg.Connection[Any]) -> None:
    times = {"transact_time": "2026-01-02T09:00:00+00:00", "counted_at": BEGIN.isoformat()}
    project(connection, [created("o-1"), filled("o-1", "x-1", "1", "1", **times)])
    assert exceptions(connection) == {2: ("time-ahead", True)}


def exceptions(connection: psycopg.Connection[Any]) -> dict[int, tuple[str, bool]]:
    """By position the problem, and whether the report was applied: as HTTP shows them, and as the audit does."""
    page = connection.execute(
        "select document from trading.query_execution_exceptions(0, %s, 0, 100)", [ALICE]
    ).fetchone()
    assert page is not None
    shown = {row["position"]: (row["problem"], row["is_applied"]) for row in page[0]["exceptions"]}
    audited = connection.execute("select log_position, problem, is_applied from audit.execution_exceptions").fetchall()
    assert shown == {position: (problem, is_applied) for position, problem, is_applied in audited}
    return shown
