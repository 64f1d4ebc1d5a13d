"""JSON made by SQL is written like JSON made by Python: every answer, byte for byte."""

from __future__ import annotations

import re
from collections import defaultdict
from decimal import Decimal
from typing import Any, get_args

import httpx
import msgspec
import psycopg

from foldbook.api.application import ROUTES
from foldbook.api.queries.documents import Booking
from foldbook.eventstore.events import Event
from foldbook.trading.events import (
    AccountAdjusted,
    ExecutionBooked,
    ExecutionBusted,
    FillConflictDetected,
    InstrumentDefined,
    OrderCreated,
    OrderDenied,
    PriceRecorded,
    RiskLimitsSet,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.values import (
    AdjustmentKind,
    CollarSide,
    ExecType,
    ExecutionKind,
    GroupKind,
    InstrumentKind,
    OrderGroup,
    OrderType,
    OrdStatus,
    RiskLimits,
    Side,
    TimeInForce,
)
from tests.api.conftest import ACCOUNT, AT, Engine
from tests.api.test_positions import open_book, record
from tests.trading.executions import NOON, corrected, filled

OF_ACCOUNT = "/accounts/{user}/{exchange}/{broker}"
OF_TRADING = ("/accounts", "/fills")
NOT_JSON = {"/metrics", "/stream/events", "/stream/market"}
NEED_RABBITMQ = {"/admin/dead-letters"}  # tests/messaging/test_routes.py asks them
QUERIES = {
    OF_ACCOUNT: [AT],
    f"{OF_ACCOUNT}/book": [f"{AT}/book", f"{AT}/book?limit=1", f"{AT}/book?after=1000"],
    f"{OF_ACCOUNT}/orders": [
        f"{AT}/orders",
        f"{AT}/orders?limit=1",
        f"{AT}/orders?symbol=NONE",
        f"{AT}/orders?as_of_position=10",
        f"{AT}/orders?as_of=2999-01-01T00:00:00Z&limit=1",
    ],
    f"{OF_ACCOUNT}/orders/{{order_id}}": [f"{AT}/orders/o-1", f"{AT}/orders/o-2"],
    f"{OF_ACCOUNT}/orders/{{order_id}}/history": [f"{AT}/orders/o-1/history", f"{AT}/orders/o-1/history?limit=1"],
    f"{OF_ACCOUNT}/exceptions": [f"{AT}/exceptions", f"{AT}/exceptions?limit=1"],
    f"{OF_ACCOUNT}/positions": [
        f"{AT}/positions",
        f"{AT}/positions?limit=1",
        f"{AT}/positions?as_of_position=1",
        f"{AT}/positions?by=strategy",
        f"{AT}/positions?by=strategy&limit=1",
        f"{AT}/positions?as_of_business_time=2999-01-01T00:00:00Z",
        f"{AT}/positions?as_of_business_time=2999-01-01T00:00:00Z&limit=1",
    ],
    f"{OF_ACCOUNT}/positions/{{symbol}}": [
        f"{AT}/positions/BTC-USDT",
        f"{AT}/positions/BTC-USDT?as_of_business_time=2999-01-01T00:00:00Z",
    ],
    f"{OF_ACCOUNT}/positions/{{symbol}}/history": [
        f"{AT}/positions/BTC-USDT/history",
        f"{AT}/positions/BTC-USDT/history?limit=1",
    ],
    f"{OF_ACCOUNT}/cycles": [f"{AT}/cycles?symbol=BTC-USDT", f"{AT}/cycles?symbol=BTC-USDT&limit=1"],
    f"{OF_ACCOUNT}/lots": [f"{AT}/lots", f"{AT}/lots?limit=1", f"{AT}/lots?symbol=BTC-USDT&status=closed"],
    f"{OF_ACCOUNT}/ledger": [f"{AT}/ledger", f"{AT}/ledger?limit=1", f"{AT}/ledger?currency=USDT"],
    f"{OF_ACCOUNT}/ledger/balances": [f"{AT}/ledger/balances", f"{AT}/ledger/balances?limit=1"],
    f"{OF_ACCOUNT}/risk": [f"{AT}/risk"],
    f"{OF_ACCOUNT}/instruments": [f"{AT}/instruments", f"{AT}/instruments?limit=1"],
    f"{OF_ACCOUNT}/instruments/{{symbol}}": [f"{AT}/instruments/BTC-USDT"],
    f"{OF_ACCOUNT}/prices": [f"{AT}/prices", f"{AT}/prices?limit=1"],
    "/fills": ["/fills", "/fills?limit=1", "/fills?group_by=symbol", "/fills?group_by=strategy,symbol&limit=1"],
    "/events": ["/events", "/events?limit=1", "/events?type=OrderExpired"],
    "/admin/gateways": ["/admin/gateways"],
    "/admin/relays": ["/admin/relays"],
    "/keys": ["/keys"],
    "/session": ["/session"],
    "/admin/doubts": ["/admin/doubts", "/admin/doubts?account=nobody/at/live"],
    "/admin/projections": ["/admin/projections"],
    "/admin/projections/{name}": ["/admin/projections/orders"],
    "/admin/log/verify": ["/admin/log/verify"],
    "/health/live": ["/health/live"],
    "/health/ready": ["/health/ready"],
}
"""Every GET call by its path in the OpenAPI document."""

_ORDER: dict[str, Any] = {"strategy_id": "s", "symbol": "BTC-USDT", "side": Side.BUY}
_TERMS: dict[str, Any] = {"order_type": OrderType.LIMIT, "quantity": Decimal(2), "limit_price": Decimal(100)}
_CREATED: dict[str, Any] = {**_ORDER, "time_in_force": TimeInForce.GTD, "expire_at": NOON, "transact_time": NOON}
_TOLD: dict[str, Any] = {"symbol": "BTC-USDT", "base_currency": "BTC", "quote_currency": "USDT", "transact_time": NOON}
_BOOKED: dict[str, Any] = {**_TOLD, "side": Side.SELL, "last_qty": Decimal(1), "last_px": Decimal(90)}
EVERYTHING: list[Event] = [
    InstrumentDefined(symbol="XBTUSD", kind=InstrumentKind.INVERSE, multiplier=Decimal(100), expiry=NOON),
    InstrumentDefined(symbol="BTC-USDT", multiplier=Decimal(1), quote_currency="USDT"),
    PriceRecorded(symbol="BTC-USDT", price=Decimal(110), transact_time=NOON),
    PriceRecorded(symbol="XBTUSD", price=Decimal(50), counted_at=NOON),
    RiskLimitsSet(limits=RiskLimits(max_unrealized_loss=Decimal(5), price_collar_side=CollarSide.BOTH)),
    OrderCreated(
        order_id="o-1", **_CREATED, **_TERMS, post_only=True, reduce_only=True, display_quantity=Decimal(1),
        group=OrderGroup(kind=GroupKind.OCO, id="g"),
    ),
    OrderCreated(
        order_id="o-2", **_CREATED, order_type=OrderType.STOP, quantity=Decimal(0), cash_quantity=Decimal(7),
        trailing_offset=Decimal(1),
    ),
    OrderDenied(order_id="o-2", **_ORDER, working_state=OrdStatus.DENIED, reason="r", limit="1", observed="2"),
    filled("2", "100", "e-1", gross_amount=Decimal("200.01")),
    corrected(
        filled("2", "100", "e-1"), "3", "99", previous_gross_amount=Decimal("200.01"), gross_amount=Decimal("297.01"),
    ),
    filled("1", "100", "e-2", symbol="XBTUSD", instrument_kind=InstrumentKind.INVERSE, multiplier="100"),
    ExecutionBooked(exec_id="x-1", kind=ExecutionKind.LIQUIDATION, **_BOOKED),
    ExecutionBooked(exec_id="x-2", kind=ExecutionKind.ASSIGNMENT, **_BOOKED),
    ExecutionBusted(exec_id="x-3", exec_ref_id="x-2", kind=ExecutionKind.ASSIGNMENT, **_BOOKED),
    AccountAdjusted(
        kind=AdjustmentKind.TRANSFER, reference="t", quantity=Decimal(1), value=Decimal(80), price=Decimal(80), **_TOLD,
    ),
    AccountAdjusted(
        kind=AdjustmentKind.SPLIT, reference="s", quantity=Decimal(3), split_to=2, split_from=1, **_TOLD,
    ),
    AccountAdjusted(kind=AdjustmentKind.CASH, reference="c", currency="USDT", amount=Decimal(-1), transact_time=NOON),
    UnmatchedExecutionRecorded(
        exec_type=ExecType.TRADE, exec_id="u-1", kind=ExecutionKind.EXERCISE, symbol="BTC-USDT", side=Side.BUY,
        last_qty=Decimal(1), last_px=Decimal(1), gross_amount=Decimal(1), request_id="r", counted_at=NOON,
    ),
    FillConflictDetected(
        order_id="o-1", exec_type=ExecType.REPLACED, quantity=Decimal(1), stop_price=Decimal(1), transact_time=NOON,
    ),
]  # fmt: skip
"""Something of all that the read tables show."""

AWKWARD = 'said "é\\ü/\u2028" \t\n\x01'


async def test_every_get_call_answers_in_the_bytes_that_msgspec_writes(engine: Engine) -> None:
    document = await engine.get("/openapi.json")
    described = {path for path, calls in document["paths"].items() if "get" in calls}
    assert described == QUERIES.keys() | NOT_JSON | NEED_RABBITMQ
    last = await _trade(engine)
    for paths in QUERIES.values():
        for path in paths:
            parameters = {} if path.startswith(("/admin", "/health", "/keys", "/session")) else {"min_position": last}
            response = await engine.client.get(httpx.URL(path).copy_merge_params(parameters))
            assert response.status_code == 200, response.text
            assert response.content == msgspec.json.encode(msgspec.json.decode(response.content)), path

    awkward = (await engine.get(f"{AT}/exceptions"))["exceptions"][0]["raw_message"]
    assert awkward == AWKWARD


async def test_every_document_is_as_it_is_described(engine: Engine) -> None:
    """Whatever the log can say: every member that SQL sends is known, and has a value of its type."""
    described = {
        path.replace(":str}", "}"): get_args(handler.parsed_fn_signature.return_type.raw)[0]
        for handler in ROUTES
        for path in handler.paths
        if path.startswith(OF_TRADING)
    }
    open_book(engine)
    last = record(engine, *EVERYTHING)
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for template, paths in QUERIES.items():
        for path in paths if template.startswith(OF_TRADING) else ():
            response = await engine.client.get(httpx.URL(path).copy_merge_params({"min_position": last}))
            assert response.status_code == 200, response.text
            kinds = get_args(described[template]) or (described[template],)
            kind = kinds[-1 if "by=strategy" in path else 0]
            seen[kind.__name__] |= _members_given(response.json())
            msgspec.convert(response.json(), kind, strict=False)
    assert seen["OrderPage"] >= {"group", "denial", "cash_quantity", "trailing_offset", "display_quantity", "expire_at"}
    assert seen["FillPage"] >= {"kind", "gross_amount", "original_gross_amount", "currency"}
    assert seen["ExecutionExceptionPage"] >= {"kind", "symbol", "side", "gross_amount", "counted_at", "request_id"}
    assert seen["PositionPage"] >= {"settlement_currency", "last_price", "market_value", "unrealized_pnl"}
    assert seen["PositionHistory"] >= {"kind", "gross_amount", "reference", "adjusted_value", "split_to"}
    assert seen["InstrumentPage"] >= {"expiry"}
    assert seen["LotPage"] >= {"closed_at", "price"}
    assert seen["LedgerPage"] >= {"kind", "reference", "exec_id"}


def _members_given(document: Any) -> set[str]:
    """The names of the members, however deep, that are not null."""
    if isinstance(document, list):
        return set().union(*map(_members_given, document))
    if not isinstance(document, dict):
        return set()
    given = {name for name, value in document.items() if value is not None}
    return given.union(*map(_members_given, document.values()))


def test_what_was_booked_is_an_execution_or_an_adjustment() -> None:
    assert set(get_args(Booking)) == {*ExecutionKind, *AdjustmentKind}


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
        answer = await engine.client.post("/commands", json=refused)
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
