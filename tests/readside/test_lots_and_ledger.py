"""Lots and ledger: equal to a queue and a list in plain Python, however the log is cut, and to each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from foldbook.eventstore.readers.definitions import Definition
from foldbook.resources import projection_files
from foldbook.trading.values import EXACT
from tests.readside.executions import (
    Row,
    balances_of,
    base_fee,
    entries_of,
    executions,
    fifo,
    legs_of,
    signed_quantity,
    unit_price,
)
from tests.readside.histories import Happening, write
from tests.readside.projecting import administering, assert_equal_to_fresh_folds

NAMES = ("lots", "ledger")
TABLES = {
    "lots": ("lots", "opened_position, opened_leg"),
    "lot_closings": ("lots", "closed_position, closed_leg, opened_position, opened_leg"),
    "lot_positions": ("lots", "account, symbol"),
    "ledger_entries": ("ledger", "log_position, entry"),
    "ledger_balances": ("ledger", "account, currency"),
}
COPIES = ("whole", "cut")
LEDGER_ACCOUNTS = ("position", "cash", "exchange", "fees")
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Connection = psycopg.Connection[Row]


@pytest.fixture(autouse=True)
def exact_decimals() -> Iterator[None]:
    with localcontext(EXACT):
        yield


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """With two empty copies of both projections."""
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as opened:
        for definition in map(Definition.read, projection_files()):
            if definition.name in NAMES:
                for copy in COPIES:
                    opened.execute(
                        "select eventstore.projection_create(%s, %s, %s, %s)",
                        [copy, definition.name, definition.sql, list(definition.aggregate_types)],
                    )
        yield opened


def empty(connection: Connection) -> None:
    for table in ("events", "commits"):
        connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
    connection.execute("truncate eventstore.events, eventstore.commits")
    for table, (name, _) in TABLES.items():
        for schema in ("read", *(f"{copy}_{name}" for copy in COPIES)):
            connection.execute(f"truncate {schema}.{table}".encode())
    for name in NAMES:
        connection.execute("select eventstore.subscription_move(%s, 0, 0)", [name])


def log(connection: Connection, history: list[Happening]) -> int:
    with psycopg.connect(connection.info.dsn, autocommit=True) as writer:
        return write(writer, history)


def project(connection: Connection, copy: str, positions: list[int]) -> None:
    for name in NAMES:
        for begin, end in pairwise(positions):
            connection.execute("select eventstore.projection_apply(%s, %s, 0, %s, %s)", [copy, name, begin, end])


def tables(connection: Connection, copy: str) -> dict[str, list[Row]]:
    return {
        table: connection.execute(f"select * from {copy}_{name}.{table} order by {key}".encode()).fetchall()
        for table, (name, key) in TABLES.items()
    }


@settings(UNHURRIED, max_examples=50)
@given(history=executions(), cuts=st.lists(st.integers(1, 40), max_size=6))
def test_any_cut_of_the_log_folds_to_what_a_queue_and_a_list_say(
    connection: Connection, history: list[Happening], cuts: list[int]
) -> None:
    empty(connection)
    head = log(connection, history) if history else 0

    project(connection, "whole", [0, head])
    project(connection, "cut", [0, *sorted({c for c in cuts if c < head}), head])

    whole = tables(connection, "whole")
    expected = fifo(history)
    assert whole["lots"] == expected.lots
    assert whole["lot_closings"] == expected.closings
    assert whole["ledger_entries"] == entries_of(history)
    assert narrow(whole["ledger_balances"]) == {
        key: balance for key, balance in balances_of(entries_of(history)).items() if balance
    }
    assert tables(connection, "cut") == whole
    assert_consistent(whole, history)


def narrow(balances: list[Row]) -> dict[tuple[str, str, str], Decimal]:
    """Those that are not zero."""
    return {
        (row["account"], ledger_account, row["currency"]): row[ledger_account]
        for row in balances
        for ledger_account in LEDGER_ACCOUNTS
        if row[ledger_account]
    }


def assert_consistent(found: dict[str, list[Row]], history: list[Happening]) -> None:
    """Lots, ledger and the position by its definition tell one story."""
    bought: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    flow: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    symbols: dict[tuple[str, str], Row] = {}
    for (account, symbol), legs in legs_of(history).items():
        for leg in legs:
            symbols[account, symbol] = leg.payload
            bought[account, symbol] += leg.sign * signed_quantity(leg.payload)
    for lot in found["lots"]:
        key = lot["account"], lot["symbol"]
        held[key] += lot["remaining"]
        flow[key] += lot["realized_pnl"] - lot["remaining"] * lot["price"] * lot["multiplier"]

    # What remains of the lots is the position.
    assert held.keys() <= bought.keys()
    assert {key: held[key] for key in bought} == bought
    positions = {(row["account"], row["symbol"]): row["quantity"] for row in found["lot_positions"]}
    assert {key: positions.get(key, 0) for key in bought} == bought

    # What the ledger holds of a currency is the positions in it.
    by_base: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for (account, symbol), quantity in bought.items():
        by_base[account, "position", symbols[account, symbol].get("base_currency", symbol)] += quantity
    balances = narrow(found["ledger_balances"])
    assert {key: value for key, value in balances.items() if key[1] == "position"} == {
        key: value for key, value in by_base.items() if value
    }

    # The money paid and received before fees equals what the lots cost and have made. A fee in the base currency took
    # no money, so what the lots say is less by the fee's worth.
    cash: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    worth: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for entry in found["ledger_entries"]:
        if entry["entry"] in (2, 5):
            symbol = history[entry["log_position"] - 1].payload["symbol"]
            cash[entry["account"], symbol] -= entry["exchange"]
    for (account, symbol), legs in legs_of(history).items():
        for leg in legs:
            worth[account, symbol] += leg.sign * base_fee(leg.payload) * unit_price(leg.payload)
    assert {key: cash[key] for key in bought} == {key: flow[key] - worth[key] for key in bought}


@settings(UNHURRIED, max_examples=10)
@given(history=executions(events_max=25), steps=st.integers(1, 7))
def test_the_ledger_sums_to_zero_at_every_position_and_shows_past_balances(
    connection: Connection, history: list[Happening], steps: int
) -> None:
    empty(connection)
    head = log(connection, history) if history else 0
    for _ in range(0, head, steps):
        connection.execute("select eventstore.projection_round('live', 'ledger', 0, %s)", [steps])
        assert imbalance(connection) == []

    entries = entries_of(history)
    for position in range(head + 1):
        told = {
            (account, row["ledger_account"], row["currency"]): row["balance"]
            for account in {e.account for e in history}
            for row in connection.execute("select * from audit.ledger_as_of(%s, %s)", [account, position])
        }
        assert told == balances_of(e for e in entries if e["log_position"] <= position)
        for currency in {currency for _, _, currency in told}:
            assert sum(balance for (_, _, other), balance in told.items() if other == currency) == 0


def imbalance(connection: Connection) -> list[tuple[Any, ...]]:
    found = connection.execute("select log_position, problem, currency, imbalance from audit.ledger_imbalance()")
    return [tuple(row.values()) for row in found]


ALICE = "alice/binance/simulated"


def happening(event_type: str, exec_id: str, side: str = "BUY", **fields: Any) -> Happening:
    """Of one BTC-USDT at 100, with a fee of 0.1 USDT."""
    payload = {
        "order_id": f"o-{side}", "strategy_id": "s", "symbol": "BTC-USDT", "side": side, "exec_id": exec_id,
        "last_qty": "1", "last_px": "100", "fee": "0.1", "fee_currency": "USDT", "base_currency": "BTC",
        "quote_currency": "USDT",
    }  # fmt: skip
    return Happening(ALICE, event_type, payload | fields)


@pytest.mark.parametrize(
    ("tampering", "told"),
    [
        (
            "update {} set position = 2 where log_position = 2 and entry = 1",
            [(2, "unbalanced", "BTC", 3), (None, "balance", "BTC", -3)],
        ),
        (
            "delete from {} where log_position = 2 and entry = 2",
            [(None, "balance", "USDT", Decimal("99.9"))],
        ),
        (
            "update {} set currency = 'EUR' where log_position = 3 and entry = 5",
            [(None, "balance", "EUR", Decimal("200.1")), (None, "balance", "USDT", Decimal("-200.1"))],
        ),
        (
            "delete from {} where log_position = 3",
            [(3, "missing", None, None), (None, "balance", "BTC", 1), (None, "balance", "USDT", -100)],
        ),
        (
            "update {} set log_position = 7 where log_position = 1",
            [(1, "missing", None, None), (7, "stray", None, None)],
        ),
    ],
)
def test_a_ledger_that_was_tampered_with_is_found(
    connection: Connection, tampering: str, told: list[tuple[Any, ...]]
) -> None:
    history = [
        happening("OrderFilled", "x-1"),
        happening("OrderFilled", "x-2", "SELL"),
        happening("FillCorrected", "x-3", exec_ref_id="x-1", last_qty="2"),
    ]
    log(connection, history)
    connection.execute("select eventstore.projection_round('live', 'ledger', 0, 10)")
    assert imbalance(connection) == []
    connection.execute("alter table read.ledger_entries drop constraint balanced")
    connection.execute(tampering.format("read.ledger_entries").encode())
    assert imbalance(connection) == told


def test_what_is_not_projected_yet_is_not_missing(connection: Connection) -> None:
    log(connection, [happening("OrderFilled", f"x-{number}") for number in range(4)])
    connection.execute("select eventstore.projection_round('live', 'ledger', 0, 2)")
    assert imbalance(connection) == []


def test_a_balance_that_does_not_sum_to_zero_is_refused(connection: Connection) -> None:
    log(connection, [happening("OrderFilled", "x-1")])
    connection.execute("select eventstore.projection_round('live', 'ledger', 0, 1)")
    for table in ("ledger_balances", "ledger_entries"):
        with pytest.raises(psycopg.errors.CheckViolation, match="balanced"):
            connection.execute(f"update read.{table} set cash = cash + 1".encode())


@pytest.mark.parametrize("event_type", ["FillBusted", "FillCorrected"])
@pytest.mark.parametrize("is_reversal", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_about_a_fill_that_never_was_is_an_error(
    connection: Connection, name: str, event_type: str, is_reversal: bool
) -> None:
    about = happening(event_type, "x-2", exec_ref_id="x-9", is_reversal=is_reversal)
    head = log(connection, [happening("OrderFilled", "x-1"), about])
    with pytest.raises(psycopg.Error, match=r"a fill that does not exist|violates not-null"):
        connection.execute("select eventstore.projection_apply('whole', %s, 0, 0, %s)", [name, head])


def test_amounts_stay_exact(connection: Connection) -> None:
    """Twenty digits before the point, eighteen after it."""
    amount = "99999999999999999999.999999999999999999"
    tiny = "0.000000000000000001"
    history = [
        happening("OrderFilled", "x-1", last_qty=amount, last_px=tiny),
        happening("OrderFilled", "x-2", "SELL", last_qty=tiny, last_px=amount),
    ]
    log(connection, history)
    project(connection, "whole", [0, 2])
    (lot,) = tables(connection, "whole")["lots"]
    assert lot["remaining"] == Decimal("99999999999999999999.999999999999999998")
    assert lot["realized_pnl"] == Decimal("99.999999999999999999999999999999999998")


def test_a_bust_of_long_ago_matches_again_from_there_on(connection: Connection) -> None:
    """Three lots, the first closed: without it, the second was."""
    history = [
        happening("OrderFilled", "x-1", last_px="10"),
        happening("OrderFilled", "x-2", last_px="20"),
        happening("OrderFilled", "x-3", last_px="30"),
        happening("OrderFilled", "x-4", "SELL", last_px="100"),
        happening("FillBusted", "x-5", exec_ref_id="x-1"),
    ]
    log(connection, history)
    project(connection, "whole", [0, 4])
    assert made(connection) == {"x-1": Decimal(90), "x-2": 0, "x-3": 0}
    project(connection, "whole", [4, 5])
    assert made(connection) == {"x-2": Decimal(80), "x-3": 0}


def test_a_symbol_whose_only_fill_was_busted_is_forgotten(connection: Connection) -> None:
    log(connection, [happening("OrderFilled", "x-1"), happening("FillBusted", "x-2", exec_ref_id="x-1")])
    project(connection, "whole", [0, 2])
    project(connection, "cut", [0, 1, 2])
    for copy in COPIES:
        assert all(tables(connection, copy)[table] == [] for table in ("lots", "lot_closings", "lot_positions"))


def made(connection: Connection) -> dict[str, Decimal]:
    return {row["exec_id"]: row["realized_pnl"] for row in tables(connection, "whole")["lots"]}


async def test_a_rebuild_comes_to_what_was_projected_live(connection: Connection, database: str) -> None:
    history = busy_history()
    head = log(connection, history)
    for name in NAMES:
        for _ in range(0, head, 40):
            connection.execute("select eventstore.projection_round('live', %s, 0, 40)", [name])
    await assert_equal_to_fresh_folds(database, NAMES)

    live = live_tables(connection)
    async with administering(database) as admin:
        for name in NAMES:
            await admin.rebuild(name)

    assert live_tables(connection) == live
    assert live["lots"] == fifo(history).lots
    assert live["ledger_entries"] == entries_of(history)


def busy_history() -> list[Happening]:
    """Seven accounts; of the fills of ten, one is busted or corrected soon, and one late."""
    history: list[Happening] = []
    fills: list[Happening] = []
    for number in range(300):
        account = f"trader-{number % 7}/binance/simulated"
        side = "BUY" if number % 5 < 3 else "SELL"
        terms = {"last_qty": f"{number % 3 + 1}", "last_px": f"{100 + number % 11}"}
        fills.append(Happening(account, "OrderFilled", happening("OrderFilled", f"x-{number}", side, **terms).payload))
        history.append(fills[-1])
        if number % 10 in (4, 9):
            old = fills[-1] if number % 10 == 4 else fills[number // 2 - 1]
            event_type = "FillBusted" if number % 20 < 10 else "FillCorrected"
            payload: Row = {**old.payload, "exec_id": f"y-{number}", "exec_ref_id": old.payload["exec_id"]}
            payload |= {"last_qty": "5"} if event_type == "FillCorrected" else {}
            payload |= {"is_reversal": True} if number % 30 == 9 else {}
            history.append(Happening(old.account, event_type, payload))
    return history


def live_tables(connection: Connection) -> dict[str, list[Row]]:
    return {
        table: connection.execute(f"select * from read.{table} order by {key}".encode()).fetchall()
        for table, (_, key) in TABLES.items()
    }


ROWS_READ = """
select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
from pg_stat_xact_user_tables
where relname in ('events', 'lots', 'lot_closings', 'lot_positions', 'ledger_entries', 'ledger_balances')
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_small_range_reads_few_rows_however_many_lots_are_open(connection: Connection, name: str) -> None:
    """On a session whose plans were made when there was nothing."""
    for number in range(8):  # more often than the planner tries custom plans
        log(connection, [happening("OrderFilled", f"early-{number}")])
        connection.execute("select eventstore.projection_round('live', %s, 0, 1)", [name])
    log(connection, [happening("OrderFilled", f"x-{number}", order_id=f"o-{number}") for number in range(6_000)])
    connection.execute("select eventstore.projection_round('live', %s, 0, 10000)", [name])

    late = [happening("OrderFilled", f"s-{number}", "SELL", last_qty="1.5") for number in range(6)]
    late += [
        happening("FillBusted", "b-1", order_id="o-5998", exec_ref_id="x-5998"),
        happening("FillCorrected", "b-2", order_id="o-5990", exec_ref_id="x-5990", last_qty="2"),
        happening("FillBusted", "b-3", order_id="o-7", exec_ref_id="x-7", is_reversal=True),
    ]
    log(connection, late)
    for _ in late:
        with connection.transaction():
            before = rows_read(connection)
            connection.execute("select eventstore.projection_round('live', %s, 0, 1)", [name])
            assert rows_read(connection) - before < 100
    if name == "lots":
        (row,) = connection.execute("select quantity from read.lot_positions").fetchall()
        assert row["quantity"] == 8 + 6_000 - 9 - 1 + 1 - 1


def rows_read(connection: Connection) -> int:
    (row,) = connection.execute(ROWS_READ.encode()).fetchall()
    return int(row["sum"])
