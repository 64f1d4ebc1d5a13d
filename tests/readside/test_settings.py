"""The settings of accounts: the latest of each applies, however the log is cut into ranges."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.readside.copies import Copies, copies_of
from tests.readside.histories import Happening, amounts, plain, times

KEYS = {
    "account_settings": "account",
    "risk_limits": "account, symbol",
    "instruments": "account, symbol",
    "prices": "account, symbol",
}
SYMBOLS = st.sampled_from(["BTC-USDT", "ETH-USDT"])


@pytest.fixture
def copies(database: str) -> Iterator[Copies]:
    with copies_of(database, "settings") as made:
        yield made


@st.composite
def happenings(draw: st.DrawFn) -> Happening:
    payload: dict[str, Any]
    match draw(st.sampled_from(["TradingStateChanged", "RiskLimitsSet", "InstrumentDefined", "PriceRecorded"])):
        case "TradingStateChanged" as type_name:
            payload = {"state": draw(st.sampled_from(["ACTIVE", "REDUCING", "HALTED"]))}
            payload |= draw(st.sampled_from([{}, {"reason": "by hand"}]))
        case "RiskLimitsSet" as type_name:
            payload = draw(st.sampled_from([{}, {"symbol": "BTC-USDT"}, {"symbol": "ETH-USDT"}]))
            payload = payload | {"limits": draw(st.sampled_from([{}, {"max_quantity": "1.5", "max_open_orders": 3}]))}
        case "InstrumentDefined" as type_name:
            payload = {"symbol": draw(SYMBOLS), "multiplier": plain(draw(amounts))}
            payload |= draw(st.sampled_from([{}, {"tick_size": "0.5", "lot_size": "0.001"}]))
            payload |= draw(st.sampled_from([{}, {"base_currency": "BTC", "quote_currency": "USDT"}]))
            payload |= draw(st.sampled_from([{}, {"kind": "FUTURE", "expiry": "2026-03-20T14:30:00Z"}]))
            payload |= draw(st.sampled_from([{}, {"allows_negative_prices": True, "put_right": ["quote_currency"]}]))
        case type_name:
            payload = {"symbol": draw(SYMBOLS), "price": plain(draw(amounts))}
            payload |= draw(st.sampled_from([{}, {"counted_at": "2026-01-02T03:04:05Z"}]))
    return Happening(draw(st.sampled_from(["a/x/live", "b/x/live"])), type_name, payload, draw(times))


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def folded(history: list[Happening]) -> dict[str, dict[Any, dict[str, Any]]]:
    """The tables by key, one event after the other."""
    tables: dict[str, dict[Any, dict[str, Any]]] = {table: {} for table in KEYS}
    for position, e in enumerate(history, 1):
        p: dict[str, Any] = e.payload
        key = (e.account, p.get("symbol", ""))
        row: dict[str, Any] = {"shard": 0, "account": e.account, "position": position}
        changed = row | {"changed_at": e.occurred_at}
        match e.type:
            case "TradingStateChanged":
                tables["account_settings"][e.account] = changed | {
                    "trading_state": p["state"],
                    "reason": p.get("reason"),
                }
            case "RiskLimitsSet":
                tables["risk_limits"][key] = changed | {"symbol": key[1], "limits": p["limits"]}
            case "InstrumentDefined":
                tables["instruments"][key] = (
                    changed
                    | {"symbol": key[1], "multiplier": Decimal(p["multiplier"])}
                    | {name: Decimal(p[name]) if name in p else None for name in ("tick_size", "lot_size")}
                    | {name: p.get(name) for name in ("base_currency", "quote_currency")}
                    | {"kind": p.get("kind", "SPOT"), "expiry": moment(p.get("expiry"))}
                    | {"allows_negative_prices": p.get("allows_negative_prices", False)}
                )
            case "PriceRecorded":
                price = {"symbol": key[1], "price": Decimal(p["price"]), "occurred_at": e.occurred_at}
                counted_at = moment(p.get("counted_at")) or e.occurred_at
                tables["prices"][key] = row | price | {"counted_at": counted_at}
    return tables


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(happenings(), min_size=1, max_size=40), cuts=st.lists(st.integers(0, 40), max_size=8))
def test_any_cut_of_the_log_folds_to_the_same_settings(
    copies: Copies, history: list[Happening], cuts: list[int]
) -> None:
    copies.empty()
    copies.fold(history, cuts)
    found = {table: copies.rows("whole", table, key) for table, key in KEYS.items()}
    assert {table: copies.rows("cut", table, key) for table, key in KEYS.items()} == found
    assert all(row.pop("recorded_at") for row in found["prices"])
    assert found == {
        table: [row for _, row in sorted(rows.items(), key=lambda item: item[0])]
        for table, rows in folded(history).items()
    }


def test_a_heavy_stream_of_prices_stays_on_its_pages(copies: Copies) -> None:
    """One row for each symbol, and every update of it is HOT: no index grows."""
    prices = [
        Happening("a/x/live", "PriceRecorded", {"symbol": f"S-{n % 50}", "price": str(n + 1)}) for n in range(5_000)
    ]
    head = copies.write(prices)
    copies.project("cut", list(range(0, head + 1, 100)))
    connection = copies.connection
    connection.execute("select pg_stat_force_next_flush()")
    statistics = connection.execute(
        "select n_tup_ins, n_tup_upd, n_tup_hot_upd from pg_stat_user_tables"
        " where schemaname = 'cut_settings' and relname = 'prices'"
    ).fetchone()
    # One write for each symbol and range, whatever happened between.
    assert statistics == {"n_tup_ins": 50, "n_tup_upd": 49 * 50, "n_tup_hot_upd": 49 * 50}
    assert {row["symbol"]: row["price"] for row in copies.rows("cut", "prices", "symbol")} == {
        f"S-{n}": Decimal(4_951 + n) for n in range(50)
    }
