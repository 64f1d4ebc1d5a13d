"""The documents of lots, ledger entries and balances: every page, with every filter, and few rows read for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from psycopg.rows import dict_row

from foldbook.trading.values import EXACT
from tests.readside.executions import ACCOUNTS, LEDGER_ACCOUNTS, Row, balances_of, bookings, entries_of, fifo
from tests.readside.histories import Happening, book_created, plain, write

Connection = psycopg.Connection[Row]
Document = dict[str, Any]

LIMIT = 3
ALICE = ACCOUNTS[0]


@pytest.fixture(autouse=True)
def exact_decimals() -> Iterator[None]:
    with localcontext(EXACT):
        yield


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as opened:
        yield opened


def project(connection: Connection, history: list[Happening]) -> None:
    with psycopg.connect(connection.info.dsn, autocommit=True) as writer:
        write(writer, history)
    for name in ("lots", "ledger"):
        connection.execute("select eventstore.projection_round('live', %s, 0, 1000000)", [name])


def empty(connection: Connection) -> None:
    for table in ("events", "commits"):
        connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
    connection.execute("truncate eventstore.events, eventstore.commits")
    connection.execute(
        "truncate read.lots, read.lot_closings, read.lot_positions,"
        " read.ledger_entries, read.ledger_balances, read.ledger_renames"
    )
    for name in ("lots", "ledger"):
        connection.execute("update eventstore.subscriptions set checkpoint = 0 where name = %s", [name])


def asked(connection: Connection, query: str, *arguments: Any) -> Document | None:
    placeholders = ", ".join(["%s"] * len(arguments))
    row = connection.execute(f"select * from trading.{query}(0, {placeholders})".encode(), arguments).fetchone()
    assert row is not None
    document: Document | None = row["document"]
    return document


def pages(name: str, ask: Callable[[str | None], Document | None]) -> list[Document]:
    """The items of all pages."""
    found: list[Document] = []
    after: str | None = None
    while True:
        document = ask(after)
        assert document is not None
        assert len(document[name]) <= LIMIT
        found += document[name]
        after = document.get("next")
        if after is None:
            return found
        assert len(document[name]) == LIMIT


def lots(connection: Connection, symbol: str | None = None, is_open: bool | None = None) -> list[Document]:
    def ask(after: str | None) -> Document | None:
        after_symbol, position, leg = (after or "|0|0").split("|")
        return asked(connection, "query_lots", ALICE, symbol, is_open, after_symbol, int(position), int(leg), LIMIT)

    return pages("lots", ask)


def ledger(connection: Connection, currency: str | None = None) -> list[Document]:
    def ask(after: str | None) -> Document | None:
        position, entry = (after or "0:0").split(":")
        return asked(connection, "query_ledger", ALICE, currency, int(position), int(entry), LIMIT)

    return pages("entries", ask)


def balances(connection: Connection) -> list[Document]:
    return pages("balances", lambda after: asked(connection, "query_balances", ALICE, after or "", LIMIT))


def figure(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount or Decimal(0))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=bookings())
def test_the_pages_are_all_there_is(connection: Connection, history: list[Happening]) -> None:
    empty(connection)
    history = [book_created(ALICE), *history]
    project(connection, history)
    shown = lots(connection)
    expected = sorted(
        (lot for lot in fifo(history).lots if lot["account"] == ALICE),
        key=lambda lot: (lot["symbol"], lot["opened_position"], lot["opened_leg"]),
    )
    assert [(lot["symbol"], lot["opened_position"], lot["opened_leg"]) for lot in shown] == [
        (lot["symbol"], lot["opened_position"], lot["opened_leg"]) for lot in expected
    ]
    for lot, row in zip(shown, expected, strict=True):
        assert {name: lot[name] for name in ("order_id", "exec_id")} == {
            name: row[name] for name in ("order_id", "exec_id")
        }
        for name in ("quantity", "remaining", "unit_cost", "price", "realized_pnl"):
            assert lot[name] == figure(row[name])
        assert lot["is_open"] == bool(row["remaining"])
    for symbol in {lot["symbol"] for lot in shown} | {"NOTHING"}:
        assert lots(connection, symbol) == [lot for lot in shown if lot["symbol"] == symbol]
    for is_open in (True, False):
        assert lots(connection, None, is_open) == [lot for lot in shown if lot["is_open"] is is_open]

    entries = [entry for entry in entries_of(history) if entry["account"] == ALICE]
    shown = ledger(connection)
    assert [(e["log_position"], e["entry"], e["currency"]) for e in shown] == [
        (e["log_position"], e["entry"], e["currency"]) for e in entries
    ]
    assert [e["amounts"] for e in shown] == [{name: figure(e[name]) for name in LEDGER_ACCOUNTS} for e in entries]
    assert [e["type"] for e in shown] == [history[e["log_position"] - 1].type for e in entries]
    for entry in shown:
        event = history[entry["log_position"] - 1]
        kind = event.payload.get("kind") if event.type != "InstrumentDefined" else None
        named = {name: event.payload.get(name) for name in ("symbol", "order_id", "exec_id", "reference")}
        assert {name: entry[name] for name in ("kind", *named)} == {"kind": kind} | named
    for currency in {entry["currency"] for entry in entries}:
        assert ledger(connection, currency) == [entry for entry in shown if entry["currency"] == currency]

    held = balances(connection)
    assert [balance["currency"] for balance in held] == sorted({entry["currency"] for entry in entries})
    assert {
        (ALICE, name, balance["currency"]): Decimal(amount)
        for balance in held
        for name, amount in balance["amounts"].items()
        if amount != "0"
    } == balances_of(entries)


def test_an_unknown_account_has_no_document(connection: Connection) -> None:
    project(connection, [book_created(ALICE)])
    for query, arguments, name in (
        ("query_lots", (None, None, "", 0, 0, LIMIT), "lots"),
        ("query_ledger", (None, 0, 0, LIMIT), "entries"),
        ("query_balances", ("", LIMIT), "balances"),
    ):
        assert asked(connection, query, ALICE, *arguments) == {name: []}
        assert asked(connection, query, "nobody/binance/live", *arguments) is None


ROWS_READ = """
select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
from pg_stat_xact_user_tables
where relname in ('events', 'lots', 'lot_positions', 'ledger_entries', 'ledger_balances')
"""


def test_a_page_reads_few_rows_however_deep_it_is(connection: Connection) -> None:
    """Of 3,000 lots, the first half is closed."""
    fill = {"order_id": "o-1", "strategy_id": "s", "symbol": "BTC-USDT", "side": "BUY", "last_qty": "1", "last_px": "9"}
    history = [book_created(ALICE)]
    history += [Happening(ALICE, "OrderFilled", fill | {"exec_id": f"x-{n}"}) for n in range(3_000)]
    out = {"kind": "TRANSFER", "reference": "r", "symbol": "BTC-USDT", "quantity": "-1500", "value": "-9"}
    history.append(Happening(ALICE, "AccountAdjusted", out))
    project(connection, history)
    for query, *arguments in (
        ("query_lots", ALICE, None, None, "BTC-USDT", 2_000, 0, 10),
        ("query_lots", ALICE, None, True, "", 0, 0, 10),
        ("query_lots", ALICE, "BTC-USDT", True, "BTC-USDT", 2_500, 0, 10),
        ("query_lots", ALICE, None, False, "BTC-USDT", 1_400, 0, 10),
        ("query_ledger", ALICE, None, 2_000, 1, 10),
        ("query_ledger", ALICE, "BTC-USDT|quote", 2_000, 1, 10),
        ("query_balances", ALICE, "", 10),
    ):
        with connection.transaction():
            before = rows_read(connection)
            document = asked(connection, query, *arguments)
            assert rows_read(connection) - before < 60, query
            assert document is not None
            if query != "query_balances":
                assert "next" in document


def rows_read(connection: Connection) -> int:
    row = connection.execute(ROWS_READ.encode()).fetchone()
    assert row is not None
    return int(row["sum"])
