"""Every route of the venue, over HTTP, in a process of its own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.venue.running import order, problem, quote, running

Client = httpx.AsyncClient


@pytest.fixture
def account() -> str:
    return f"{uuid4().hex}/binance/simulated"


@pytest.fixture
def symbol() -> str:
    return f"S-{uuid4().hex[:8]}"


async def test_an_order_is_taken_and_filled(client: Client, account: str, symbol: str) -> None:
    await client.put("/quotes", json=quote("99", "101", symbol=symbol))
    taken = await client.post("/orders", json=order("o", account=account, symbol=symbol, limit_price="101.5"))
    document = taken.json()
    assert taken.status_code == 201 and document["status"] == "NEW" and document["duplicate"] is False
    assert set(document) >= {
        "account", "client_order_id", "venue_order_id", "symbol", "side", "order_type", "time_in_force", "status",
        "quantity", "cum_qty", "leaves_qty", "avg_px", "limit_price", "stop_price", "reason", "created_at",
        "updated_at",
    }  # fmt: skip
    await client.put("/quotes", json=[quote("99", "101", symbol=symbol, ask_size="4")])
    part = (await client.get(f"/orders/{document['venue_order_id']}")).json()
    assert (part["status"], part["cum_qty"], part["leaves_qty"], part["avg_px"]) == (
        "PARTIALLY_FILLED",
        "4",
        "6",
        "101",
    )
    await client.put("/quotes", json=quote("99", "101", symbol=symbol))
    fills = (await client.get("/fills", params={"account": account})).json()
    assert [(fill["kind"], fill["last_qty"], fill["last_px"], fill["fee"]) for fill in fills["fills"]] == [
        ("TRADE", "4", "101", "0.404"), ("TRADE", "6", "101.5", "0.3045"),
    ]  # fmt: skip
    positions = (await client.get("/positions", params={"account": account})).json()
    assert positions["positions"] == [{"symbol": symbol, "quantity": "10"}]
    balances = (await client.get("/balances", params={"account": account})).json()
    assert balances["balances"] == [{"currency": "USD", "amount": "-1013.7085"}]


async def test_a_client_order_id_is_taken_once(client: Client, account: str) -> None:
    first = await client.post("/orders", json=order("o", account=account, limit_price="1"))
    again = await client.post("/orders", json=order("o", account=account, limit_price="2"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json() | {"duplicate": True}


async def test_a_rejected_order_is_a_problem_and_is_kept(client: Client, account: str, symbol: str) -> None:
    answer = problem(
        await client.post("/orders", json=order("o", account=account, symbol=symbol)), 422, "order-rejected"
    )
    assert answer["detail"] == f"no price of {symbol} is known: nobody quotes it"
    (kept,) = (await client.get("/orders", params={"account": account})).json()["orders"]
    assert (kept["status"], kept["reason"]) == ("REJECTED", answer["detail"])
    again = await client.post("/orders", json=order("o", account=account, symbol=symbol))
    assert again.status_code == 200 and again.json()["status"] == "REJECTED"


async def test_cancels_and_replaces(client: Client, account: str) -> None:
    await client.post("/orders", json=order("o", account=account, limit_price="1"))
    replaced = await client.post("/orders/o/replace", json={"account": account, "quantity": "7", "limit_price": "2"})
    assert (replaced.status_code, replaced.json()["quantity"], replaced.json()["limit_price"]) == (200, "7", "2")
    refused = await client.post("/orders/o/replace", json={"account": account, "stop_price": "2"})
    problem(refused, 422, "replace-rejected")
    canceled = await client.post("/orders/o/cancel", json={"account": account})
    assert (canceled.status_code, canceled.json()["status"], canceled.json()["leaves_qty"]) == (200, "CANCELED", "0")
    for request in ("cancel", "replace"):
        late = problem(await client.post(f"/orders/o/{request}", json={"account": account}), 409, "order-not-open")
        assert late["order_status"] == "CANCELED" and late["order"]["client_order_id"] == "o"
        never = await client.post(f"/orders/never/{request}", json={"account": account})
        problem(never, 404, "unknown-order")


async def test_orders_are_found(client: Client, account: str, symbol: str) -> None:
    for number in range(5):
        body = order(f"o{number}", account=account, symbol=symbol if number else "Z", limit_price="1")
        await client.post("/orders", json=body)
    await client.post("/orders/o1/cancel", json={"account": account})

    async def found(**asked: Any) -> list[str]:
        answer = (await client.get("/orders", params={"account": account, **asked})).json()
        return [each["client_order_id"] for each in answer["orders"]]

    assert await found() == ["o0", "o1", "o2", "o3", "o4"]
    assert await found(status="open", symbol=symbol) == ["o2", "o3", "o4"]
    assert await found(client_order_id="o1") == ["o1"]
    assert await found(client_order_id="o1", status="open") == []
    assert await found(client_order_id="never") == []
    page = (await client.get("/orders", params={"account": account, "limit": 2})).json()
    assert [each["client_order_id"] for each in page["orders"]] == ["o0", "o1"]
    assert await found(limit=2, after=page["next"]) == ["o2", "o3"]
    last = (await client.get("/orders", params={"account": account, "limit": 3, "after": page["next"]})).json()
    assert len(last["orders"]) == 3 and "next" not in last
    everybody = (await client.get("/orders", params={"status": "open", "symbol": symbol})).json()["orders"]
    assert [each["account"] for each in everybody] == [account] * 3
    assert (await client.get("/orders", params={"account": "nobody"})).json()["orders"] == []
    problem(await client.get("/orders/v999999"), 404, "unknown-order")


async def test_fills_come_in_pages(client: Client, account: str) -> None:
    for number in range(5):
        body = {"account": account, "symbol": "X", "currency": "USD", "amount": str(number)}
        assert (await client.post("/fundings", json=body)).status_code == 201
    pages, after, has_more = [], 0, True
    while has_more:
        page = (await client.get("/fills", params={"account": account, "limit": 2, "after": after})).json()
        pages.append([fill["amount"] for fill in page["fills"]])
        after, has_more = page["next"], page["has_more"]
    assert pages == [["0", "1"], ["2", "3"], ["4"]]
    nothing = (await client.get("/fills", params={"account": account, "after": after})).json()
    assert nothing["fills"] == [] and nothing["next"] >= after
    assert (await client.get("/fills")).json()["fills"]  # of all accounts


async def test_what_the_operator_does(client: Client, account: str, symbol: str) -> None:
    await client.put("/quotes", json=quote("99", "101", symbol=symbol))
    await client.post("/orders", json=order("o", account=account, symbol=symbol))
    await client.put("/quotes", json=quote("99", "101", symbol=symbol))
    (fill,) = (await client.get("/fills", params={"account": account})).json()["fills"]
    target = {"account": account, "exec_id": fill["exec_id"]}
    corrected = (await client.post("/corrections", json={**target, "last_px": "100"})).json()
    assert (corrected["kind"], corrected["exec_ref_id"], corrected["last_px"]) == ("CORRECTION", fill["exec_id"], "100")
    liquidated = await client.post("/liquidations", json={"account": account, "symbol": symbol, "quantity": "3"})
    assert (liquidated.json()["kind"], liquidated.json()["side"]) == ("LIQUIDATION", "SELL")
    assert "client_order_id" not in liquidated.json() and "venue_order_id" not in liquidated.json()
    busted = await client.post("/busts", json=target)
    assert (busted.json()["kind"], busted.json()["exec_type"]) == ("BUST", "TRADE_CANCEL")
    fee = await client.post("/fees", json={"account": account, "currency": "USD", "amount": "2"})
    assert (fee.json()["kind"], fee.json()["amount"]) == ("FEE", "2")
    kinds = [each["kind"] for each in (await client.get("/fills", params={"account": account})).json()["fills"]]
    assert kinds == ["TRADE", "CORRECTION", "LIQUIDATION", "BUST", "FEE"]
    positions = (await client.get("/positions", params={"account": account})).json()["positions"]
    assert positions == [{"symbol": symbol, "quantity": "-3"}]
    problem(await client.post("/busts", json=target), 409, "already-busted")
    problem(await client.post("/corrections", json=target), 409, "already-busted")
    problem(await client.post("/busts", json={**target, "exec_id": "x0"}), 404, "unknown-execution")
    problem(await client.post("/liquidations", json={"account": account, "symbol": "Q"}), 409, "no-position")


async def test_trades_and_bars_fill_orders(client: Client, account: str, symbol: str) -> None:
    await client.put("/trades", json={"symbol": symbol, "price": "100", "aggressor": "BUY"})
    await client.post("/orders", json=order("o", account=account, symbol=symbol, quantity="3"))
    await client.put("/trades", json=[{"symbol": symbol, "price": "100", "size": "2"}])
    await client.put("/bars", json={
        "symbol": symbol, "open": "90", "high": "95", "low": "85", "close": "94", "volume": "9",
        "time": "2100-01-01T00:00:00Z", "interval_s": 60,
    })  # fmt: skip
    fills = (await client.get("/fills", params={"account": account})).json()["fills"]
    assert [(fill["last_qty"], fill["last_px"]) for fill in fills] == [("2", "100"), ("1", "90")]


async def test_what_arrives_when_a_bar_opens_trades_there(tmp_path: Path) -> None:
    with running(tmp_path, "--clock", "data") as venue:
        async with venue.client() as client, venue.stream("/market") as stream:
            opened = {"symbol": "X", "price": "100", "time": "2026-01-02T00:00:00Z"}
            assert (await client.put("/opens", json=opened)).json() == {"count": 1}
            assert await stream.next() == {"kind": "OPEN", **opened}
            assert (await client.post("/orders", json=order("o"))).json()["avg_px"] == "100"
            await client.post("/orders", json=order("p", limit_price="90"))
            bar = {"symbol": "X", "open": "100", "high": "101", "low": "90", "close": "95"}
            await client.put("/bars", json={**bar, "time": "2026-01-02T01:00:00Z", "interval_s": 3600})
            fills = (await client.get("/fills")).json()["fills"]
            assert [(fill["client_order_id"], fill["last_px"]) for fill in fills] == [("o", "100"), ("p", "90")]


async def test_an_instrument_has_a_tick(client: Client, account: str) -> None:
    put = await client.put("/instruments/BTC%2FUSD:USD", json={"tick_size": "0.5", "quote_currency": "EUR"})
    assert put.json() == {
        "symbol": "BTC/USD:USD", "tick_size": "0.5", "lot_size": None, "multiplier": "1", "quote_currency": "EUR",
    }  # fmt: skip
    put = await client.put("/instruments/BTC%2FUSD:USD", json={"lot_size": "0.1"})
    assert (put.json()["tick_size"], put.json()["lot_size"]) == ("0.5", "0.1")
    assert put.json() in (await client.get("/instruments")).json()["instruments"]
    body = order("o", account=account, symbol="BTC/USD:USD", limit_price="10.3")
    assert "tick size" in problem(await client.post("/orders", json=body), 422, "order-rejected")["detail"]
    problem(await client.put("/instruments/X", json={"tick_size": "0"}), 422, "invalid-request")
    problem(await client.put("/instruments/a%20%0Ab", json={}), 422, "invalid-request")


async def test_the_session_closes_and_opens(client: Client, account: str) -> None:
    await client.post("/orders", json=order("o", account=account, limit_price="1", time_in_force="DAY"))
    assert (await client.post("/sessions/close")).json()["is_open"] is False
    try:
        assert (await client.get("/health")).json()["is_open"] is False
        problem(await client.post("/orders", json=order("p", account=account)), 422, "order-rejected")
        (expired, _) = (await client.get("/orders", params={"account": account})).json()["orders"]
        assert expired["status"] == "EXPIRED"
    finally:
        assert (await client.post("/sessions/open")).json()["is_open"] is True


async def test_an_order_that_is_good_till_a_time_expires_without_data_of_its_symbol(tmp_path: Path) -> None:
    with running(tmp_path, "--clock", "data") as venue:
        async with venue.client() as client, venue.stream() as stream:
            await client.put("/quotes", json=quote("99", "101", time="2026-01-02T00:00:00Z", symbol="Y"))
            body = order("o", limit_price="1", time_in_force="GTD", expire_at="2026-01-02T01:00:00+01:00")
            problem(await client.post("/orders", json=body), 422, "order-rejected")
            body |= {"client_order_id": "p", "expire_at": "2026-01-02T00:00:01Z"}
            assert (await client.post("/orders", json=body)).status_code == 201
            await client.put("/quotes", json=quote("99", "101", time="2026-01-02T00:00:02Z", symbol="Y"))
            assert await stream.told(3) == [("o", "REJECTED"), ("p", "NEW"), ("p", "EXPIRED")]


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "/orders", {"oops": 1}, "oops"),
        ("POST", "/orders", {"quantity": 10}, "quantity"),
        ("POST", "/orders", {"quantity": "1e3"}, "quantity"),
        ("POST", "/orders", {"quantity": "NaN"}, "quantity"),
        ("POST", "/orders", {"limit_price": 1.5}, "limit_price"),
        ("POST", "/orders", {"side": "LONG"}, "side"),
        ("POST", "/orders", {"client_order_id": "a/b"}, "client_order_id"),
        ("POST", "/orders", {"account": ""}, "account"),
        ("POST", "/orders", {"expire_at": "2026-01-01T00:00:00"}, "expire_at"),
        ("POST", "/orders/o/cancel", {"why": "?"}, "why"),
        ("POST", "/orders/o/replace", {"quantity": 1}, "quantity"),
        ("PUT", "/faults", {"losses": 1}, "losses"),
        ("PUT", "/faults", {"lose_ack": -1}, "lose_ack"),
        ("PUT", "/faults", {"scope": "all"}, "scope"),
    ],
)
async def test_a_body_is_strict(client: Client, method: str, path: str, body: dict[str, Any], named: str) -> None:
    base: dict[str, Any] = {} if path == "/faults" else {"account": "a"} if path != "/orders" else order("o")
    answer = problem(await client.request(method, path, json={**base, **body}), 400, "malformed")
    assert named in answer["detail"]


async def test_market_data_is_checked(client: Client) -> None:
    problem(await client.put("/quotes", json=quote("102", "101")), 422, "invalid-request")
    problem(await client.put("/quotes", json=quote("100", "101", bid_size="-1")), 422, "invalid-request")
    problem(await client.put("/quotes", json={"symbol": "X", "bid": 100, "ask": "101"}), 400, "malformed")
    problem(await client.put("/quotes", json=[quote("100", "101")] * 1001), 400, "malformed")
    bar = {"symbol": "X", "open": "5", "high": "4", "low": "3", "close": "4"}
    problem(await client.put("/bars", json=bar), 422, "invalid-request")
    assert (await client.put("/quotes", json=[quote("100", "101", symbol="Many")] * 1000)).json() == {"count": 1000}
    known = (await client.get("/quotes")).json()["quotes"]
    assert [(each["bid"], each["ask"]) for each in known if each["symbol"] == "Many"] == [("100", "101")]


async def test_what_is_not_there_and_what_is_not_json(client: Client) -> None:
    problem(await client.get("/nothing"), 404, "not-found")
    problem(await client.delete("/orders"), 405, "method-not-allowed")
    problem(await client.post("/orders", content=b"{"), 400, "malformed")
    problem(await client.post("/orders", content=b" " * (1 << 20 | 1)), 413, "body-too-large")
    problem(await client.get("/orders", params={"limit": "many"}), 400, "malformed")
    problem(await client.get("/orders", params={"limit": "100000"}), 400, "malformed")
    problem(await client.get("/positions"), 400, "malformed")


async def test_the_interface_is_described(client: Client) -> None:
    document = (await client.get("/openapi.json")).json()
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described >= {
        ("/orders", "post"), ("/orders", "get"), ("/orders/{client_order_id}/cancel", "post"),
        ("/orders/{client_order_id}/replace", "post"), ("/orders/{venue_order_id}", "get"), ("/fills", "get"),
        ("/positions", "get"), ("/balances", "get"), ("/quotes", "put"), ("/quotes", "get"), ("/trades", "put"),
        ("/bars", "put"), ("/opens", "put"),
        ("/instruments/{symbol}", "put"), ("/instruments", "get"), ("/sessions/close", "post"),
        ("/sessions/open", "post"), ("/liquidations", "post"), ("/fundings", "post"), ("/fees", "post"),
        ("/busts", "post"), ("/corrections", "post"), ("/faults", "put"), ("/faults", "get"), ("/health", "get"),
    }  # fmt: skip
    page = await client.get("/docs")
    assert page.status_code == 200 and "https://" not in page.text
    assert (await client.get("/docs/swagger-ui-bundle.js")).status_code == 200
    problem(await client.get("/docs/other.js"), 404, "not-found")


async def test_a_venue_that_knows_less(tmp_path: Path) -> None:
    with running(tmp_path, "--no-dedup", "--no-replace", "--clock", "data") as venue:
        async with venue.client() as client:
            for _ in range(2):
                assert (await client.post("/orders", json=order("o", limit_price="1"))).status_code == 201
            both = (await client.get("/orders", params={"client_order_id": "o"})).json()["orders"]
            assert [each["venue_order_id"] for each in both] == ["v1", "v2"]
            refused = await client.post("/orders/o/replace", json={"account": both[0]["account"], "quantity": "1"})
            problem(refused, 405, "unsupported")
            # By the clock of the data an order is as old as the last quote, and is filled by it.
            await client.put("/quotes", json=quote("99", "101", time="2026-01-02T03:04:05.000006Z"))
            filled = (await client.post("/orders", json=order("p"))).json()
            assert (filled["status"], filled["created_at"]) == ("FILLED", "2026-01-02T03:04:05.000006Z")
            assert (await client.get("/health")).json()["time"] == filled["created_at"]


async def test_a_venue_that_moves_ids(tmp_path: Path) -> None:
    with running(tmp_path, "--replace-moves-id") as venue:
        async with venue.client() as client, venue.stream() as stream:
            first = (await client.post("/orders", json=order("o", limit_price="1"))).json()
            account = {"account": first["account"]}
            moved = (await client.post("/orders/o/replace", json={**account, "limit_price": "2"})).json()
            assert moved["venue_order_id"] != first["venue_order_id"] and moved["status"] == "NEW"
            frames = [await stream.next() for _ in range(3)]
            assert [(frame["exec_type"], frame["venue_order_id"]) for frame in frames] == [
                ("NEW", first["venue_order_id"]),
                ("REPLACED", moved["venue_order_id"]),
                ("CANCELED", first["venue_order_id"]),
            ]
            for known in (first, moved):
                assert (await client.get(f"/orders/{known['venue_order_id']}")).json()["status"] == "NEW"


def test_standard_input_that_closes_ends_the_venue(tmp_path: Path) -> None:
    with running(tmp_path) as venue:
        assert httpx.post(f"{venue.url}/orders", json=order("o", limit_price="1")).status_code == 201
        assert venue.process.stdin is not None
        venue.process.stdin.close()
        venue.process.wait(30)
        assert venue.process.returncode == -signal.SIGTERM
        assert (tmp_path / "snapshot-1").exists()
