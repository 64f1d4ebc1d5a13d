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
    LEDGER_ACCOUNTS,
    Foreign,
    Row,
    balances_of,
    base_fee,
    bookings,
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
    "ledger_renames": ("ledger", "account, unit, log_position"),
}
COPIES = ("whole", "cut")
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
        connection.execute("update eventstore.subscriptions set checkpoint = 0 where name = %s", [name])


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


@settings(UNHURRIED, max_examples=30)
@given(history=executions(), cuts=st.lists(st.integers(1, 40), max_size=6))
def test_any_cut_of_the_log_folds_to_what_a_queue_and_a_list_say(
    connection: Connection, history: list[Happening], cuts: list[int]
) -> None:
    assert_consistent(folded_alike(connection, history, cuts), history)


@settings(UNHURRIED, max_examples=75)
@given(history=bookings(), cuts=st.lists(st.integers(1, 40), max_size=6))
def test_so_does_a_log_in_which_everything_happens(
    connection: Connection, history: list[Happening], cuts: list[int]
) -> None:
    found = folded_alike(connection, history, cuts)
    assert_lots_are_the_position(found, history)


def folded_alike(connection: Connection, history: list[Happening], cuts: list[int]) -> dict[str, list[Row]]:
    """The tables after one range, which are those after many and those of the model."""
    empty(connection)
    head = log(connection, history) if history else 0

    project(connection, "whole", [0, head])
    project(connection, "cut", [0, *sorted({c for c in cuts if c < head}), head])

    whole = tables(connection, "whole")
    expected = fifo(history)
    assert whole["lots"] == expected.lots
    assert whole["lot_closings"] == expected.closings
    assert whole["ledger_entries"] == entries_of(history)
    assert narrow(whole["ledger_balances"]) == balances_of(entries_of(history))
    assert tables(connection, "cut") == whole
    return whole


def narrow(balances: list[Row]) -> dict[tuple[str, str, str], Decimal]:
    """Those that are not zero."""
    return {
        (row["account"], ledger_account, row["currency"]): row[ledger_account]
        for row in balances
        for ledger_account in LEDGER_ACCOUNTS
        if row[ledger_account]
    }


def assert_lots_are_the_position(found: dict[str, list[Row]], history: list[Happening]) -> None:
    bought: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for key, legs in legs_of(history).items():
        bought[key] = sum((leg.sign * signed_quantity(leg.payload) for leg in legs), Decimal(0))
    for lot in found["lots"]:
        held[lot["account"], lot["symbol"]] += lot["remaining"]
    assert held.keys() <= bought.keys()
    assert {key: held[key] for key in bought} == bought
    positions = {(row["account"], row["symbol"]): row["quantity"] for row in found["lot_positions"]}
    assert {key: positions.get(key, 0) for key in bought} == bought


def assert_consistent(found: dict[str, list[Row]], history: list[Happening]) -> None:
    """Lots, ledger and the position by its definition tell one story."""
    assert_lots_are_the_position(found, history)
    all_legs = legs_of(history)
    flow: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for lot in found["lots"]:
        flow[lot["account"], lot["symbol"]] += lot["realized_pnl"] - lot["remaining"] * lot["unit_cost"]

    # What the ledger holds of a currency is the positions in it: in units of the currency, if that is known.
    by_base: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for (account, symbol), legs in all_legs.items():
        for leg in legs:
            known = "base_currency" in leg.payload
            multiplier = Decimal(leg.payload.get("multiplier", "1")) if known else Decimal(1)
            fee = base_fee(leg.payload)
            quantity = (signed_quantity(leg.payload) + fee) * multiplier - fee
            by_base[account, "position", leg.payload.get("base_currency", symbol)] += leg.sign * quantity
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
    for (account, symbol), legs in all_legs.items():
        for leg in legs:
            worth[account, symbol] += leg.sign * base_fee(leg.payload) * unit_price(leg.payload)
    assert {key: cash[key] for key in all_legs} == {key: flow[key] - worth[key] for key in all_legs}


@settings(UNHURRIED, max_examples=12)
@given(history=bookings(events_max=25), steps=st.integers(1, 7))
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


def adjusted(kind: str, **fields: Any) -> Happening:
    payload = {"kind": kind, "reference": "statement 1", "base_currency": "BTC", "quote_currency": "USDT"}
    return Happening(ALICE, "AccountAdjusted", payload | fields)


