"""Replaces, and what a broker reports: every exec type, busts and corrections, and what fits nothing that is known."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from foldbook.trading.values import ExecType
from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem
from tests.api.test_bulk import bulk, codes, line, place

TERMS_OF: dict[str, dict[str, Any]] = {
    "TRADE": {"exec_id": "e-9", "last_qty": "1", "last_px": "100"},
    "TRADE_CANCEL": {"exec_id": "e-9", "exec_ref_id": "e-0"},
    "TRADE_CORRECT": {"exec_id": "e-9", "exec_ref_id": "e-0", "last_qty": "1", "last_px": "99"},
    "REPLACED": {"quantity": "3", "limit_price": "101"},
    "RESTATED": {"quantity": "1"},
}
"""What a report of each exec type says, those aside that say nothing."""


# -- replace -----------------------------------------------------------------------------------------------------


async def test_a_replace_is_asked_for_and_reported(engine: Engine) -> None:
    await engine.open()
    await engine.place()
    await engine.report("NEW")
    headers = {"Idempotency-Key": str(uuid4())}
    asked = await engine.client.post(f"{AT}/orders/o-1/replace", json={"quantity": "3.0"}, headers=headers)
    assert (asked.status_code, asked.json()["events"]) == (200, ["OrderReplaceRequested"])
    again = await engine.client.post(f"{AT}/orders/o-1/replace", json={"quantity": "3"}, headers=headers)
    assert again.json() == asked.json() | {"replayed": True}
    order = await engine.get(f"{AT}/orders/o-1", min_position=asked.json()["position"])
    assert (order["status"], order["pending_request"], order["quantity"]) == ("PENDING_REPLACE", "REPLACE", "2")

    replaced = await engine.report("REPLACED", quantity="3", limit_price="100")
    order = await engine.get(f"{AT}/orders/o-1", min_position=replaced["position"])
    assert (order["status"], order["pending_request"], order["quantity"]) == ("NEW", "NONE", "3")


async def test_a_replace_that_cannot_be_is_refused(engine: Engine) -> None:
    await engine.open()
    await engine.place()
    client, url = engine.client, f"{AT}/orders/o-1/replace"
    assert_problem(await client.post(url, json={}), 422, "invalid-command", field="quantity")
    assert_problem(await client.post(url), 400, "malformed")
    assert_problem(await client.post(url, json={"colour": "red"}), 400, "malformed")
    assert_problem(await client.post(url, json={"quantity": 3}), 400, "malformed", path="quantity")
    for field in ("quantity", "limit_price"):
        for amount in ("0", "-1", "NaN", "1e5", ""):
            assert_problem(await client.post(url, json={field: amount}), 422, "invalid-command", field=field)
    # A limit order has no stop price.
    assert_problem(await client.post(url, json={"stop_price": "1"}), 422, "invalid-command", field="stop_price")
    assert_problem(
        await client.post(url, json={"quantity": "3"}, headers={"If-Match": '"1"'}), 412, "sequence-conflict", actual=2
    )
    assert_problem(await client.post(f"{AT}/orders/o-9/replace", json={"quantity": "3"}), 404, "unknown-order")
    assert_problem(await client.post(f"{AT}/orders/%00/replace", json={"quantity": "3"}), 404, "unknown-order")
    await engine.report("CANCELED")
    response = await client.post(url, json={"quantity": "3"})
    assert_problem(response, 409, "order-closed", order_status="CANCELED")


async def test_replaces_and_reports_are_lines_too(engine: Engine) -> None:
    answers = await bulk(
        engine,
        b"".join(
            [
                line("OpenAccount"),
                place("o-1"),
                line("RequestReplace", order_id="o-1", quantity="5"),
                line("RequestReplace", order_id="o-1"),
                line("RequestReplace", order_id="o-1", quantity="5", colour="red"),
                line("RequestReplace", order_id="o-9", quantity="5"),
                line("RecordExecution", order_id="o-1", exec_type="REPLACED", quantity="5", raw_message="35=8|150=5"),
                line("RecordExecution", order_id="o-1", exec_type="NEW", raw_message=7),
                line("RecordExecution", order_id="o-1", exec_type="EXPIRED"),
            ]
        ),
        **{"X-Actor": "gateway"},
    )
    assert codes(answers) == [
        "OrderBookCreated",
        "OrderCreated",
        "OrderReplaceRequested",
        "invalid-command",
        "malformed",
        "unknown-order",
        "OrderReplaced",
        "malformed",
        "OrderExpired",
    ]
    events = (await engine.get(f"{AT}/orders/o-1/history"))["events"]
    assert {event["actor"] for event in events} == {"gateway"}
    assert [event["raw_message"] for event in events] == [None, None, "35=8|150=5", None]


# -- reports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exec_type", list(ExecType))
async def test_a_report_is_never_refused_for_what_its_order_is(engine: Engine, exec_type: str) -> None:
    await engine.open()
    report = {"exec_type": exec_type, **TERMS_OF.get(exec_type, {}), "raw_message": "150=?"}
    for order_id in ("filled", "canceled", "rejected"):
        await engine.place(order_id)
    await engine.trade("e-1", "2", "100", "filled")
    await engine.report("CANCELED", "canceled")
    await engine.report("REJECTED", "rejected")
    for order_id in ("filled", "canceled", "rejected"):
        response = await engine.client.post(f"{AT}/execution-reports", json={**report, "order_id": order_id})
        assert response.status_code == 200, response.text
    response = await engine.client.post(f"{AT}/execution-reports", json={**report, "order_id": "unknown"})
    assert (response.status_code, response.json()["events"]) == (200, ["UnmatchedExecutionRecorded"])


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("exec_ref_id", {"exec_type": "TRADE_CANCEL", "last_qty": None, "last_px": None}),
        ("exec_ref_id", {"exec_type": "TRADE_CORRECT"}),
        ("exec_ref_id", {"exec_type": "TRADE_CORRECT", "exec_ref_id": "a\u0000"}),
        ("exec_ref_id", {"exec_ref_id": "e-0"}),
        ("quantity", {"quantity": "1"}),
        ("quantity", {"exec_type": "REPLACED", "quantity": "1e3", "last_qty": None, "last_px": None}),
        ("quantity", {"exec_type": "RESTATED", "quantity": "-1", "last_qty": None, "last_px": None}),
        ("last_qty", {"exec_type": "EXPIRED"}),
        ("raw_message", {"raw_message": ""}),
        ("raw_message", {"raw_message": "a\u0000b"}),
        ("raw_message", {"raw_message": "a\u0000\n"}),
        ("raw_message", {"raw_message": "x" * 8193}),
        ("raw_message", {"raw_message": "é" * 4097}),
    ],
)
async def test_a_report_that_breaks_a_rule_is_refused_whatever_its_order_is(
    engine: Engine, field: str, fields: dict[str, Any]
) -> None:
    await engine.open()
    await engine.place()
    report = {"exec_type": "TRADE", "exec_id": "e-1", "last_qty": "1", "last_px": "1", **fields}
    told = {name: value for name, value in report.items() if value is not None}
    for order_id in ("o-1", "o-9"):
        response = await engine.client.post(f"{AT}/execution-reports", json=told | {"order_id": order_id})
        assert_problem(response, 422, "invalid-command", field=field)


async def test_what_the_broker_sent_stands_beside_the_event(engine: Engine) -> None:
    """Any text, and not part of the content: a retry may give another one."""
    await engine.open()
    await engine.place()
    raw = "8=FIX.4.4\u00019=1\u000135=8\u0001\r\n\u00e9\u20ac" + "x" * 8000
    assert 8000 < len(raw.encode()) <= 8192
    headers = {"Idempotency-Key": str(uuid4()), "X-Actor": "gateway", "X-Correlation-Id": "c-1"}
    body = {"order_id": "o-1", "exec_type": "NEW", "raw_message": raw}
    first = await engine.client.post(f"{AT}/execution-reports", json=body, headers=headers)
    again = await engine.client.post(f"{AT}/execution-reports", json=body | {"raw_message": "retold"}, headers=headers)
    assert again.json() == first.json() | {"replayed": True}
    created, accepted = (await engine.get(f"{AT}/orders/o-1/history"))["events"]
    assert created["raw_message"] is None
    assert (accepted["raw_message"], accepted["actor"], accepted["correlation_id"]) == (raw, "gateway", "c-1")
    assert "raw_message" not in accepted["payload"]


# -- fills -------------------------------------------------------------------------------------------------------


async def test_a_busted_fill_stays_and_counts_no_more(engine: Engine) -> None:
    await engine.open()
    await engine.place(quantity="10")
    await engine.trade("e-1", "2", "100", fee="1", fee_currency="USDT")
    await engine.trade("e-2", "3", "200", fee="2", fee_currency="BNB")
    busted = await engine.report("TRADE_CANCEL", exec_id="b-1", exec_ref_id="e-1", reason="erroneous")
    assert busted["events"] == ["FillBusted"]
    first, second = (await engine.get("/fills", min_position=busted["position"]))["fills"]
    assert (first["exec_id"], first["is_busted"], first["changed_position"]) == ("e-1", True, busted["position"])
    assert (first["last_qty"], first["original_qty"]) == ("2", None)
    assert (second["is_busted"], second["changed_position"]) == (False, None)
    (total,) = (await engine.get("/fills", group_by="symbol"))["totals"]
    assert total == {
        "strategy_id": None,
        "symbol": "BTC-USDT",
        "currency": "USDT",
        "fill_count": 1,
        "bought_qty": "3",
        "bought_cost": "600",
        "sold_qty": "0",
        "sold_cost": "0",
        "fees": {"BNB": "2"},
    }


async def test_a_corrected_fill_shows_what_it_is_and_what_it_was(engine: Engine) -> None:
    await engine.open()
    await engine.place(quantity="10")
    await engine.trade("e-1", "2", "100", fee="1", fee_currency="USDT")
    correction = {"exec_ref_id": "e-1", "last_qty": "4", "last_px": "90", "fee": "0.5", "fee_currency": "BNB"}
    await engine.report("TRADE_CORRECT", exec_id="c-1", **correction)
    # A correction of the correction is one of the fill.
    last = await engine.report("TRADE_CORRECT", exec_id="c-2", exec_ref_id="c-1", last_qty="5", last_px="80")
    (fill,) = (await engine.get("/fills", min_position=last["position"]))["fills"]
    assert {name: fill[name] for name in ("exec_id", "last_qty", "last_px", "is_busted", "changed_position")} == {
        "exec_id": "e-1",
        "last_qty": "5",
        "last_px": "80",
        "is_busted": False,
        "changed_position": last["position"],
    }
    assert (fill["original_qty"], fill["original_px"]) == ("2", "100")
    assert (fill["original_fee"], fill["original_fee_currency"]) == ("1", "USDT")
    (total,) = (await engine.get("/fills", group_by="symbol"))["totals"]
    assert (total["fill_count"], total["bought_qty"], total["bought_cost"]) == (1, "5", "400")

    last = await engine.report("TRADE_CANCEL", exec_id="b-1", exec_ref_id="c-2")
    (fill,) = (await engine.get("/fills", min_position=last["position"]))["fills"]
    assert (fill["is_busted"], fill["last_qty"], fill["original_qty"]) == (True, "5", "2")
    assert (await engine.get("/fills", group_by="symbol"))["totals"] == []


# -- what was not applied ----------------------------------------------------------------------------------------


async def test_what_fits_nothing_is_kept_for_somebody_to_look_at(engine: Engine) -> None:
    await engine.open()
    await engine.place()
    await engine.trade("e-1", "1", "100")
    unmatched = await engine.report(
        "TRADE", "o-9", exec_id="e-1", last_qty="1", last_px="2", fee="0.10", fee_currency="USDT", reason="?",
        broker_order_id="b-1", raw_message="35=8", occurred_at="2026-01-02T03:04:05Z",
    )  # fmt: skip
    conflict = await engine.trade("e-1", "1", "101")
    early = await engine.report("TRADE_CANCEL", exec_id="b-2", exec_ref_id="e-2")
    assert [answer["events"] for answer in (unmatched, conflict, early)] == [
        ["UnmatchedExecutionRecorded"],
        ["FillConflictDetected"],
        ["UnmatchedExecutionRecorded"],
    ]
    found = await engine.get(f"{AT}/exceptions", min_position=early["position"])
    first, second, third = found["exceptions"]
    assert first == {
        "shard": 0,
        "position": unmatched["position"],
        "type": "UnmatchedExecutionRecorded",
        "problem": "unmatched",
        "account": ACCOUNT,
        "order_id": "o-9",
        "exec_type": "TRADE",
        "kind": None,
        "symbol": None,
        "side": None,
        "exec_id": "e-1",
        "exec_ref_id": None,
        "last_qty": "1",
        "last_px": "2",
        "gross_amount": None,
        "fee": "0.1",
        "fee_currency": "USDT",
        "quantity": None,
        "limit_price": None,
        "stop_price": None,
        "request_id": None,
        "reason": "?",
        "broker_order_id": "b-1",
        "is_applied": False,
        "raw_message": "35=8",
        "transact_time": "2026-01-02T03:04:05.000000Z",
        "counted_at": None,
        "occurred_at": "2026-01-02T03:04:05.000000Z",
        "recorded_at": first["recorded_at"],
    }
    assert (second["type"], second["order_id"], second["last_px"]) == ("FillConflictDetected", "o-1", "101")
    assert (third["exec_type"], third["exec_ref_id"], third["is_applied"]) == ("TRADE_CANCEL", "e-2", False)

    # The fill that the early bust was about arrives: nothing is left to look at.
    arrived = await engine.trade("e-2", "1", "100")
    assert arrived["events"] == ["OrderFilled", "FillBusted"]
    page = await engine.get(f"{AT}/exceptions", after=second["position"], min_position=arrived["position"])
    assert page == {"exceptions": [third | {"is_applied": True}]}
    page = await engine.get(f"{AT}/exceptions", limit=1)
    assert (page["exceptions"], page["next"]) == ([first], unmatched["position"])
    fills = (await engine.get("/fills"))["fills"]
    assert [(fill["exec_id"], fill["is_busted"]) for fill in fills] == [("e-1", False), ("e-2", True)]

    other = "bob/binance/live"
    last = await engine.open(other)
    assert await engine.get(f"/accounts/{other}/exceptions", min_position=last["position"]) == {"exceptions": []}


async def test_reports_that_race_a_cancel_all_count(engine: Engine) -> None:
    """A fill that arrives after the order's end counts."""
    await engine.open()
    await engine.place()
    await engine.report("CANCELED")
    answers = await asyncio.gather(*(engine.trade(f"e-{n}", "0.5", "100") for n in range(4)))
    last = max(answer["position"] for answer in answers)
    (total,) = (await engine.get("/fills", group_by="strategy", min_position=last))["totals"]
    assert (total["fill_count"], total["bought_qty"]) == (4, "2")
