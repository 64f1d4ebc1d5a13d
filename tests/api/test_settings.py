"""The settings of an account over HTTP: limits, trading states, instruments, prices."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem
from tests.api.test_bulk import bulk, codes, line

LIMITS: dict[str, Any] = {
    "max_quantity": "10.50",
    "max_notional": "100000",
    "price_collar": "0.05",
    "max_position": "20",
    "max_open_orders": 5,
    "max_order_rate": {"count": 10, "interval_s": 1},
    "max_message_rate": {"count": 20, "interval_s": 60},
    "max_daily_loss": "500",
    "reduce_only": True,
    "allowed_symbols": ["BTC-USDT", "ETH-USDT"],
    "duplicate_window_s": 2,
    "price_age_max_s": 30,
}

PUTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("/risk", {"max_quantity": "1"}, {"max_quantity": "2"}),
    ("/instruments/BTC-USDT", {"tick_size": "0.5"}, {"tick_size": "0.25"}),
    (
        "/prices/BTC-USDT",
        {"price": "100", "occurred_at": "2026-01-02T03:04:05Z"},
        {"price": "101", "occurred_at": "2026-01-02T03:04:05Z"},
    ),
]
"""Path, content, and other content."""
TEMPLATES = {"/risk": "/risk", "/instruments/BTC-USDT": "/instruments/{symbol}", "/prices/BTC-USDT": "/prices/{symbol}"}


# -- limits and trading states -----------------------------------------------------------------------------------


async def test_limits_are_set_replaced_and_read_back(engine: Engine) -> None:
    opened = await engine.open()
    risk = await engine.get(f"{AT}/risk", min_position=opened["position"])
    nothing: dict[str, Any] = {
        "account": ACCOUNT,
        "state": "ACTIVE",
        "reason": None,
        "changed_at": None,
        "limits": {},
        "symbols": {},
    }
    assert risk == nothing

    answer = await engine.put(f"{AT}/risk", LIMITS)
    assert answer["events"] == ["RiskLimitsSet"]
    last = await engine.put(f"{AT}/risk", {"symbol": "BTC-USDT", "max_position": "0.00000001"})
    response = await engine.client.get(f"{AT}/risk", params={"min_position": last["position"]})
    assert response.headers["x-position"] == str(last["position"])
    symbols = {"BTC-USDT": {"max_position": "0.00000001"}}
    assert response.json() == nothing | {"limits": LIMITS | {"max_quantity": "10.5"}, "symbols": symbols}

    # What is set replaces all that was, of the account or of the symbol.
    await engine.put(f"{AT}/risk", {"max_open_orders": 1})
    last = await engine.put(f"{AT}/risk", {"symbol": "BTC-USDT"})
    risk = await engine.get(f"{AT}/risk", min_position=last["position"])
    assert risk == nothing | {"limits": {"max_open_orders": 1}}


async def test_what_is_so_already_changes_nothing(engine: Engine) -> None:
    await engine.open()
    for path, body, _ in PUTS:
        last = await engine.put(f"{AT}{path}", body)
    halted = await engine.post(f"{AT}/halt")
    for method, path, content in [("PUT", path, body) for path, body, _ in PUTS] + [("POST", "/halt", {})]:
        headers = {"Idempotency-Key": str(uuid4())}
        for _ in range(2):
            response = await engine.client.request(method, f"{AT}{path}", json=content, headers=headers)
            assert (response.status_code, response.headers["etag"]) == (200, f'"{halted["sequence"]}"')
            assert response.json() == halted | {
                "events": [],
                "command_id": headers["Idempotency-Key"],
                "replayed": True,
            }
    assert last["position"] < halted["position"] == (await engine.get("/events"))["head"]


async def test_an_order_over_a_limit_is_denied_and_read_so(engine: Engine) -> None:
    await engine.open()
    await engine.put(f"{AT}/risk", {"max_quantity": "1"})
    denied = await engine.place("o-1", quantity="2")
    assert denied["events"] == ["OrderCreated", "OrderDenied"]
    order = await engine.get(f"{AT}/orders/o-1", min_position=denied["position"])
    assert order["status"] == "DENIED"
    assert order["denial"] == {"limit": "1", "observed": "2"}


async def test_halt_cancels_what_is_open_and_resume_trades_again(engine: Engine) -> None:
    await engine.open()
    for order_id in ("b", "a"):
        await engine.place(order_id)
        await engine.report("NEW", order_id)
    halted = await engine.post(f"{AT}/halt", {"reason": "fat finger"})
    assert halted["events"] == ["TradingStateChanged", "OrderCancelRequested", "OrderCancelRequested"]
    risk = await engine.get(f"{AT}/risk", min_position=halted["position"])
    assert (risk["state"], risk["reason"]) == ("HALTED", "fat finger")
    assert risk["changed_at"].endswith("Z")
    assert (await engine.place("c"))["events"] == ["OrderCreated", "OrderDenied"]

    resumed = await engine.post(f"{AT}/resume")
    risk = await engine.get(f"{AT}/risk", min_position=resumed["position"])
    assert (risk["state"], risk["reason"]) == ("ACTIVE", None)
    assert (await engine.place("d"))["events"] == ["OrderCreated"]

    # An empty body is the kill switch too; without it, orders stay where they are.
    assert (await engine.post(f"{AT}/halt"))["events"] == ["TradingStateChanged", "OrderCancelRequested"]
    reduced = await engine.post(f"{AT}/reduce", {"reason": "wind down"})
    assert reduced["events"] == ["TradingStateChanged"]
    risk = await engine.get(f"{AT}/risk", min_position=reduced["position"])
    assert (risk["state"], risk["reason"]) == ("REDUCING", "wind down")
    await engine.post(f"{AT}/resume", {})
    await engine.place("e")
    assert (await engine.post(f"{AT}/halt", {"cancel_open_orders": False}))["events"] == ["TradingStateChanged"]


# -- instruments and prices --------------------------------------------------------------------------------------


async def test_instruments_are_defined_and_read_back(engine: Engine) -> None:
    last = await engine.open()
    assert await engine.get(f"{AT}/instruments", min_position=last["position"]) == {"instruments": []}
    body = {
        "tick_size": "0.10",
        "lot_size": "0.001",
        "multiplier": "10",
        "base_currency": "BTC",
        "quote_currency": "USDT",
    }
    first = await engine.put(f"{AT}/instruments/BTCUSDT", body)
    assert first["events"] == ["InstrumentDefined"]
    last = await engine.put(f"{AT}/instruments/ACME", {})
    instrument = await engine.get(f"{AT}/instruments/BTCUSDT", min_position=last["position"])
    assert instrument == body | {
        "account": ACCOUNT,
        "symbol": "BTCUSDT",
        "kind": "SPOT",
        "tick_size": "0.1",
        "expiry": None,
        "allows_negative_prices": False,
        "changed_at": instrument["changed_at"],
        "last_position": first["position"],
    }
    bare = await engine.get(f"{AT}/instruments/ACME")
    assert (bare["tick_size"], bare["multiplier"], bare["base_currency"]) == (None, "1", None)

    page = await engine.get(f"{AT}/instruments", limit=1)
    assert page == {"instruments": [bare], "next": "ACME"}
    assert await engine.get(f"{AT}/instruments", after="ACME") == {"instruments": [instrument]}

    last = await engine.put(f"{AT}/instruments/BTCUSDT", {"tick_size": "0.01"})
    instrument = await engine.get(f"{AT}/instruments/BTCUSDT", min_position=last["position"])
    assert (instrument["tick_size"], instrument["lot_size"], instrument["multiplier"]) == ("0.01", None, "1")


async def test_what_an_instrument_is_worth_stays_while_it_is_traded(engine: Engine) -> None:
    await engine.open()
    await engine.put(f"{AT}/instruments/BTC-USDT", {"multiplier": "10"})
    await engine.place()
    response = await engine.client.put(f"{AT}/instruments/BTC-USDT", json={"multiplier": "1"})
    assert_problem(response, 409, "instrument-in-use", field="multiplier")
    assert (await engine.client.put(f"{AT}/instruments/BTC-USDT", json={"multiplier": "10"})).status_code == 200


async def test_the_last_price_of_each_symbol_is_read_back(engine: Engine) -> None:
    await engine.open()
    await engine.put(f"{AT}/prices/ETH-USDT", {"price": "3000"})
    # Any amount: the price of a future or of a spread may be zero or negative.
    for seconds, price in (("03", "0"), ("04", "-37.63"), ("05", "100.50"), ("06", "0.000000010")):
        last = await engine.put(
            f"{AT}/prices/BTC-USDT", {"price": price, "occurred_at": f"2026-01-02T03:04:{seconds}.5+00:00"}
        )
    prices = await engine.get(f"{AT}/prices", min_position=last["position"])
    assert [price["symbol"] for price in prices["prices"]] == ["BTC-USDT", "ETH-USDT"]
    assert prices["prices"][0] == {
        "symbol": "BTC-USDT",
        "price": "0.00000001",
        "occurred_at": "2026-01-02T03:04:06.500000Z",
        "counted_at": "2026-01-02T03:04:06.500000Z",
        "recorded_at": prices["prices"][0]["recorded_at"],
        "last_position": last["position"],
    }
    first = await engine.get(f"{AT}/prices", limit=1)
    assert (len(first["prices"]), first["next"]) == (1, "BTC-USDT")
    rest = await engine.get(f"{AT}/prices", after=first["next"])
    assert [price["symbol"] for price in rest["prices"]] == ["ETH-USDT"]
    # What comes late is not the last.
    late = await engine.put(f"{AT}/prices/BTC-USDT", {"price": "1", "occurred_at": "2020-01-01T00:00:00Z"})
    assert late["replayed"]


async def test_a_time_is_cut_to_microseconds_and_a_leap_second_is_the_next(engine: Engine) -> None:
    await engine.open()
    for symbol, said in (("A", "2025-12-31T23:59:59.999999999Z"), ("B", "2016-12-31T18:59:60-05:00")):
        last = await engine.put(f"{AT}/prices/{symbol}", {"price": "1", "occurred_at": said})
    prices = (await engine.get(f"{AT}/prices", min_position=last["position"]))["prices"]
    assert [price["occurred_at"] for price in prices] == ["2025-12-31T23:59:59.999999Z", "2017-01-01T00:00:00.000000Z"]


async def test_symbols_may_be_called_like_calls(engine: Engine) -> None:
    await engine.open()
    for symbol in ("risk", "prices", "instruments", "halt"):
        assert (await engine.put(f"{AT}/prices/{symbol}", {"price": "1"}))["events"] == ["PriceRecorded"]
        assert (await engine.put(f"{AT}/instruments/{symbol}", {}))["events"] == ["InstrumentDefined"]


# -- every PUT is a command like others --------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "body", "other"), PUTS)
async def test_a_put_is_idempotent_and_conditional(
    engine: Engine, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    await engine.open()
    headers = {"Idempotency-Key": str(uuid4()), "X-Actor": "risk desk"}
    first = await engine.client.put(f"{AT}{path}", json=body, headers=headers)
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    assert first.json() == {
        "account": ACCOUNT,
        "shard": 0,
        "position": 2,
        "sequence": 2,
        "events": first.json()["events"],
        "command_id": headers["Idempotency-Key"],
        "replayed": False,
    }
    again = await engine.client.put(f"{AT}{path}", json=body, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json() | {"replayed": True})
    conflict = await engine.client.put(f"{AT}{path}", json=other, headers=headers)
    assert_problem(conflict, 409, "idempotency-conflict")
    stale = await engine.client.put(f"{AT}{path}", json=other, headers={"If-Match": '"1"'})
    assert_problem(stale, 412, "sequence-conflict", expected=1, actual=2)
    current = await engine.client.put(f"{AT}{path}", json=other, headers={"If-Match": '"2"'})
    assert (current.status_code, current.headers["etag"]) == (200, '"3"')
    (event, *_) = (await engine.get("/events", after=1))["events"]
    assert (event["type"], event["actor"]) == (first.json()["events"][0], "risk desk")


@pytest.mark.parametrize(("path", "body", "other"), PUTS)
async def test_a_put_that_cannot_be_read_is_refused_at_the_door(
    engine: Engine, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    await engine.open()
    client, url = engine.client, f"{AT}{path}"
    content = json.dumps(body)
    as_json = {"Content-Type": "application/json"}
    assert_problem(await client.put(url, json=body | {"colour": "red"}), 400, "malformed")
    assert_problem(await client.put(f"{url}?colour=red", json=body), 400, "malformed")
    for wrong in (b"", b"{", b"[]", b"null", b"\xff"):
        assert_problem(await client.put(url, content=wrong, headers=as_json), 400, "malformed")
    response = await client.put(url, content=content, headers={"Content-Type": "text/plain"})
    assert_problem(response, 415, "unsupported-media-type")
    response = await client.put(url, content=content.ljust((1 << 20) + 1), headers=as_json)
    assert_problem(response, 413, "body-too-large")
    for name, value in (("Idempotency-Key", "7"), ("If-Match", "2"), ("X-Actor", "x" * 129)):
        assert_problem(await client.put(url, json=body, headers={name: value}), 400, "malformed", field=name)
    nobody = url.replace(ACCOUNT, "bob/binance/live")
    assert_problem(await client.put(nobody, json=body), 404, "unknown-account")
    assert_problem(await client.put(url.replace("simulated", "paper"), json=body), 404, "unknown-account")
    assert (await engine.get("/events"))["head"] == 1

    # Whatever way a request takes: without a length, and with a slash at its end.
    async def chunks() -> Any:
        yield content.encode()

    assert (await client.put(url, content=chunks(), headers=as_json)).status_code == 200
    assert (await client.put(f"{url}/", json=other)).status_code == 200
    counted = (await client.get("/metrics")).text
    template = "/accounts/{user}/{exchange}/{broker}" + TEMPLATES[path]
    assert f'foldbook_http_requests_total{{method="PUT",path="{template}",status="200"}} 2.0' in counted


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/risk", {"max_quantity": "NaN"}, "max_quantity"),
        ("/risk", {"max_quantity": "0"}, "max_quantity"),
        ("/risk", {"max_notional": "1e5"}, "max_notional"),
        ("/risk", {"price_collar": "-0.1"}, "price_collar"),
        ("/risk", {"max_position": "1" * 21}, "max_position"),
        ("/risk", {"max_daily_loss": ""}, "max_daily_loss"),
        ("/risk", {"max_open_orders": -1}, "max_open_orders"),
        ("/risk", {"max_open_orders": 0}, "max_open_orders"),
        ("/risk", {"max_open_orders": 10**30}, "max_open_orders"),
        ("/risk", {"max_order_rate": {"count": -1, "interval_s": 1}}, "max_order_rate.count"),
        ("/risk", {"max_message_rate": {"count": 1, "interval_s": 0}}, "max_message_rate"),
        ("/risk", {"duplicate_window_s": 10**9}, "duplicate_window_s"),
        ("/risk", {"price_age_max_s": -5}, "price_age_max_s"),
        ("/risk", {"symbol": "a|b"}, "symbol"),
        ("/risk", {"symbol": ""}, "symbol"),
        ("/risk", {"symbol": "BTC-USDT", "allowed_symbols": ["BTC-USDT"]}, "allowed_symbols"),
        ("/instruments/BTC-USDT", {"tick_size": "0"}, "tick_size"),
        ("/instruments/BTC-USDT", {"lot_size": "-1"}, "lot_size"),
        ("/instruments/BTC-USDT", {"multiplier": "x"}, "multiplier"),
        ("/instruments/BTC-USDT", {"multiplier": "0"}, "multiplier"),
        ("/instruments/BTC-USDT", {"base_currency": "U S D"}, "base_currency"),
        ("/instruments/BTC-USDT", {"base_currency": "USD", "quote_currency": "USD"}, "quote_currency"),
        ("/instruments/%00", {}, "symbol"),
        ("/instruments/a%7Cb", {}, "symbol"),
        ("/prices/BTC-USDT", {"price": "-"}, "price"),
        ("/prices/BTC-USDT", {"price": "Infinity"}, "price"),
        ("/prices/BTC-USDT", {"price": "1", "occurred_at": "yesterday"}, "occurred_at"),
        ("/prices/BTC-USDT", {"price": "1", "occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ("/prices/-", {"price": "1"}, "symbol"),
    ],
)
async def test_a_setting_that_breaks_a_rule_is_refused(
    engine: Engine, path: str, body: dict[str, Any], field: str
) -> None:
    await engine.open()
    assert_problem(await engine.client.put(f"{AT}{path}", json=body), 422, "invalid-command", field=field)


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/risk", {"max_quantity": 5}, "max_quantity"),
        ("/risk", {"max_open_orders": "5"}, "max_open_orders"),
        ("/risk", {"max_open_orders": 5.5}, "max_open_orders"),
        ("/risk", {"max_order_rate": 5}, "max_order_rate"),
        ("/risk", {"max_order_rate": {"count": 5}}, "max_order_rate"),
        ("/risk", {"max_order_rate": {"count": 5, "interval_s": 1, "burst": 2}}, "max_order_rate"),
        ("/risk", {"reduce_only": "yes"}, "reduce_only"),
        ("/risk", {"allowed_symbols": "BTC-USDT"}, "allowed_symbols"),
        ("/risk", {"symbol": 7}, "symbol"),
        ("/instruments/BTC-USDT", {"multiplier": 10}, "multiplier"),
        ("/prices/BTC-USDT", {"price": 10}, "price"),
        ("/prices/BTC-USDT", {"price": None}, "price"),
    ],
)
async def test_a_setting_of_the_wrong_type_is_malformed_and_named(
    engine: Engine, path: str, body: dict[str, Any], place: str
) -> None:
    await engine.open()
    assert_problem(await engine.client.put(f"{AT}{path}", json=body), 400, "malformed", path=place)


async def test_the_calls_that_change_the_trading_state_take_their_own_fields_only(engine: Engine) -> None:
    await engine.open()
    for word in ("halt", "reduce", "resume"):
        url = f"{AT}/{word}"
        assert_problem(await engine.client.post(url, json={"colour": "red"}), 400, "malformed")
        assert_problem(await engine.client.post(url, json={"reason": 7}), 400, "malformed", path="reason")
        response = await engine.client.post(url, json={"reason": "r" * 1001})
        assert_problem(response, 422, "invalid-command", field="reason")
        nobody = await engine.client.post(f"/accounts/bob/binance/live/{word}")
        assert_problem(nobody, 404, "unknown-account")
    for word in ("reduce", "resume"):
        response = await engine.client.post(f"{AT}/{word}", json={"cancel_open_orders": True})
        assert_problem(response, 400, "malformed")
    response = await engine.client.post(f"{AT}/halt", json={"cancel_open_orders": "no"})
    assert_problem(response, 400, "malformed", path="cancel_open_orders")
    headers = {"Idempotency-Key": str(uuid4()), "If-Match": '"1"'}
    halted = await engine.client.post(f"{AT}/halt", headers=headers)
    assert halted.status_code == 200
    again = await engine.client.post(f"{AT}/halt", headers=headers)
    assert again.json() == halted.json() | {"replayed": True}
    assert_problem(
        await engine.client.post(f"{AT}/resume", headers={"If-Match": '"1"'}), 412, "sequence-conflict", actual=2
    )


async def test_what_is_not_there_is_told_apart(engine: Engine) -> None:
    last = (await engine.open())["position"]
    client = engine.client
    for path in ("/risk", "/instruments", "/instruments/BTC-USDT", "/prices", "/exceptions"):
        assert_problem(await client.get(f"/accounts/bob/binance/live{path}"), 404, "unknown-account")
        assert_problem(await client.get(f"/accounts/bob/binance/paper{path}"), 404, "unknown-account")
        behind = await client.get(f"{AT}{path}", params={"min_position": last + 1})
        assert_problem(behind, 504, "projection-behind", min_position=last + 1)
    for symbol in ("BTC-USDT", "%00", "-"):
        response = await client.get(f"{AT}/instruments/{symbol}", params={"min_position": last})
        assert_problem(response, 404, "unknown-instrument")
    for path, field in (
        ("/instruments?after=%00", "after"),
        ("/prices?limit=0", "limit"),
        ("/risk?symbol=x", "symbol"),
    ):
        assert_problem(await client.get(f"{AT}{path}"), 400, "malformed", field=field)
    for path in ("/risk", "/prices/BTC-USDT", "/instruments/BTC-USDT"):
        response = await client.delete(f"{AT}{path}")
        assert_problem(response, 405, "method-not-allowed")
        assert "PUT" in response.headers["allow"]
    assert_problem(await client.put(f"{AT}/instruments", json={}), 405, "method-not-allowed")
    assert_problem(await client.put(f"{AT}/nothing", json={}), 404, "not-found")


async def test_settings_are_lines_too(engine: Engine) -> None:
    command_id = str(uuid4())
    answers = await bulk(
        engine,
        b"".join(
            [
                line("OpenAccount"),
                line("DefineInstrument", symbol="BTC-USDT", tick_size="0.5", command_id=command_id),
                line("DefineInstrument", symbol="BTC-USDT", tick_size="0.5", command_id=command_id),
                line("DefineInstrument", symbol="a|b"),
                line("DefineInstrument", symbol="X", expected_sequence=1),
                line("SetRiskLimits", **LIMITS),
                line("SetRiskLimits", symbol="BTC-USDT", max_quantity="5"),
                line("SetRiskLimits", max_quantity=5),
                line("RecordPrice", symbol="BTC-USDT", price="100", occurred_at="2026-01-02T03:04:05Z"),
                line("RecordPrice", symbol="BTC-USDT", price="x"),
                line("SetTradingState", state="HALTED", reason="test"),
                line("SetTradingState", state="PAUSED"),
                line("SetTradingState", state="ACTIVE", colour="red"),
                line("SetTradingState", state="ACTIVE", cancel_open_orders=True, expected_sequence=6),
                line("RecordPrice", "nobody/x/live", symbol="BTC-USDT", price="1"),
            ]
        ),
    )
    assert codes(answers) == [
        "OrderBookCreated",
        "InstrumentDefined",
        "InstrumentDefined",
        "invalid-command",
        "sequence-conflict",
        "RiskLimitsSet",
        "RiskLimitsSet",
        "malformed",
        "PriceRecorded",
        "invalid-command",
        "TradingStateChanged",
        "invalid-command",
        "malformed",
        "TradingStateChanged",
        "unknown-account",
    ]
    assert [answer["field"] for answer in answers if answer.get("status") == 422] == ["symbol", "price", "state"]
    assert answers[2]["replayed"]
    risk = await engine.get(f"{AT}/risk", min_position=answers[13]["position"])
    assert (risk["state"], risk["symbols"]) == ("ACTIVE", {"BTC-USDT": {"max_quantity": "5"}})
