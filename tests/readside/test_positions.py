"""The positions projection: equal to the Python fold to the last digit, at every position of the log, however the log
is cut into ranges."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal, localcontext
from itertools import pairwise, product
from random import Random
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
from foldbook.trading import position as position_module
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import BookCommand
from foldbook.trading.events import (
    AccountAdjusted,
    ExecutionBooked,
    FillBusted,
    FillCorrected,
    InstrumentDefined,
    PriceRecorded,
)
from foldbook.trading.position import Position, evolve_position
from foldbook.trading.values import Side, canonical
from tests.builders import book_created, open_account, place, report
from tests.readside.bookings import HOURS, Booked, Shown, bookings, fold, fold_by_strategy, known_now, split_anew
from tests.readside.histories import BEGIN, Happening, write
from tests.trading.executions import ACCOUNTS, NOON, busted, corrected, filled

Row = dict[str, Any]
COPIES = ("whole", "cut")

NAMES = ("positions", "strategy_positions")
DEFINITIONS = [d for d in map(Definition.read, projection_files()) if d.name in NAMES]


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Row]]:
    """With two empty copies of each projection."""
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as opened:
        for copy, definition in product(COPIES, DEFINITIONS):
            opened.execute(
                "select eventstore.projection_create(%s, %s, %s, %s)",
                [copy, definition.name, definition.sql, list(definition.aggregate_types)],
            )
        yield opened


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a history that Hypothesis makes is longer than the window."""
    monkeypatch.setattr(position_module, "POSITION_WINDOW", 5)


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=bookings(), cuts=st.lists(st.integers(1, 40), max_size=6))
@pytest.mark.usefixtures("short_window")
def test_any_cut_folds_to_what_python_folds_at_every_position(
    connection: psycopg.Connection[Row], history: list[Booked], cuts: list[int]
) -> None:
    empty(connection)
    head = write_executions(connection, history)
    for name in NAMES:
        for begin, end in pairwise([0, head]):
            project(connection, "whole", begin, end, name)
        for begin, end in pairwise([0, *sorted({c for c in cuts if c < head}), head]):
            project(connection, "cut", begin, end, name)

    expected = [
        {"account": account, "symbol": event.symbol, "position": number, **described(found)}
        for number, account, event, found in fold(history)
    ]
    columns = ", ".join(("account", "symbol", "position", *SHOWN))
    for copy in COPIES:
        entries = connection.execute(
            f"select {columns} from {copy}_positions.position_entries order by position".encode()
        ).fetchall()
        assert entries == expected
        last_of_each = f"select {columns} from (select *, last_position as position from {copy}_positions.positions) p"
        positions = connection.execute(f"{last_of_each} order by account, symbol".encode()).fetchall()
        last = {(row["account"], row["symbol"]): row for row in expected}
        assert positions == [last[key] for key in sorted(last)]
    for name in ("positions", "position_entries"):
        whole, cut = (rows(connection, f"{copy}_positions.{name}") for copy in COPIES)
        assert whole == cut

    for copy in COPIES:
        found = rows(connection, f"{copy}_strategy_positions.strategy_positions")
        assert [{name: row[name] for name in (*KEY, "last_position", *SHOWN)} for row in found] == [
            dict(zip(KEY, key, strict=True)) | {"last_position": number} | described(each)
            for key, (number, each) in sorted(fold_by_strategy(history).items())
        ]
    whole, cut = (rows(connection, f"{copy}_strategy_positions.strategy_positions") for copy in COPIES)
    assert whole == cut


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=bookings(), data=st.data())
@pytest.mark.usefixtures("short_window")
def test_an_auditor_folds_the_log_itself_to_the_same(
    connection: psycopg.Connection[Row], history: list[Booked], data: st.DataObject
) -> None:
    empty(connection)
    head = write_executions(connection, history)
    as_of = data.draw(st.integers(1, head))
    last = {
        (account, event.symbol): (number, shown) for number, account, event, shown in fold(history) if number <= as_of
    }
    for (account, symbol), (number, expected) in last.items():
        position = expected.position
        asked = [account, symbol, as_of]
        found = connection.execute("select * from audit.position_as_of(%s, %s, %s)", asked).fetchone()
        assert found is not None
        assert found.pop("avg_px") == position.avg_px
        assert found.pop("last_log_position") == number
        assert found == described(expected)

        fills = connection.execute("select * from audit.position_history(%s, %s, %s)", asked).fetchall()
        names = ("quantity", "cost", "realized_pnl", "cycle")
        if fills:
            assert [fills[-1][name] for name in names] == [found[name] for name in names]

        cycles = connection.execute("select * from audit.position_cycles(%s, %s, %s)", asked).fetchall()
        assert [cycle["cycle"] for cycle in cycles] == list(range(1, position.cycle + 1))
        with localcontext(prec=400):
            before_the_first = sum(fill["realized_pnl"] for fill in fills[:1] if not fill["cycle"])
            assert before_the_first + sum(cycle["realized_pnl"] for cycle in cycles) == position.realized_pnl
        assert all(cycle["closed_log_position"] is not None for cycle in cycles[:-1])
        if cycles:
            assert (cycles[-1]["closed_log_position"] is None) == bool(position.quantity)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=bookings(), cuts=st.lists(st.integers(1, 40), max_size=3))
