"""The life of an order over HTTP: open, place, fill, cancel, and read all of it back."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem, order


async def test_an_account_is_opened_once(engine: Engine) -> None:
    body = {"user": "alice", "exchange": "binance", "broker": "simulated"}
    first = await engine.client.post("/accounts", json=body)
    assert first.status_code == 201
    assert first.headers["location"] == AT
    assert first.headers["etag"] == '"1"'
    answer = first.json()
    assert answer == {
        "account": ACCOUNT,
        "shard": 0,
        "position": 1,
        "sequence": 1,
        "events": ["OrderBookCreated"],
        "command_id": answer["command_id"],
        "replayed": False,
    }
    assert_problem(await engine.client.post("/accounts", json=body), 409, "already-exists")

    account = await engine.get(AT, min_position=1)
    assert account == {
        "account": ACCOUNT,
        "user": "alice",
        "exchange": "binance",
        "broker": "simulated",
        "opened_at": account["opened_at"],
        "open_orders": 0,
        "last_position": 1,
        "sequence": 1,
    }


async def test_an_order_is_placed_filled_and_read_back(engine: Engine) -> None:
    await engine.open()
    placed = await engine.client.post(f"{AT}/orders", json=order("o-1", quantity="2.50", limit_price="64250.10"))
    assert placed.status_code == 201
    assert placed.headers["location"] == f"{AT}/orders/o-1"
    assert placed.headers["etag"] == '"2"'
    assert placed.json()["events"] == ["OrderCreated"]

    await engine.report("NEW", broker_order_id="b-77")
    await engine.trade("e-1", "1", "64250", fee="0.10", fee_currency="USDT")
    filled = await engine.trade("e-2", "0.5", "64251.5", fee="-0.025", fee_currency="USDT")
    assert (filled["position"], filled["sequence"], filled["events"]) == (5, 5, ["OrderFilled"])

    response = await engine.client.get(f"{AT}/orders/o-1", params={"min_position": filled["position"]})
    assert response.headers["x-position"] == "5"
    read = response.json()
    assert read == {
        "order_id": "o-1",
        "account": ACCOUNT,
        "strategy_id": "trend",
        "symbol": "BTC-USDT",
        "side": "BUY",
        "order_type": "LIMIT",
        "time_in_force": "GTC",
        "expire_at": None,
        "post_only": False,
        "reduce_only": False,
        "trailing_offset": None,
        "display_quantity": None,
        "cash_quantity": None,
        "group": None,
        "quantity": "2.5",
        "limit_price": "64250.1",
        "stop_price": None,
        "status": "PARTIALLY_FILLED",
        "pending_request": "NONE",
        "requested": None,
        "cum_qty": "1.5",
        "leaves_qty": "1",
        "leaves_cash": "0",
        "avg_px": "64250.5",
        "overfill_qty": "0",
        "fees": {"USDT": "0.075"},
        "broker_order_id": "b-77",
        "reason": None,
        "doubts": [],
        "denial": None,
        "created_at": read["created_at"],
        "updated_at": read["updated_at"],
        "last_position": 5,
        "sequence": 5,
    }
    assert read["created_at"].endswith("Z") and len(read["created_at"]) == len("2026-01-02T03:04:05.678901Z")


async def test_orders_as_they_were(engine: Engine) -> None:
    await engine.open()
    first = await engine.place("o-1", symbol="BTC/USDT")
    second = await engine.place("o-2", strategy_id="mean")
    canceled = await engine.report("CANCELED", "o-1")
    last = await engine.trade("e-1", "2", "100", "o-2")

    async def shown(**parameters: Any) -> list[tuple[str, str]]:
        response = await engine.client.get(f"{AT}/orders", params=parameters)
        assert response.status_code == 200, response.text
        return [(one["order_id"], one["status"]) for one in response.json()["orders"]]

    now = await engine.get(f"{AT}/orders", min_position=last["position"])
    assert await engine.get(f"{AT}/orders", as_of_position=last["position"]) == now
    assert await shown(as_of_position=first["position"]) == [("o-1", "CREATED")]
    assert await shown(as_of_position=second["position"]) == [("o-1", "CREATED"), ("o-2", "CREATED")]
    assert await shown(as_of_position=canceled["position"]) == [("o-1", "CANCELED"), ("o-2", "CREATED")]
    assert await shown(as_of_position=canceled["position"], status="open") == [("o-2", "CREATED")]
    assert await shown(as_of_position=second["position"], symbol="BTC/USDT") == [("o-1", "CREATED")]
    assert await shown(as_of_position=second["position"], strategy="mean") == [("o-2", "CREATED")]
    assert await shown(as_of_position=0) == []
    page = await engine.get(f"{AT}/orders", as_of_position=second["position"], limit=1)
    assert page["next"] == first["position"]
    assert await shown(as_of_position=second["position"], after=page["next"]) == [("o-2", "CREATED")]

    (event,) = (await engine.get(f"{AT}/orders/o-2/history", limit=1))["events"]
    assert await shown(as_of=event["recorded_at"]) == [("o-1", "CREATED"), ("o-2", "CREATED")]
    assert await shown(as_of="2999-01-01T00:00:00Z") == [("o-1", "CANCELED"), ("o-2", "FILLED")]
    response = await engine.client.get(f"{AT}/orders", params={"as_of_position": second["position"]})
    assert response.headers["x-position"] == str(second["position"])

    both: dict[str, Any] = {"as_of": "2026-01-02T03:04:05Z", "as_of_position": 1}
    assert_problem(await engine.client.get(f"{AT}/orders", params=both), 400, "malformed", field="as_of")
    behind = await engine.client.get(f"{AT}/orders", params={"as_of_position": last["position"] + 1})
    assert_problem(behind, 504, "projection-behind", min_position=last["position"] + 1)


async def test_a_cancel_is_asked_for_and_reported(engine: Engine) -> None:
    await engine.open()
    await engine.place()
    asked = await engine.post(f"{AT}/orders/o-1/cancel")
    assert asked["events"] == ["OrderCancelRequested"]
    pending = await engine.get(f"{AT}/orders/o-1", min_position=asked["position"])
    assert (pending["status"], pending["pending_request"]) == ("PENDING_CANCEL", "CANCEL")

    again = await engine.post(f"{AT}/orders/o-1/cancel", {})
    assert (again["replayed"], again["position"]) == (True, asked["position"])

    canceled = await engine.report("CANCELED", reason="by request")
    read = await engine.get(f"{AT}/orders/o-1", min_position=canceled["position"])
    assert (read["status"], read["leaves_qty"]) == ("CANCELED", "0")
    assert_problem(await engine.client.post(f"{AT}/orders/o-1/cancel"), 409, "order-closed", order_status="CANCELED")


async def test_the_book_lists_pending_orders_only(engine: Engine) -> None:
    await engine.open()
    for order_id in ("a", "b", "c"):
        await engine.place(order_id)
    last = await engine.report("REJECTED", "b", reason="no margin")
    book = await engine.get(f"{AT}/book", min_position=last["position"])
    assert book["open_orders"] == 2
    assert [pending["order_id"] for pending in book["pending_orders"]] == ["a", "c"]
    assert "next" not in book

    first = await engine.get(f"{AT}/book", limit=1)
    assert [pending["order_id"] for pending in first["pending_orders"]] == ["a"]
    rest = await engine.get(f"{AT}/book", limit=1, after=first["next"])
    assert [pending["order_id"] for pending in rest["pending_orders"]] == ["c"]
    assert "next" not in rest


async def test_orders_are_filtered_and_paged(engine: Engine) -> None:
    await engine.open()
    await engine.place("z", symbol="ETH-USDT")
    await engine.place("y", strategy_id="mean")
    await engine.place("x")
    await engine.place("w")
    await engine.trade("e-1", "2", "100", "x")
    await engine.report("NEW", "y")
    last = (await engine.post(f"{AT}/orders/w/cancel"))["position"]

    async def ids(**parameters: object) -> list[str]:
        found = await engine.get(f"{AT}/orders", min_position=last, **parameters)
        return [one["order_id"] for one in found["orders"]]

    assert await ids() == ["z", "y", "x", "w"]
    assert await ids(status="open") == ["z", "y", "w"]
    assert await ids(status="FILLED") == ["x"]
    assert await ids(status="open,FILLED") == ["z", "y", "x", "w"]
    assert await ids(status="NEW") == ["y"]
    assert await ids(status="PENDING_CANCEL,CREATED") == ["z", "w"]
    assert await ids(symbol="ETH-USDT") == ["z"]
    assert await ids(strategy="mean") == ["y"]
    assert await ids(strategy="mean", symbol="ETH-USDT") == []

    pages = []
    after = 0
    while True:
        page = await engine.get(f"{AT}/orders", limit=3, after=after)
        pages.append([one["order_id"] for one in page["orders"]])
        if "next" not in page:
            break
        after = page["next"]
    assert pages == [["z", "y", "x"], ["w"]]


async def test_the_history_shows_how_an_order_came_to_be(engine: Engine) -> None:
    await engine.open()
    command_id, correlation_id = str(uuid4()), "c-9"
    await engine.post(
        f"{AT}/orders",
        order(limit_price="0.00000010", quantity="1000000"),
        **{"Idempotency-Key": command_id, "X-Actor": "alice@desk", "X-Correlation-Id": correlation_id},
    )
    await engine.place("other")
    await engine.trade("e-1", "2", "0.0000001", occurred_at="2026-01-02T04:04:05.678901+01:00")

    response = await engine.client.get(f"{AT}/orders/o-1/history")
    assert response.headers["x-position"] == "4"
    created, filled = response.json()["events"]
    assert created == {
        "shard": 0,
        "position": 2,
        "aggregate_type": "order_book",
        "aggregate_id": ACCOUNT,
        "sequence": 2,
        "type": "OrderCreated",
        "schema_version": 1,
        "subject": "o-1",
        "occurred_at": created["occurred_at"],
        "recorded_at": created["recorded_at"],
        "command_id": command_id,
        "actor": "alice@desk",
        "on_behalf_of": None,
        "correlation_id": correlation_id,
        "causation_id": None,
        "raw_message": None,
        "payload": {
            "order_id": "o-1",
            "strategy_id": "trend",
            "symbol": "BTC-USDT",
            "side": "BUY",
            "order_type": "LIMIT",
            "quantity": "1000000",
            "limit_price": "0.0000001",
            "time_in_force": "GTC",
            "transact_time": created["payload"]["transact_time"],
        },
    }
    assert (filled["type"], filled["position"], filled["actor"]) == ("OrderFilled", 4, None)
    assert filled["occurred_at"] == "2026-01-02T03:04:05.678901Z"
    assert filled["payload"]["last_px"] == "0.0000001"

    first = await engine.get(f"{AT}/orders/o-1/history", limit=1)
    assert [event["position"] for event in first["events"]] == [2]
    rest = await engine.get(f"{AT}/orders/o-1/history", limit=1, after=first["next"])
    assert [event["position"] for event in rest["events"]] == [4]
    assert "next" not in rest


async def test_unknown_accounts_and_orders_are_told_apart(engine: Engine) -> None:
    last = (await engine.open())["position"]
    client = engine.client
    for path in ("", "/book", "/orders", "/orders/o-1", "/orders/o-1/history"):
        assert_problem(await client.get(f"/accounts/bob/binance/live{path}"), 404, "unknown-account")
        # Not even a name that an account can have.
        assert_problem(await client.get(f"/accounts/bob/binance/nobroker{path}"), 404, "unknown-account")
        assert_problem(await client.get(f"/accounts/b%00b/binance/live{path}"), 404, "unknown-account")
    for path in ("/orders/o-1", "/orders/o-1/history", "/orders/%2a", "/orders/%00/history"):
        assert_problem(await client.get(f"{AT}{path}", params={"min_position": last}), 404, "unknown-order")
    assert (await engine.get(f"{AT}/orders", min_position=last))["orders"] == []
    assert_problem(await client.post("/accounts/bob/binance/live/orders", json=order()), 404, "unknown-account")
    assert_problem(await client.post("/accounts/bob/binance/nobroker/orders", json=order()), 404, "unknown-account")
    assert_problem(await client.post(f"{AT}/orders/o-1/cancel"), 404, "unknown-order")
    assert_problem(await client.post(f"{AT}/orders/%00/cancel"), 404, "unknown-order")
    report = {"order_id": "o-1", "exec_type": "NEW"}
    unknown = await client.post("/accounts/bob/binance/live/execution-reports", json=report)
    assert_problem(unknown, 404, "unknown-account")