def held(symbol: str, quantity: str, value: str, **fields: Any) -> Happening:
    return adjusted("TRANSFER", symbol=symbol, quantity=quantity, value=value, **fields)


def split(quantity: str, split_to: int, split_from: int) -> Happening:
    return adjusted("SPLIT", symbol="BTC-USDT", quantity=quantity, split_to=split_to, split_from=split_from)


def money(kind: str, amount: str) -> Happening:
    return adjusted(kind, currency="USDT", amount=amount)


def of(symbol: str, **fields: Any) -> Happening:
    """A fill of 2 at 100 of a symbol whose currencies are unknown, unless they are named."""
    base: dict[str, Any] = {
        "symbol": symbol,
        "last_qty": "2",
        "fee": "0",
        "base_currency": None,
        "quote_currency": None,
    }
    return happening("OrderFilled", "x-1", **base | fields)


FUTURE = {"instrument_kind": "FUTURE", "multiplier": "10", "base_currency": "BTC", "quote_currency": "USDT"}
INVERSE = {"instrument_kind": "INVERSE", "multiplier": "50", "base_currency": "BTC", "quote_currency": "USD"}


@pytest.mark.parametrize(
    ("event", "entries"),
    [
        (
            happening("OrderFilled", "x-1"),
            [("BTC", {"position": 1, "exchange": -1}), ("USDT", {"cash": "-100.1", "exchange": 100, "fees": "0.1"})],
        ),
        (
            happening("OrderFilled", "x-1", fee_currency="BTC"),
            [
                ("BTC", {"position": "0.9", "exchange": -1, "fees": "0.1"}),
                ("USDT", {"cash": -100, "exchange": 100}),
            ],
        ),
        (
            of("ES=F", **FUTURE, fee="0.1", fee_currency="BTC"),
            [
                ("BTC", {"position": 20, "exchange": -20}),
                ("USDT", {"cash": -2000, "exchange": 2000}),
                ("BTC", {"cash": "-0.1", "fees": "0.1"}),
            ],
        ),
        (
            of("XBTUSD", **INVERSE, fee="0.1", fee_currency="BTC"),
            [("XBTUSD", {"position": 2, "exchange": -2}), ("BTC", {"cash": "0.9", "exchange": -1, "fees": "0.1"})],
        ),
        (
            of("XBTUSD", **INVERSE, gross_amount="0.99"),
            [("XBTUSD", {"position": 2, "exchange": -2}), ("BTC", {"cash": "0.99", "exchange": "-0.99"})],
        ),
        (
            of("ABC", instrument_kind="FUTURE", multiplier="10"),
            [("ABC", {"position": 2, "exchange": -2}), ("ABC|quote", {"cash": -2000, "exchange": 2000})],
        ),
        (
            of("CL", last_px="-37.63", quote_currency="USD"),
            [("CL", {"position": 2, "exchange": -2}), ("USD", {"cash": "75.26", "exchange": "-75.26"})],
        ),
        (
            happening("OrderFilled", "x-1", "SELL", gross_amount="99.99"),
            [
                ("BTC", {"position": -1, "exchange": 1}),
                ("USDT", {"cash": "99.89", "exchange": "-99.99", "fees": "0.1"}),
            ],
        ),
        (
            happening("OrderFilled", "x-1", last_qty="0", fee_currency="BNB"),
            [("BTC", {}), ("USDT", {}), ("BNB", {"cash": "-0.1", "fees": "0.1"})],
        ),
        (held("BTC-USDT", "-2", "-150"), [("BTC", {"position": -2, "capital": 2})]),
        (held("ES=F", "2", "150", **FUTURE), [("BTC", {"position": 20, "capital": -20})]),
        (held("XBTUSD", "2", "150", **INVERSE), [("XBTUSD", {"position": 2, "capital": -2})]),
        (split("3", 4, 1), [("BTC", {"position": 3, "capital": -3})]),
        (money("OPENING", "5"), [("USDT", {"cash": 5, "capital": -5})]),
        (money("TRANSFER", "-5"), [("USDT", {"cash": -5, "capital": 5})]),
        (money("CASH", "5"), [("USDT", {"cash": 5, "capital": -5})]),
        (money("FUNDING", "-5"), [("USDT", {"cash": -5, "income": 5})]),
        (money("DIVIDEND", "5"), [("USDT", {"cash": 5, "income": -5})]),
        (money("FEE", "5"), [("USDT", {"cash": -5, "fees": 5})]),
    ],
)
def test_what_is_posted(connection: Connection, event: Happening, entries: list[tuple[str, dict[str, Any]]]) -> None:
    log(connection, [event])
    project(connection, "whole", [0, 1])
    assert posted(connection, 1) == amounts(entries)


