"""The positions projection: equal to the Python fold to the last digit, at every position of the log, however the log
is cut into ranges."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from itertools import pairwise
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from foldbook.eventstore.events import Event
from foldbook.eventstore.readers.definitions import Definition
from foldbook.resources import projection_files
from foldbook.trading import position as position_module
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import BookCommand
from foldbook.trading.events import ExecutionEvent, FillBusted, FillCorrected
from foldbook.trading.position import Position, evolve_position
from foldbook.trading.values import Side, canonical
from tests.builders import open_account, place, report
from tests.readside.histories import Happening, write
from tests.trading.executions import busted, corrected, executions, filled

Row = dict[str, Any]
COPIES = ("whole", "cut")

(DEFINITION,) = (d for d in map(Definition.read, projection_files()) if d.name == "positions")


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Row]]:
    """With two empty copies of the projection."""
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as opened:
        for copy in COPIES:
            opened.execute(
                "select eventstore.projection_create(%s, %s, %s, %s)",
                [copy, "positions", DEFINITION.sql, list(DEFINITION.aggregate_types)],
            )
        yield opened


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a history that Hypothesis makes is longer than the window."""
    monkeypatch.setattr(position_module, "POSITION_WINDOW", 5)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=executions(), cuts=st.lists(st.integers(1, 40), max_size=6))
@pytest.mark.usefixtures("short_window")
def test_any_cut_folds_to_what_python_folds_at_every_position(
    connection: psycopg.Connection[Row], history: list[tuple[str, ExecutionEvent]], cuts: list[int]
) -> None:
    empty(connection)
    head = write_executions(connection, history)
    for begin, end in pairwise([0, head]):
        project(connection, "whole", begin, end)
    for begin, end in pairwise([0, *sorted({c for c in cuts if c < head}), head]):
        project(connection, "cut", begin, end)

    expected: list[Row] = []
    folded: dict[tuple[str, str], Position] = {}
    for number, (account, event) in enumerate(history, 1):
        key = (account, event.symbol)
        folded[key] = evolve_position(folded.get(key), event)
        expected.append({"account": account, "symbol": event.symbol, "position": number, **shown(folded[key])})

    for copy in COPIES:
        entries = connection.execute(
            f"select account, symbol, position, quantity, cost, realized_pnl, cycle, fees, multiplier"
            f" from {copy}_positions.position_entries order by position"
        ).fetchall()
        assert entries == expected
        positions = connection.execute(
            f"select account, symbol, last_position as position, quantity, cost, realized_pnl, cycle, fees, multiplier"
            f" from {copy}_positions.positions order by account, symbol"
        ).fetchall()
        last = {(row["account"], row["symbol"]): row for row in expected}
        assert positions == [last[key] for key in sorted(last)]
    for table, order in (("positions", "account, symbol"), ("position_entries", "position")):
        whole, cut = (
            connection.execute(f"select * from {copy}_positions.{table} order by {order}").fetchall() for copy in COPIES
        )
        assert whole == cut


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=executions(), data=st.data())
@pytest.mark.usefixtures("short_window")
def test_an_auditor_folds_the_log_itself_to_the_same(
    connection: psycopg.Connection[Row], history: list[tuple[str, ExecutionEvent]], data: st.DataObject
) -> None:
    empty(connection)
    head = write_executions(connection, history)
    as_of = data.draw(st.integers(1, head))
    folded: dict[tuple[str, str], Position] = {}
    for account, event in history[:as_of]:
        key = (account, event.symbol)
        folded[key] = evolve_position(folded.get(key), event)
    for (account, symbol), position in folded.items():
        asked = [account, symbol, as_of]
        found = connection.execute("select * from audit.position_as_of(%s, %s, %s)", asked).fetchone()
        assert found is not None
        assert found.pop("avg_px") == position.avg_px
        found.pop("last_log_position")
        assert found == shown(position)

        fills = connection.execute("select * from audit.position_history(%s, %s, %s)", asked).fetchall()
        names = ("quantity", "cost", "realized_pnl", "cycle")
        if fills:
            assert [fills[-1][name] for name in names] == [found[name] for name in names]

        cycles = connection.execute("select * from audit.position_cycles(%s, %s, %s)", asked).fetchall()
        assert [cycle["cycle"] for cycle in cycles] == list(range(1, position.cycle + 1))
        with localcontext(prec=400):
            assert sum(cycle["realized_pnl"] for cycle in cycles) == position.realized_pnl
        assert all(cycle["closed_log_position"] is not None for cycle in cycles[:-1])
        if cycles:
            assert (cycles[-1]["closed_log_position"] is None) == bool(position.quantity)


ALICE = "alice/binance/simulated"


def test_the_table_says_what_the_book_knows(connection: psycopg.Connection[Row]) -> None:
    """Fills, busts and corrections as the decider tells them, some of fills that are older than the window."""
    random = Random(7)
    book, history = ORDER_BOOK.initial, list[tuple[str, Event]]()
    fills: list[tuple[str, str]] = []

    def execute(command: BookCommand) -> None:
        nonlocal book
        for event in ORDER_BOOK.decide(command, book):
            history.append((ALICE, event))
            book = ORDER_BOOK.evolve(book, event)

    def amounts() -> dict[str, Any]:
        return {
            "last_qty": Decimal(random.randint(1, 40)) / 8,
            "last_px": Decimal(random.randint(90, 110)),
            "fee": Decimal(random.randint(-1, 9)) / 1000,
            "fee_currency": random.choice(["BTC", "USDT"]),
        }

    execute(open_account())
    for order_id, side in (("o-1", Side.BUY), ("o-2", Side.SELL)):
        execute(place(order_id, quantity="100000", symbol="BTC-USDT", side=side))
    for number in range(400):
        kind = random.choices(["TRADE", "TRADE_CANCEL", "TRADE_CORRECT"], [8, 1, 1])[0] if fills else "TRADE"
        order_id, exec_ref_id = random.choice(fills) if kind != "TRADE" else (random.choice(["o-1", "o-2"]), None)
        said = {"exec_id": f"x-{number}", "exec_ref_id": exec_ref_id, **(amounts() if kind != "TRADE_CANCEL" else {})}
        execute(report(kind, order_id, **said))
        if kind == "TRADE":
            fills.append((order_id, f"x-{number}"))

    events = [event for _, event in history]
    for event_type in (FillBusted, FillCorrected):
        assert {e.is_reversal for e in events if isinstance(e, event_type)} == {True, False}
    head = write_executions(connection, history)
    project(connection, "whole", 0, head)
    (found,) = connection.execute("select * from whole_positions.positions").fetchall()
    expected = shown(book.positions["BTC-USDT"])
    assert {name: found[name] for name in expected} == expected