@pytest.mark.usefixtures("short_window")
def test_an_auditor_finds_nothing_wrong(
    connection: psycopg.Connection[Row], history: list[Booked], cuts: list[int]
) -> None:
    empty(connection)
    connection.execute("truncate read.positions, read.position_entries")
    connection.execute("update eventstore.subscriptions set checkpoint = 0 where name = 'positions'")
    head = write_executions(connection, history)
    for begin, end in pairwise([0, *sorted({c for c in cuts if c < head}), head]):
        connection.execute("select eventstore.projection_round('live', 'positions', 0, %s)", [end - begin]).fetchall()
        assert connection.execute("select * from audit.position_differences()").fetchall() == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=bookings(), hours=st.sampled_from(HOURS))
@pytest.mark.usefixtures("short_window")
def test_at_a_business_time_there_is_what_is_known_now_in_the_order_of_its_times(
    connection: psycopg.Connection[Row], history: list[Booked], hours: int
) -> None:
    empty(connection)
    write_executions(connection, history)
    time = NOON + timedelta(hours=hours)
    expected = {}
    for key, events in known_now(history).items():
        known = [(number, event) for counted_at, number, event in events if counted_at <= time]
        if known:
            position = Position()
            for _, event in known:
                position = evolve_position(position, split_anew(event, position.quantity))
            expected[key] = max(number for number, _ in known), position
    for account in ACCOUNTS:
        found = connection.execute(
            "select * from trading.positions_at(0, %s, null, %s, '', 100)", [account, time]
        ).fetchall()
        assert [
            (row["symbol"], row["last_position"], {name: row[name] for name in shown(Position())}) for row in found
        ] == [
            (symbol, number, shown(position))
            for (of_account, symbol), (number, position) in sorted(expected.items())
            if of_account == account
        ]
        assert all(row["updated_at"] <= time for row in found)


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
where relname in ('events', 'positions', 'position_entries', 'strategy_positions')
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


def test_a_bust_reads_the_account_s_events_to_fold_a_strategy_anew(connection: psycopg.Connection[Row]) -> None:
    done = 0
    for number in range(8):
        fill = filled("1", "100", f"t-{number}")
        head = write_executions(connection, [(ALICE, fill), (ALICE, busted("1", "100", f"t-{number}"))])
        project(connection, "whole", done, head, "strategy_positions")
        done = head
    others = [("bob/kraken/backtest", filled("1", "100", f"m-{number}")) for number in range(5_000)]
    head = write_executions(connection, [*others, (ALICE, filled("1", "100", "m-1"))])
    project(connection, "whole", done, head, "strategy_positions")
    bust = write_executions(connection, [(ALICE, busted("1", "100", "m-1"))])
    with connection.transaction():
        before = connection.execute(ROWS_READ).fetchone()
        project(connection, "whole", head, bust, "strategy_positions")
        after = connection.execute(ROWS_READ).fetchone()
    assert before is not None and after is not None
    assert after["sum"] - before["sum"] < 100


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


def booked(qty: str, px: str, exec_id: str, **fields: Any) -> ExecutionBooked:
    said = msgspec.to_builtins(filled(qty, px, exec_id, **fields))
    return msgspec.convert(said | {"kind": "LIQUIDATION"}, ExecutionBooked, strict=False)


def adjusted(kind: str, quantity: str, value: str | None = None, **fields: Any) -> AccountAdjusted:
    said = {"kind": kind, "reference": "r", "symbol": "BTC-USDT", "quantity": quantity, "value": value, **fields}
    return msgspec.convert(said, AccountAdjusted, strict=False)