def posted(connection: Connection, position: int) -> list[tuple[str, dict[str, Decimal]]]:
    rows = tables(connection, "whole")["ledger_entries"]
    return [
        (row["currency"], {name: row[name] for name in LEDGER_ACCOUNTS if row[name]})
        for row in rows
        if row["log_position"] == position
    ]


def amounts(entries: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Decimal]]]:
    return [(currency, {name: Decimal(amount) for name, amount in moved.items()}) for currency, moved in entries]


def test_an_execution_without_an_order_is_posted_busted_and_makes_a_lot(connection: Connection) -> None:
    booked = {
        name: value for name, value in happening("", "x-1").payload.items() if name not in ("order_id", "strategy_id")
    }
    booked |= {"kind": "LIQUIDATION"}
    history: list[Happening] = [
        Foreign(ALICE, "ExecutionBooked", booked),
        Foreign(ALICE, "ExecutionCorrected", booked | {"exec_id": "x-2", "exec_ref_id": "x-1", "last_qty": "3"}),
        Foreign(ALICE, "ExecutionBusted", booked | {"exec_id": "x-3", "exec_ref_id": "x-1", "last_qty": "3"}),
    ]
    log(connection, history)
    project(connection, "whole", [0, 2])
    (lot,) = tables(connection, "whole")["lots"]
    assert (lot["order_id"], lot["exec_id"], lot["quantity"], lot["opened_position"]) == (None, "x-1", 3, 1)
    project(connection, "whole", [2, 3])
    assert tables(connection, "whole")["lots"] == []
    assert narrow(tables(connection, "whole")["ledger_balances"]) == {}


def test_what_was_booked_in_an_unknown_unit_is_booked_over(connection: Connection) -> None:
    history = [
        of("ABC", instrument_kind="FUTURE", multiplier="10"),
        defined("ABC", put_right=["base_currency", "quote_currency"]),
        happening(
            "FillBusted", "x-2", exec_ref_id="x-1", symbol="ABC", last_qty="2", fee="0", instrument_kind="FUTURE",
            multiplier="10", base_currency=None, quote_currency=None,
        ),
    ]  # fmt: skip
    log(connection, history)
    project(connection, "whole", [0, 3])
    assert posted(connection, 2) == amounts(
        [
            ("ABC", {"position": -2, "exchange": 2}),
            ("BTC", {"position": 20, "exchange": -20}),
            ("ABC|quote", {"cash": 2000, "exchange": -2000}),
            ("USDT", {"cash": -2000, "exchange": 2000}),
        ]
    )
    # What the fill was booked over to, it is busted in.
    assert posted(connection, 3) == amounts(
        [("BTC", {"position": -20, "exchange": 20}), ("USDT", {"cash": 2000, "exchange": -2000})]
    )
    assert narrow(tables(connection, "whole")["ledger_balances"]) == {}


def defined(symbol: str, **fields: Any) -> Happening:
    payload = {"symbol": symbol, "kind": "FUTURE", "multiplier": "10", "base_currency": "BTC", "quote_currency": "USDT"}
    return Happening(ALICE, "InstrumentDefined", payload | fields)


def test_nothing_is_booked_over_where_nothing_was_booked(connection: Connection) -> None:
    history = [defined("ABC"), of("ABC", **FUTURE), defined("ABC", put_right=["base_currency", "quote_currency"])]
    log(connection, history)
    project(connection, "whole", [0, 3])
    assert posted(connection, 1) == posted(connection, 3) == []
    connection.execute("select eventstore.projection_round('live', 'ledger', 0, 3)")
    assert imbalance(connection) == []


