"""JSON made by SQL is written like JSON made by Python: every answer, byte for byte."""

from __future__ import annotations

import json
import re

import httpx
import msgspec
import psycopg

from tests.api.conftest import ACCOUNT, AT, Engine

OF_ACCOUNT = "/accounts/{user}/{exchange}/{broker}"
NOT_JSON = {"/metrics"}
QUERIES = {
    OF_ACCOUNT: [AT],
    f"{OF_ACCOUNT}/book": [f"{AT}/book", f"{AT}/book?limit=1", f"{AT}/book?after=1000"],
    f"{OF_ACCOUNT}/orders": [f"{AT}/orders", f"{AT}/orders?limit=1", f"{AT}/orders?symbol=NONE"],
    f"{OF_ACCOUNT}/orders/{{order_id}}": [f"{AT}/orders/o-1", f"{AT}/orders/o-2"],
    f"{OF_ACCOUNT}/orders/{{order_id}}/history": [f"{AT}/orders/o-1/history", f"{AT}/orders/o-1/history?limit=1"],
    f"{OF_ACCOUNT}/exceptions": [f"{AT}/exceptions", f"{AT}/exceptions?limit=1"],
    f"{OF_ACCOUNT}/positions": [f"{AT}/positions", f"{AT}/positions?limit=1", f"{AT}/positions?as_of_position=1"],
    f"{OF_ACCOUNT}/positions/{{symbol}}": [f"{AT}/positions/BTC-USDT"],
    f"{OF_ACCOUNT}/positions/{{symbol}}/history": [
        f"{AT}/positions/BTC-USDT/history",
        f"{AT}/positions/BTC-USDT/history?limit=1",
    ],
    f"{OF_ACCOUNT}/risk": [f"{AT}/risk"],
    f"{OF_ACCOUNT}/instruments": [f"{AT}/instruments", f"{AT}/instruments?limit=1"],
    f"{OF_ACCOUNT}/instruments/{{symbol}}": [f"{AT}/instruments/BTC-USDT"],
    f"{OF_ACCOUNT}/prices": [f"{AT}/prices", f"{AT}/prices?limit=1"],
    "/fills": ["/fills", "/fills?limit=1", "/fills?group_by=symbol", "/fills?group_by=strategy,symbol&limit=1"],
    "/events": ["/events", "/events?limit=1", "/events?type=NoSuchEvent"],
    "/admin/projections": ["/admin/projections"],
    "/admin/projections/{name}": ["/admin/projections/orders"],
    "/admin/log/verify": ["/admin/log/verify"],
    "/health/live": ["/health/live"],
    "/health/ready": ["/health/ready"],
}
"""Every GET call by its path in the OpenAPI document."""

AWKWARD = 'said "é\\ü/\u2028" \t\n\x01'


async def test_every_get_call_answers_in_the_bytes_that_msgspec_writes(engine: Engine) -> None:
    document = await engine.get("/openapi.json")
    assert {path for path, calls in document["paths"].items() if "get" in calls} == QUERIES.keys() | NOT_JSON
    last = await _trade(engine)
    for paths in QUERIES.values():
        for path in paths:
            parameters = {} if path.startswith(("/admin", "/health")) else {"min_position": last}
            response = await engine.client.get(httpx.URL(path).copy_merge_params(parameters))
            assert response.status_code == 200, response.text
            assert response.content == msgspec.json.encode(msgspec.json.decode(response.content)), path

    awkward = (await engine.get(f"{AT}/exceptions"))["exceptions"][0]["raw_message"]
    assert awkward == AWKWARD


async def test_every_query_documents_the_parameters_of_its_path(engine: Engine) -> None:
    for path, calls in (await engine.get("/openapi.json"))["paths"].items():
        if "get" in calls:
            parameters = calls["get"].get("parameters", [])
            in_path = {p["name"] for p in parameters if p["in"] == "path" and p["required"]}
            assert in_path == set(re.findall(r"{(\w+)}", path)), path


async def test_a_page_has_next_only_when_there_is_another(engine: Engine) -> None:
    last = await _trade(engine)
    checked = 0
    for path in (path for paths in QUERIES.values() for path in paths if "limit=1" in path):
        first = await engine.get(path, min_position=last)
        (name,) = (name for name, member in first.items() if isinstance(member, list))
        assert len(first[name]) == 1
        everything = await engine.get(path.replace("limit=1", "limit=1000"))
        assert list(everything)[-1] == name, "next is the last member, and absent"
        assert ("next" in first) == (len(everything[name]) > 1), path
        checked += "next" in first
        exactly = await engine.get(path.replace("limit=1", f"limit={len(everything[name])}"))
        assert exactly == everything
    assert checked >= 8


async def test_verification_and_bulk_answers_are_as_compact(engine: Engine) -> None:
    last = await _trade(engine)
    with psycopg.connect(engine.settings.dsn) as connection:
        connection.execute("update read.orders set quantity = 7")
    await engine.get(f"{AT}/orders/o-1", min_position=last)
    verified = await engine.client.post("/admin/projections/orders/verify")
    assert verified.json()["rows_different"] > 0
    assert verified.content == msgspec.json.format(verified.content, indent=-1)

    refused = {"type": "RequestCancel", "account": ACCOUNT, "order_id": "o-9", "command_id": _COMMAND_ID}
    for _ in range(2):  # the second time it is read back from the log
        answer = await engine.client.post("/commands", content=json.dumps(refused))
        assert answer.json()["type"].endswith("unknown-order")
        assert answer.content == msgspec.json.encode(answer.json()) + b"\n"


_COMMAND_ID = "0198a7b5-7a46-7cc0-8000-000000000001"


async def _trade(engine: Engine) -> int:
    """Two of everything that a query lists. The position of the last event."""
    await engine.open()
    for symbol in ("BTC-USDT", "ETH-USDT"):
        await engine.put(f"{AT}/instruments/{symbol}", {"tick_size": "0.5", "quote_currency": "USDT"})
        await engine.put(f"{AT}/prices/{symbol}", {"price": "100", "occurred_at": "2026-01-02T03:04:05Z"})
        await engine.put(f"{AT}/risk", {"symbol": symbol, "max_position": "1000"})
    for order_id, symbol in (("o-1", "BTC-USDT"), ("o-2", "ETH-USDT"), ("o-3", "BTC-USDT")):
        await engine.place(order_id, symbol=symbol, strategy_id=f"s-{order_id}")
        await engine.trade(f"e-{order_id}", "1", "100.50", order_id, fee="0.10", fee_currency="USDT")
    await engine.post(f"{AT}/orders/o-1/replace", {"quantity": "3"}, **{"X-Actor": 'the "desk" \\ 1'})
    for exec_id in ("u-1", "u-2"):
        unmatched = await engine.trade(exec_id, "1", "1", "o-unknown", raw_message=AWKWARD)
    return int(unmatched["position"])