def test_a_currency_that_becomes_known_is_shown_from_then_on(connection: psycopg.Connection[Row]) -> None:
    known = InstrumentDefined(
        symbol="BTC-USDT",
        multiplier=Decimal(1),
        base_currency="BTC",
        quote_currency="USDT",
        put_right=("base_currency",),
    )
    unknown = {"base_currency": None, "quote_currency": "USDT"}
    fill = filled("1", "100", "e-1", **unknown)
    history = [(ALICE, known), (ALICE, fill), (ALICE, known), (ALICE, busted("1", "100", "e-1", **unknown))]
    project_live(connection, write_executions(connection, history))
    shown_then = "select base_currency, last_position from trading.positions_as_of(%s, null, %s, '', 9)"
    found = [connection.execute(shown_then, [ALICE, as_of]).fetchall() for as_of in (1, 2, 3, 4)]
    assert found == [
        [],
        [{"base_currency": None, "last_position": 2}],
        [{"base_currency": "BTC", "last_position": 3}],
        [{"base_currency": "BTC", "last_position": 4}],
    ]
    (now,) = connection.execute("select base_currency from read.strategy_positions").fetchall()
    assert now == {"base_currency": "BTC"}
    assert connection.execute("select * from audit.position_differences()").fetchall() == []
    history_page = document(connection, "trading.query_position_history(0, %s, 'BTC-USDT', 0, 9)", ALICE)
    assert [entry["type"] for entry in history_page["executions"]] == ["OrderFilled", "FillBusted"]


def test_what_is_shown_of_positions(connection: psycopg.Connection[Row]) -> None:
    hour = timedelta(hours=1)
    inverse = {"symbol": "XBTUSD", "instrument_kind": "INVERSE", "multiplier": "100", "quote_currency": "USD"}
    events: list[Event] = [
        book_created(ALICE),
        adjusted("OPENING", "1", "90", transact_time=NOON),
        filled("2", "100", "e-1", strategy_id="trend"),
        filled("3", "50000", "e-2", strategy_id="carry", **inverse),
        adjusted("SPLIT", "3", "0", split_to=2, split_from=1, transact_time=NOON + hour),
        booked("-2", "60", "e-3", transact_time=NOON + 2 * hour),
        filled("-4", "55", "e-4", strategy_id="trend", transact_time=NOON + 3 * hour),
        # Told late.
        filled("1", "95", "e-5", strategy_id="trend", transact_time=NOON - hour, order_id="o-2"),
        PriceRecorded(symbol="BTC-USDT", price=Decimal(70), transact_time=NOON),
        PriceRecorded(symbol="XBTUSD", price=Decimal(80000), transact_time=NOON),
    ]
    project_live(connection, write_executions(connection, [(ALICE, event) for event in events]))
    names = (
        "symbol", "kind", "quantity", "avg_px", "cost", "realized_pnl", "cycle", "last_price", "market_value",
        "unrealized_pnl", "settlement_currency",
    )  # fmt: skip

    def positions(call: str, *said: object, only: tuple[str, ...] = names) -> list[list[Any]]:
        page = document(connection, call, ALICE, *said)
        return [[position[name] for name in only] for position in page["positions"]]

    dollars = ["1", "95", "95", "50", 2, "70", "70", "-25", "USDT"]
    coins = ["3", "50000", "-0.006", "0", 1, "80000", "-0.00375", "0.00225", "BTC"]
    now = [["BTC-USDT", "SPOT", *dollars], ["XBTUSD", "INVERSE", *coins]]
    assert positions("trading.query_positions(0, %s, null, '', 9)") == now
    one = document(connection, "trading.query_position(0, %s, 'XBTUSD', null)", ALICE)
    assert [one[name] for name in names] == now[1]

    first = document(connection, "trading.query_strategy_positions(0, %s, '', '', 2)", ALICE)
    assert first["next"] == "carry/XBTUSD"
    assert list(first["positions"][0])[:3] == ["strategy_id", "account", "symbol"]
    named = ("strategy_id", "symbol", "quantity", "cost", "realized_pnl", "unrealized_pnl")
    assert positions("trading.query_strategy_positions(0, %s, '', '', 9)", only=named) == [
        [None, "BTC-USDT", "0", "0", "30", "0"],
        ["carry", "XBTUSD", "3", "-0.006", "0", "0.00225"],
        ["trend", "BTC-USDT", "1", "95", "20", "-25"],
    ]
    assert positions("trading.query_strategy_positions(0, %s, 'carry', 'XBTUSD', 9)", only=named[:1]) == [["trend"]]

    at = "trading.query_positions_at(0, %s, %s, %s, '', 9)"
    told = ("symbol", "quantity", "cost", "last_price", "unrealized_pnl")
    assert positions(at, "BTC-USDT", NOON - hour, only=told) == [["BTC-USDT", "1", "95", None, None]]
    assert positions(at, None, NOON, only=told) == [
        ["BTC-USDT", "4", "385", None, None],
        ["XBTUSD", "3", "-0.006", None, None],
    ]
    assert positions(at, "BTC-USDT", NOON + hour, only=told) == [["BTC-USDT", "8", "385", None, None]]
    assert positions(at, "BTC-USDT", NOON - 2 * hour) == []

    history = document(connection, "trading.query_position_history(0, %s, 'BTC-USDT', 0, 9)", ALICE)["executions"]
    of_entry = ("type", "order_id", "kind", "adjusted_quantity", "adjusted_value", "split_to", "quantity")
    assert [[entry[name] for name in of_entry] for entry in history] == [
        ["AccountAdjusted", None, "OPENING", "1", "90", None, "1"],
        ["OrderFilled", "o-1", None, None, None, None, "3"],
        ["AccountAdjusted", None, "SPLIT", "3", None, 2, "6"],
        ["ExecutionBooked", None, "LIQUIDATION", None, None, None, "4"],
        ["OrderFilled", "o-1", None, None, None, None, "0"],
        ["OrderFilled", "o-2", None, None, None, None, "1"],
    ]

    page = document(connection, "trading.query_cycles(0, %s, 'BTC-USDT', 0, 1)", ALICE)
    assert page["next"] == 1
    of_cycle = ("cycle", "side", "opened_position", "closed_position", "fill_count")
    assert [page["cycles"][0][name] for name in of_cycle] == [1, "LONG", 2, 7, 3]
    rest = document(connection, "trading.query_cycles(0, %s, 'BTC-USDT', 1, 1)", ALICE)
    assert "next" not in rest
    assert [rest["cycles"][0][name] for name in of_cycle] == [2, "LONG", 8, None, 1]
    for asked in (
        "query_strategy_positions(0, 'nobody', '', '', 9)", "query_positions_at(0, 'nobody', null, now(), '', 9)",
        "query_cycles(0, 'nobody', 'BTC-USDT', 0, 9)",
    ):  # fmt: skip
        assert document(connection, f"trading.{asked}") is None