def test_a_transfer_closes_lots_at_their_own_cost(connection: Connection) -> None:
    """And what it goes beyond them, it opens at what the event says."""
    history = [
        happening("OrderFilled", "x-1", last_px="10", fee="0"),
        happening("OrderFilled", "x-2", last_px="20", fee="0"),
        held("BTC-USDT", "-1.5", "-22.5"),
        held("BTC-USDT", "-1", "-30"),
        happening("FillBusted", "x-3", exec_ref_id="x-2", last_px="20", fee="0"),
    ]
    log(connection, history)
    project(connection, "whole", [0, 4])
    lots = tables(connection, "whole")["lots"]
    assert [(lot["remaining"], lot["unit_cost"], lot["realized_pnl"]) for lot in lots] == [
        (0, 10, 0),
        (0, 20, 0),
        (Decimal("-0.5"), 30, 0),
    ]
    # Without the second fill, the first transfer has opened something too: at its own cost, not at that of a lot.
    project(connection, "whole", [4, 5])
    lots = tables(connection, "whole")["lots"]
    assert [(lot["remaining"], lot["unit_cost"], lot["realized_pnl"]) for lot in lots] == [
        (0, 10, 0),
        (Decimal("-0.5"), 15, 0),
        (-1, 30, 0),
    ]


def test_a_split_opens_each_lot_anew(connection: Connection) -> None:
    history = [
        happening("OrderFilled", "x-1", last_px="10", fee="0"),
        happening("OrderFilled", "x-2", last_qty="2", last_px="20", fee="0"),
        happening("OrderFilled", "x-3", "SELL", last_qty="0.5", last_px="30", fee="0"),
        split("-1.666666666666666667", 1, 3),
        happening("OrderFilled", "x-4", "SELL", last_qty="0.5", last_px="90", fee="0"),
    ]
    log(connection, history)
    project(connection, "whole", [0, 5])
    found = tables(connection, "whole")
    renewed = found["lots"][2:]
    assert [(lot["opened_position"], lot["opened_leg"], lot["exec_id"]) for lot in renewed] == [
        (4, 0, "x-1"),
        (4, 1, "x-2"),
    ]
    assert [lot["opened_at"] for lot in renewed] == [lot["opened_at"] for lot in found["lots"][:2]]
    assert [lot["quantity"] for lot in renewed] == [Decimal("0.166666666666666666"), Decimal("0.666666666666666667")]
    assert [lot["remaining"] for lot in renewed] == [0, Decimal("0.333333333333333333")]
    # 0.5 and 2 were left, at 10 and 20.
    assert abs(sum(lot["quantity"] * lot["unit_cost"] for lot in renewed) - 45) < Decimal("1e-35")
    assert [row["realized_pnl"] for row in found["lot_closings"] if row["closed_position"] == 4] == [0, 0]
    assert found["lot_positions"][0]["quantity"] == Decimal("0.333333333333333333")


@pytest.mark.parametrize("event_type", ["FillBusted", "FillCorrected", "ExecutionBusted", "ExecutionCorrected"])
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
    """Seven accounts; of the fills of ten, one is busted or corrected soon, one late, and once a symbol comes and goes
    whose currencies are unknown at first."""
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
        if number % 10 == 7:
            history += rarities(account, number)
    return history


def rarities(account: str, number: int) -> list[Happening]:
    """Nothing is held of the symbol before them, and nothing after them."""
    known = FUTURE if number > 150 else {"instrument_kind": "FUTURE", "multiplier": "10"}
    booked = {"symbol": "ABC", "kind": "ASSIGNMENT", "last_px": "-7", "fee": "1", "fee_currency": "BTC"} | known
    moved = {"symbol": "ABC", "reference": "statement 1"} | known
    return [
        Foreign(account, "ExecutionBooked", booked | {"exec_id": f"z-{number}", "side": "BUY", "last_qty": "3"}),
        Happening(account, "AccountAdjusted", moved | {"kind": "TRANSFER", "quantity": "2", "value": "25"}),
        Happening(
            account, "AccountAdjusted", moved | {"kind": "SPLIT", "quantity": "-2.5", "split_to": 1, "split_from": 2}
        ),
        Happening(
            account, "InstrumentDefined", defined("ABC", put_right=["base_currency", "quote_currency"]).payload
        ),
        Foreign(
            account, "ExecutionBooked",
            booked | FUTURE | {"exec_id": f"z-{number}-2", "side": "SELL", "last_qty": "2.5", "gross_amount": "-17.33"},
        ),
    ]  # fmt: skip


def live_tables(connection: Connection) -> dict[str, list[Row]]:
    return {
        table: connection.execute(f"select * from read.{table} order by {key}".encode()).fetchall()
        for table, (_, key) in TABLES.items()
    }


ROWS_READ = """
select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
from pg_stat_xact_user_tables
where relname in (
    'events', 'lots', 'lot_closings', 'lot_positions', 'ledger_entries', 'ledger_balances', 'ledger_renames'
)
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
