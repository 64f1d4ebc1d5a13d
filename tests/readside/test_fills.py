"""Busts and corrections of fills, and executions that were not applied: the same rows however the log is cut."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.readside.copies import Copies, copies_of
from tests.readside.histories import BEGIN, Happening, amounts, plain, times

ACCOUNTS = ("alice/binance/simulated", "bob/kraken/backtest")
"""Both have orders of the same ids."""


@pytest.fixture
def copies(database: str) -> Iterator[Copies]:
    with copies_of(database, "fills") as made:
        yield made


@st.composite
def histories(draw: st.DrawFn) -> list[Happening]:
    history: list[Happening] = []
    standing: list[Happening] = []
    """The fills that may still be busted or corrected."""
    for number in range(draw(st.integers(1, 40))):
        at = draw(times)
        match draw(st.sampled_from(["fill", "fill", "bust", "correct", "correct", "exception"])):
            case "fill":
                account, order_id = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(["o-1", "o-2"]))
                # An order's exec ids are its own: another order may have the same.
                taken = {f.payload["exec_id"] for f in history if f.type == "OrderFilled" and f.order_id == order_id}
                exec_id = next(f"x-{n}" for n in range(100) if f"x-{n}" not in taken)
                filled = Happening(account, "OrderFilled", names(order_id) | execution(draw, exec_id), at)
                history.append(filled)
                standing.append(filled)
            case "exception":
                type_name = draw(st.sampled_from(["UnmatchedExecutionRecorded", "FillConflictDetected"]))
                payload = {"order_id": "o-1", "exec_type": "TRADE_CANCEL", "exec_ref_id": "x-0"}
                history.append(Happening(draw(st.sampled_from(ACCOUNTS)), type_name, payload, at))
            case kind if standing:
                filled = draw(st.sampled_from(standing))
                reference = {"exec_ref_id": filled.payload["exec_id"]}
                payload = names(filled.order_id or "") | execution(draw, f"change-{number}") | reference
                history.append(
                    Happening(filled.account, "FillBusted" if kind == "bust" else "FillCorrected", payload, at)
                )
                if kind == "bust":
                    standing.remove(filled)
    return history


def names(order_id: str) -> dict[str, str]:
    return {"order_id": order_id, "strategy_id": f"s-{order_id}", "symbol": "BTCUSDT", "side": "SELL"}


def execution(draw: st.DrawFn, exec_id: str) -> dict[str, str]:
    payload = {"exec_id": exec_id, "last_qty": plain(draw(amounts)), "last_px": plain(draw(amounts))}
    if draw(st.booleans()):
        payload |= {"fee": plain(draw(amounts)), "fee_currency": draw(st.sampled_from(["USDT", "BNB"]))}
    return payload


def folded(history: list[Happening]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The fills and the exceptions, one event after the other."""
    fills: dict[tuple[str, str | None, str], dict[str, Any]] = {}
    exceptions = []
    for position, e in enumerate(history, 1):
        p = e.payload
        place = {"shard": 0, "position": position, "account": e.account, "occurred_at": e.occurred_at}
        match e.type:
            case "OrderFilled":
                fills[e.account, e.order_id, p["exec_id"]] = (
                    place
                    | {name: p[name] for name in ("order_id", "strategy_id", "symbol", "side", "exec_id")}
                    | terms(p)
                    | {"is_busted": False, "changed_position": None}
                    | dict.fromkeys(("original_qty", "original_px", "original_fee", "original_fee_currency"))
                )
            case "FillBusted":
                fills[e.account, e.order_id, p["exec_ref_id"]] |= {"is_busted": True, "changed_position": position}
            case "FillCorrected":
                fill = fills[e.account, e.order_id, p["exec_ref_id"]]
                if fill["original_qty"] is None:
                    for name in ("qty", "px"):
                        fill[f"original_{name}"] = fill[f"last_{name}"]
                    for name in ("fee", "fee_currency"):
                        fill[f"original_{name}"] = fill[name]
                fill |= terms(p) | {"changed_position": position}
            case _:
                nothing = dict.fromkeys(
                    ("exec_id", "last_qty", "last_px", "fee", "fee_currency", "reason", "broker_order_id")
                )
                exceptions.append(place | {"type": e.type} | p | nothing)
    return list(fills.values()), exceptions


def terms(payload: dict[str, str]) -> dict[str, Any]:
    return {
        "last_qty": Decimal(payload["last_qty"]),
        "last_px": Decimal(payload["last_px"]),
        "fee": Decimal(payload["fee"]) if "fee" in payload else None,
        "fee_currency": payload.get("fee_currency"),
    }


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