ROWS_READ = """
select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
from pg_stat_xact_user_tables
where relname in ('events', 'positions', 'position_entries')
"""


def test_a_bust_reads_what_came_after_its_fill_whatever_the_session_saw_first(
    connection: psycopg.Connection[Row],
) -> None:
    done = 0
    for number in range(8):  # more often than the planner tries custom plans
        fill = filled("1", "100", f"t-{number}")
        head = write_executions(connection, [(ALICE, fill), (ALICE, busted("1", "100", f"t-{number}"))])
        project(connection, "whole", done, head)
        done = head
    head = write_executions(connection, [(ALICE, filled("1", "100", f"m-{number}")) for number in range(5_000)])
    project(connection, "whole", done, head)
    bust = write_executions(connection, [(ALICE, busted("1", "100", "m-4900"))])
    with connection.transaction():
        before = connection.execute(ROWS_READ).fetchone()
        project(connection, "whole", head, bust)
        after = connection.execute(ROWS_READ).fetchone()
    assert before is not None and after is not None
    assert 100 < after["sum"] - before["sum"] < 400


def test_a_flip_ends_a_cycle_and_begins_the_next_and_its_fee_is_split_by_quantity(
    connection: psycopg.Connection[Row],
) -> None:
    fee = {"fee": "1", "fee_currency": "USDT"}
    events = [filled("2", "100", "e-1", **fee), filled("-6", "110", "e-2", **fee), filled("4", "100", "e-3")]
    write_executions(connection, [(ALICE, event) for event in events])
    asked = "select * from audit.position_cycles('alice/binance/simulated', 'BTC-USDT')"
    first, second = connection.execute(asked).fetchall()
    names = ("cycle", "side", "opened_log_position", "closed_log_position", "fills", "realized_pnl", "fees")
    assert [first[name] for name in names] == [1, "LONG", 1, 2, 2, 20, {"USDT": "1.333333333333333333"}]
    assert [second[name] for name in names] == [2, "SHORT", 2, 3, 2, 40, {"USDT": "0.666666666666666667"}]
    assert first["closed_at"] == second["opened_at"] is not None


def test_what_a_position_is_made_of_after_a_bust_and_a_correction(connection: psycopg.Connection[Row]) -> None:
    kept, gone, fixed = filled("2", "100", "e-1"), filled("1", "105", "e-2"), filled("1", "110", "e-3")
    events = [kept, gone, fixed, busted("1", "105", "e-2"), corrected(fixed, "2", "109")]
    write_executions(connection, [(ALICE, event) for event in events])
    fills = connection.execute("select * from audit.position_history(%s, 'BTC-USDT')", [ALICE]).fetchall()
    names = ("log_position", "exec_id", "booked_quantity", "price", "amended_by", "quantity", "cost")
    assert [[fill[name] for name in names] for fill in fills] == [
        [1, "e-1", 2, 100, None, 2, 200],
        [3, "e-3", 2, 109, 5, 4, 418],
    ]
    then = connection.execute("select * from audit.position_history(%s, 'BTC-USDT', 3)", [ALICE]).fetchall()
    assert [fill["quantity"] for fill in then] == [2, 3, 4]


def test_a_bust_of_a_fill_that_never_was_is_an_error(connection: psycopg.Connection[Row]) -> None:
    head = write_executions(connection, [(ALICE, filled("1", "100", "e-1")), (ALICE, busted("1", "100", "e-9"))])
    with pytest.raises(psycopg.Error, match="a fill that does not exist") as error:
        project(connection, "whole", 0, head)
    assert error.value.sqlstate == "FB013"


def shown(position: Position) -> Row:
    return {
        "quantity": position.quantity,
        "cost": position.cost,
        "realized_pnl": position.realized_pnl,
        "cycle": position.cycle,
        "fees": {currency: plain(fee) for currency, fee in position.fees.items()},
        "multiplier": position.multiplier,
    }


def plain(amount: Decimal) -> str:
    return f"{canonical(amount):f}"


def project(connection: psycopg.Connection[Row], copy: str, begin: int, end: int) -> None:
    connection.execute("select eventstore.projection_apply(%s, 'positions', 0, %s, %s)", [copy, begin, end])


def write_executions(connection: psycopg.Connection[Row], history: Sequence[tuple[str, Event]]) -> int:
    happenings = [Happening(account, type(event).__name__, json.loads(event.payload())) for account, event in history]
    with psycopg.connect(connection.info.dsn, autocommit=True) as writer:
        return write(writer, happenings)


def empty(connection: psycopg.Connection[Row]) -> None:
    for table in ("events", "commits"):
        connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
    connection.execute("truncate eventstore.events, eventstore.commits")
    for copy in COPIES:
        connection.execute(f"truncate {copy}_positions.positions, {copy}_positions.position_entries")
