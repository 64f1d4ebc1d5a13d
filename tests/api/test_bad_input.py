"""What cannot be read, what breaks a rule, what is too much: each answered by its problem, and nothing recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import Engine, assert_problem, order

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def at(shared_engine: Engine) -> str:
    """The path of an account that was just opened."""
    account = f"u{uuid4().hex}/binance/simulated"
    await shared_engine.open(account)
    return f"/accounts/{account}"


@pytest.fixture
def client(shared_engine: Engine) -> httpx.AsyncClient:
    return shared_engine.client


async def send(client: httpx.AsyncClient, path: str, content: bytes, **headers: str) -> httpx.Response:
    return await client.post(path, content=content, headers={"Content-Type": "application/json", **headers})


async def place(client: httpx.AsyncClient, at: str, **fields: Any) -> int:
    """The position of an order that is to be placed."""
    response = await client.post(f"{at}/orders", json=order(**fields))
    assert response.status_code == 201, response.text
    position: int = response.json()["position"]
    return position


async def trade(client: httpx.AsyncClient, at: str, exec_id: str, qty: str, px: str, order_id: str = "o-1") -> int:
    report = {"order_id": order_id, "exec_type": "TRADE", "exec_id": exec_id, "last_qty": qty, "last_px": px}
    response = await client.post(f"{at}/execution-reports", json=report)
    assert response.status_code == 200, response.text
    position: int = response.json()["position"]
    return position


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nul",
        b"[]",
        b'"text"',
        b"{} trailing",
        b'{"order_id": NaN}',
        b'{"order_id": Infinity}',
        b'{"quantity": 1e400}',
        b"\xef\xbb\xbf{}",
        b'{"order_id": "\xff\xfe"}',
        b'{"order_id": "\\ud800"}',
        b"[" * 100_000,
        '{"order_id": "a"}'.encode("utf-16"),
    ],
)
async def test_a_body_that_is_not_an_object_is_malformed(client: httpx.AsyncClient, at: str, content: bytes) -> None:
    assert_problem(await send(client, f"{at}/orders", content), 400, "malformed")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"quantity": 1}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"quantity": []}, "quantity"),
        ({"order_id": 7}, "order_id"),
        ({"side": 1}, "side"),
        ({"symbol": {}}, "symbol"),
        ({"time_in_force": 5, "order_id": "x"}, "time_in_force"),
    ],
)
async def test_a_field_of_the_wrong_type_is_malformed_and_named(
    client: httpx.AsyncClient, at: str, fields: dict[str, Any], path: str
) -> None:
    assert_problem(await client.post(f"{at}/orders", json={**order(), **fields}), 400, "malformed", path=path)


async def test_unknown_and_missing_fields_are_malformed(client: httpx.AsyncClient, at: str) -> None:
    assert_problem(await client.post(f"{at}/orders", json=order(colour="red")), 400, "malformed")
    assert_problem(await client.post(f"{at}/orders", json=order(side=None)), 400, "malformed")
    assert_problem(await client.post(f"{at}/orders/o-1/cancel", json={"reason": "x"}), 400, "malformed")
    assert_problem(await client.post(f"{at}/orders?colour=red", json=order()), 400, "malformed")
    assert_problem(await client.post("/accounts", json={"user": "a", "exchange": "b"}), 400, "malformed")


AMOUNTS = [
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "inf",
    "1e400",
    "1E5",
    "abc",
    "",
    " 1",
    "1 ",
    "1\n",
    "+1",
    ".5",
    "5.",
    "1_000",
    "1,5",
    "٣",
    "0x10",
    "1" * 21,
    "0." + "1" * 19,
    "1\u0000",
]


NOT_POSITIVE = ["0", "0.000", "-1", "-0.5"]


@pytest.mark.parametrize("amount", [*AMOUNTS, *NOT_POSITIVE])
async def test_a_quantity_or_price_that_is_not_a_positive_amount_is_refused(
    client: httpx.AsyncClient, at: str, amount: str
) -> None:
    """Except for the price of a fill, which may be any amount: it is what the broker said."""
    for field in ("quantity", "limit_price"):
        response = await client.post(f"{at}/orders", json=order(**{field: amount}))
        assert_problem(response, 422, "invalid-command", field=field)
    await place(client, at)
    report = {"order_id": "o-1", "exec_type": "TRADE", "exec_id": "e-1", "last_qty": "1", "last_px": "1"}
    for field in ("last_qty",) if amount in NOT_POSITIVE else ("last_qty", "last_px"):
        response = await client.post(f"{at}/execution-reports", json={**report, field: amount})
        assert_problem(response, 422, "invalid-command", field=field)


async def test_the_largest_and_smallest_amounts_are_exact(client: httpx.AsyncClient, at: str) -> None:
    largest = "9" * 20 + "." + "9" * 18
    smallest = "0." + "0" * 17 + "1"
    await place(client, at, order_id="large", quantity=largest, limit_price=largest)
    await place(client, at, order_id="small", quantity=smallest, limit_price=smallest)
    last = await trade(client, at, "e-1", largest, largest, "large")
    large = (await client.get(f"{at}/orders/large", params={"min_position": last})).json()
    assert (large["quantity"], large["cum_qty"], large["avg_px"], large["leaves_qty"]) == (
        largest,
        largest,
        largest,
        "0",
    )
    small = (await client.get(f"{at}/orders/small")).json()
    assert (small["quantity"], small["limit_price"], small["avg_px"]) == (smallest, smallest, "0")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order_id", ""),
        ("order_id", "a b"),
        ("order_id", "a/b"),
        ("order_id", "-a"),
        ("order_id", "a\n"),
        ("order_id", "a" * 65),
        ("order_id", "nul\u0000byte"),
        ("strategy_id", "\u0000"),
        ("symbol", "BTC\u0000"),
        ("symbol", "ÄÖÜ"),
        ("side", "HOLD"),
        ("side", "buy"),
        ("order_type", "ICEBERG"),
        ("time_in_force", "FOREVER"),
        ("expire_at", "tomorrow"),
        ("expire_at", "2026-01-02T03:04:05"),
        ("expire_at", "9999-12-31T23:59:59-14:00"),
    ],
)
async def test_a_word_that_its_field_cannot_hold_is_refused(
    client: httpx.AsyncClient, at: str, field: str, value: str
) -> None:
    response = await client.post(f"{at}/orders", json=order(**{field: value}))
    assert_problem(response, 422, "invalid-command", field=field)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("limit_price", {"limit_price": None}),
        ("limit_price", {"order_type": "MARKET"}),
        ("stop_price", {"stop_price": "1"}),
        ("stop_price", {"order_type": "STOP", "limit_price": None}),
        ("expire_at", {"time_in_force": "GTD"}),
        ("expire_at", {"expire_at": "2026-01-02T03:04:05Z"}),
    ],
)
async def test_fields_that_do_not_go_together_are_refused(
    client: httpx.AsyncClient, at: str, field: str, fields: dict[str, Any]
) -> None:
    response = await client.post(f"{at}/orders", json=order(**fields))
    assert_problem(response, 422, "invalid-command", field=field)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        *[("exec_type", {"exec_type": word}) for word in ("ORDER_STATUS", "TRIGGERED", "trade", "")],
        ("exec_id", {"exec_id": None}),
        ("exec_id", {"exec_id": "a\u0000"}),
        ("last_px", {"last_px": None}),
        ("fee", {"fee": "free", "fee_currency": "USDT"}),
        ("fee_currency", {"fee": "1"}),
        ("fee_currency", {"fee": "1", "fee_currency": "U S D"}),
        ("reason", {"reason": "r" * 1001}),
        ("broker_order_id", {"broker_order_id": "\u007f"}),
        ("occurred_at", {"occurred_at": "0001-01-01T00:00:00+14:00"}),
    ],
)
async def test_a_report_that_breaks_a_rule_is_refused(
    client: httpx.AsyncClient, at: str, field: str, fields: dict[str, Any]
) -> None:
    await place(client, at)
    report = {"order_id": "o-1", "exec_type": "TRADE", "exec_id": "e-1", "last_qty": "1", "last_px": "1", **fields}
    response = await client.post(
        f"{at}/execution-reports", json={name: value for name, value in report.items() if value is not None}
    )
    assert_problem(response, 422, "invalid-command", field=field)


@pytest.mark.parametrize(
    ("field", "value"), [("user", "a b"), ("user", "a\u0000"), ("exchange", ""), ("broker", "paper")]
)
async def test_an_account_needs_names_and_a_known_broker(
    client: httpx.AsyncClient, at: str, field: str, value: str
) -> None:
    body = {"user": "alice", "exchange": "binance", "broker": "simulated", field: value}
    assert_problem(await client.post("/accounts", json=body), 422, "invalid-command", field=field)


async def test_what_contradicts_the_order_is_a_conflict(client: httpx.AsyncClient, at: str) -> None:
    await place(client, at)
    assert_problem(await client.post(f"{at}/orders", json=order(quantity="3")), 409, "duplicate-order")
    await trade(client, at, "e-1", "2", "100")
    response = await client.post(f"{at}/orders/o-1/cancel")
    assert_problem(response, 409, "order-closed", order_status="FILLED")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Idempotency-Key", "not-a-uuid"),
        ("Idempotency-Key", "0" * 32),
        ("Idempotency-Key", ""),
        ("If-Match", "3"),
        ("If-Match", '"x"'),
        ("If-Match", '"-1"'),
        ("If-Match", '"1", "2"'),
        ("If-Match", "*"),
        ("If-Match", 'W/"1"'),
        ("If-Match", '"99999999999999999999"'),
        ("X-Actor", "a" * 129),
        ("X-Actor", "a\tb"),
        ("X-Correlation-Id", ""),
    ],
)
async def test_a_header_that_cannot_be_read_is_malformed_and_named(
    client: httpx.AsyncClient, at: str, name: str, value: str
) -> None:
    response = await client.post(f"{at}/orders", json=order(), headers={name: value})
    assert_problem(response, 400, "malformed", field=name)


async def test_another_media_type_is_unsupported(client: httpx.AsyncClient, at: str) -> None:
    content = b'{"user":"bob","exchange":"x","broker":"live"}'
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
        response = await send(client, "/accounts", content, **{"Content-Type": media_type})
        assert_problem(response, 415, "unsupported-media-type")
    response = await send(client, "/commands", b"", **{"Content-Type": "text/csv"})
    assert_problem(response, 415, "unsupported-media-type")
    response = await send(client, "/accounts", content, **{"Content-Type": "application/json; charset=utf-8"})
    assert response.status_code == 201


async def test_a_body_of_more_than_1_mib_is_too_large(client: httpx.AsyncClient, at: str) -> None:
    assert_problem(await send(client, f"{at}/orders", b" " * (1 << 20) + b"{}"), 413, "body-too-large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1025):
            yield b" " * 1024

    # Without a length, it shows while it is read.
    response = await client.post(f"{at}/orders", content=chunks(), headers={"Content-Type": "application/json"})
    assert_problem(response, 413, "body-too-large")
    padded = b'{"user":"eve","exchange":"x","broker":"live"}'.ljust(1 << 20)
    assert (await send(client, "/accounts", padded)).status_code == 201


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("?min_position=x", "min_position"),
        ("?min_position=-1", "min_position"),
        ("?min_position=1.5", "min_position"),
        ("?min_position=99999999999999999999", "min_position"),
        ("/orders?limit=0", "limit"),
        ("/orders?limit=1.0", "limit"),
        ("/orders?limit=", "limit"),
        ("/orders?limit=%201", "limit"),
        ("/orders?limit=1%20", "limit"),
        ("/orders?limit=+1", "limit"),
        ("/orders?limit=%2B1", "limit"),
        ("/orders?limit=1_0", "limit"),
        ("/orders?limit=0x1", "limit"),
        ("/orders?limit=true", "limit"),
        ("/orders?limit=%D9%A1", "limit"),
        ("/orders?limit=1%0A", "limit"),
        ("/orders?limit=5&limit=5", "limit"),
        ("/orders?symbol=A&symbol=B", "symbol"),
        ("/orders?account=alice", "account"),
        ("/orders?reader=x", "reader"),
        ("/orders?after=1e3", "after"),
        ("?min_position=1.0", "min_position"),
        ("/admin/log/verify?shard=0.0", "shard"),
        ("/admin/log/verify?shard=1", "shard"),
        ("/admin/projections/orders?name=fills", "name"),
        ("/events?after=1.0", "after"),
        ("/events?type=A&limit=1&type=A", "type"),
        ("/orders?limit=1001", "limit"),
        ("/orders?after=x", "after"),
        ("/orders?status=open,LOST", "status"),
        ("/orders?status=", "status"),
        ("/orders?symbol=%00", "symbol"),
        ("/orders?strategy_id=trend", "strategy_id"),
        ("/book?after=%00", "after"),
        ("/fills?account=alice", "account"),
        ("/fills?strategy=a%20b", "strategy"),
        ("/fills?group_by=colour", "group_by"),
        ("/fills?after=7", "after"),
        ("/fills?group_by=symbol&after=%00", "after"),
        ("/events?shard=1", "shard"),
        ("/events?shard=x", "shard"),
        ("/events?after=-1", "after"),
        ("/events?limit=1001", "limit"),
        ("/events?type=%00", "type"),
        ("/events?type=NoSuchEvent", "type"),
        ("/events?type=orderfilled", "type"),
        ("/events?type=NoSuchEvent&subject=o-1", "type"),
        ("/events?aggregate_type=nothing", "aggregate_type"),
        ("/events?aggregate_type=nothing&aggregate_id=alice/binance/simulated", "aggregate_type"),
        ("/events?subject=%00", "subject"),
    ],
)
async def test_a_query_parameter_that_cannot_be_read_is_malformed_and_named(
    client: httpx.AsyncClient, at: str, path: str, field: str
) -> None:
    is_of_account = path.startswith(("?", "/orders", "/book"))
    assert_problem(await client.get(f"{at}{path}" if is_of_account else path), 400, "malformed", field=field)


async def test_what_is_not_there_and_what_is_not_allowed(client: httpx.AsyncClient, at: str) -> None:
    assert_problem(await client.get("/nothing/here"), 404, "not-found")
    assert_problem(await client.post("/accounts/a/b/live/nothing", json={}), 404, "not-found")
    assert_problem(await client.get("/docs/nothing"), 404, "not-found")
    response = await client.delete(f"{at}/orders")
    assert_problem(response, 405, "method-not-allowed")
    assert {"GET", "POST"} <= {word.strip() for word in response.headers["allow"].split(",")}
    assert_problem(await client.get("/commands"), 405, "method-not-allowed")
    assert_problem(await client.get("/admin/projections/nothing"), 404, "unknown-projection")


async def test_nothing_that_was_refused_at_the_door_is_recorded(client: httpx.AsyncClient, at: str) -> None:
    head = (await client.get("/events")).json()["head"]
    await asyncio.gather(
        send(client, f"{at}/orders", b"{"),
        client.post(f"{at}/orders", json=order(quantity="NaN")),
        client.post(f"{at}/orders", json=order(quantity=1)),
        client.post(f"{at}x/orders", json=order()),
    )
    assert (await client.get("/events")).json()["head"] == head