def project_live(connection: psycopg.Connection[Row], events: int) -> None:
    for name in (*NAMES, "settings"):
        connection.execute("select eventstore.projection_round('live', %s, 0, %s)", [name, events]).fetchall()


def document(connection: psycopg.Connection[Row], call: str, *said: object) -> Any:
    row = connection.execute(f"select document from {call}".encode(), said).fetchone()
    assert row is not None
    return row["document"]


def test_a_bust_of_a_fill_that_never_was_is_an_error(connection: psycopg.Connection[Row]) -> None:
    head = write_executions(connection, [(ALICE, filled("1", "100", "e-1")), (ALICE, busted("1", "100", "e-9"))])
    with pytest.raises(psycopg.Error, match="a fill that does not exist") as error:
        project(connection, "whole", 0, head)
    assert error.value.sqlstate == "FB013"


KEY = ("account", "strategy_id", "symbol")
SHOWN = (
    "quantity", "cost", "realized_pnl", "cycle", "fees", "multiplier", "kind", "base_currency", "quote_currency",
)  # fmt: skip


def shown(position: Position) -> Row:
    return {
        "quantity": position.quantity,
        "cost": position.cost,
        "realized_pnl": position.realized_pnl,
        "cycle": position.cycle,
        "fees": {currency: plain(fee) for currency, fee in position.fees.items()},
        "multiplier": position.multiplier,
        "kind": position.kind,
    }


def described(found: Shown) -> Row:
    currencies = {"base_currency": found.base_currency, "quote_currency": found.quote_currency}
    return shown(found.position) | currencies


def plain(amount: Decimal) -> str:
    return f"{canonical(amount):f}"


def project(connection: psycopg.Connection[Row], copy: str, begin: int, end: int, name: str = "positions") -> None:
    connection.execute("select eventstore.projection_apply(%s, %s, 0, %s, %s)", [copy, name, begin, end])


def rows(connection: psycopg.Connection[Row], table: str) -> list[Row]:
    return connection.execute(f"select * from {table} order by account, 3, 4".encode()).fetchall()


def write_executions(connection: psycopg.Connection[Row], history: Sequence[tuple[str, Event]]) -> int:
    happenings = [
        Happening(account, type(event).__name__, json.loads(event.payload()), event.occurred_at or BEGIN)
        for account, event in history
    ]
    with psycopg.connect(connection.info.dsn, autocommit=True) as writer:
        return write(writer, happenings)


def empty(connection: psycopg.Connection[Row]) -> None:
    for table in ("events", "commits"):
        connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
    connection.execute("truncate eventstore.events, eventstore.commits")
    for copy in COPIES:
        connection.execute(
            f"truncate {copy}_positions.positions, {copy}_positions.position_entries,"
            f" {copy}_strategy_positions.strategy_positions".encode()
        )
