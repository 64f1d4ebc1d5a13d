"""Positions over HTTP: as they are, as they were, and every execution that made them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from foldbook.api.queries.documents import Position as PositionDocument
from foldbook.api.queries.documents import PositionHistory, PositionPage
from foldbook.trading.events import ExecutionEvent
from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem
from tests.readside.histories import Happening, book_created, write
from tests.trading.executions import busted, corrected, filled

BTC = f"{AT}/positions/BTC-USDT"


def record(engine: Engine, *events: ExecutionEvent) -> int:
    """Write executions of an account that was opened into the log, as if they had been decided; the log's head."""
    happenings = [Happening(ACCOUNT, type(event).__name__, json.loads(event.payload())) for event in events]
    return _write(engine, happenings)


def open_book(engine: Engine) -> int:
    return _write(engine, [book_created(ACCOUNT)])


def _write(engine: Engine, happenings: list[Happening]) -> int:
    dsn = engine.settings.database_url
    assert dsn is not None
    with psycopg.connect(dsn.get_secret_value(), autocommit=True) as writer:
        return write(writer, happenings)


async def test_a_position_is_read_back_with_its_fills(engine: Engine) -> None:
    await engine.open()
    await engine.place("o-1", quantity="3")
    await engine.trade("e-1", "1", "100", fee="0.10", fee_currency="USDT")
    await engine.trade("e-2", "0.5", "101")
    await engine.place("o-2", side="SELL", quantity="1", strategy_id="mean")
    sold = await engine.post(
        f"{AT}/execution-reports",
        {"order_id": "o-2", "exec_type": "TRADE", "exec_id": "e-1", "last_qty": "0.5", "last_px": "110"},
        **{"X-Actor": "gateway-1", "X-Correlation-Id": "c-9"},
    )

    response = await engine.client.get(BTC, params={"min_position": sold["position"]})
    assert response.headers["x-position"] == str(sold["position"])
    read = response.json()
    msgspec.convert(read, PositionDocument, strict=False)
    assert {name: read[name] for name in ("account", "symbol", "quantity", "cost", "realized_pnl", "fees")} == {
        "account": ACCOUNT,
        "symbol": "BTC-USDT",
        "quantity": "1",
        "cost": "100.333333333333333333333333333333333334",
        "realized_pnl": "4.833333333333333333333333333333333334",
        "fees": {"USDT": "0.1"},
    }
    assert (read["avg_px"], read["cycle"], read["multiplier"]) == ("100.333333333333333333", 1, "1")
    assert read["last_position"] == sold["position"]
    assert await engine.get(f"{AT}/positions") == {"positions": [read]}

    history = await engine.get(f"{BTC}/history")
    msgspec.convert(history, PositionHistory, strict=False)
    first, _, last = history["executions"]
    assert (first["quantity"], first["avg_px"], first["fees"], first["actor"]) == ("1", "100", {"USDT": "0.1"}, None)
    told = {name: value for name, value in last.items() if name not in ("occurred_at", "recorded_at", "avg_px", "cost")}
    assert told == {
        "position": sold["position"],
        "type": "OrderFilled",
        "order_id": "o-2",
        "strategy_id": "mean",
        "side": "SELL",
        "exec_id": "e-1",
        "exec_ref_id": None,
        "is_reversal": False,
        "last_qty": "0.5",
        "last_px": "110",
        "fee": None,
        "fee_currency": None,
        "quantity": "1",
        "realized_pnl": read["realized_pnl"],
        "fees": {"USDT": "0.1"},
        "cycle": 1,
        "command_id": sold["command_id"],
        "actor": "gateway-1",
        "correlation_id": "c-9",
        "causation_id": None,
        "raw_message": None,
    }


async def test_as_of_shows_what_the_log_said_then(engine: Engine) -> None:
    open_book(engine)
    fill = filled("2", "100", "e-1")
    bought = record(engine, fill)
    doubled = record(engine, filled("2", "110", "e-2"))
    fixed = record(engine, corrected(fill, "1", "99"))
    gone = record(engine, busted("2", "110", "e-2"))
    await engine.get(BTC, min_position=gone)

    async def shown(**as_of: Any) -> tuple[str, str, str, int]:
        response = await engine.client.get(BTC, params=as_of)
        read = response.json()
        assert (await engine.get(f"{AT}/positions", **as_of))["positions"] == [read]
        return read["quantity"], read["avg_px"], response.headers["x-position"], read["last_position"]

    assert await shown(as_of_position=bought) == ("2", "100", str(bought), bought)
    assert await shown(as_of_position=doubled) == ("4", "105", str(doubled), doubled)
    third = "106.333333333333333333"
    assert await shown(as_of_position=fixed) == ("3", third, str(fixed), fixed)
    assert await shown(as_of_position=gone) == ("1", "99", str(gone), gone)
    assert await shown() == ("1", "99", str(gone), gone)

    times = {e["position"]: e["recorded_at"] for e in (await engine.get(f"{BTC}/history"))["executions"]}
    assert await shown(as_of=times[doubled]) == ("4", "105", str(doubled), doubled)
    just_before = datetime.fromisoformat(times[doubled]) - timedelta(microseconds=1)
    assert await shown(as_of=just_before.isoformat()) == ("2", "100", str(bought), bought)
    assert await shown(as_of=times[doubled].replace("Z", "999Z")) == ("4", "105", str(doubled), doubled)
    assert await shown(as_of="2999-01-01T00:00:00Z") == ("1", "99", str(gone), gone)


async def test_history_shows_busts_and_corrections_and_their_effects(engine: Engine) -> None:
    open_book(engine)
    fill = filled("2", "100", "e-1", fee="1", fee_currency="USDT")
    head = record(
        engine,
        fill,
        corrected(fill, "1", "99", fee="0.5", fee_currency="USDT"),
        busted("1", "99", fee="0.5", fee_currency="USDT", is_reversal=True),
    )
    executions = (await engine.get(f"{BTC}/history", min_position=head))["executions"]
    assert [
        (e["type"], e["exec_ref_id"], e["is_reversal"], e["quantity"], e["cost"], e["fees"]) for e in executions
    ] == [
        ("OrderFilled", None, False, "2", "200", {"USDT": "1"}),
        ("FillCorrected", "e-1", False, "1", "99", {"USDT": "0.5"}),
        ("FillBusted", "e-1", True, "0", "0", {"USDT": "0"}),
    ]


async def test_pages(engine: Engine) -> None:
    open_book(engine)
    symbols = [f"S-{n}" for n in range(5)]
    fills = [filled("1", str(100 + n), f"e-{n}-{s}", symbol=s) for n in range(3) for s in symbols]
    head = record(engine, *fills)

    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        body = await engine.get(f"{AT}/positions", limit=2, min_position=head, **after)
        msgspec.convert(body, PositionPage, strict=False)
        seen += [position["symbol"] for position in body["positions"]]
        as_of = await engine.get(f"{AT}/positions", limit=2, as_of_position=head, **after)
        assert as_of == body
        if "next" not in body:
            break
        after = {"after": body["next"]}
    assert seen == symbols

    first = await engine.get(f"{AT}/positions/S-1/history", limit=2)
    assert [e["last_px"] for e in first["executions"]] == ["100", "101"]
    rest = await engine.get(f"{AT}/positions/S-1/history", limit=2, after=first["next"])
    assert [e["last_px"] for e in rest["executions"]] == ["102"]
    assert "next" not in rest


async def test_what_is_not_there(engine: Engine) -> None:
    head = open_book(engine)
    assert await engine.get(f"{AT}/positions", min_position=head) == {"positions": []}
    traded = record(engine, filled("1", "100"))
    await engine.get(BTC, min_position=traded)

    client = engine.client
    unknown = "/accounts/nobody/binance/simulated/positions"
    for path in (unknown, f"{unknown}/BTC-USDT", f"{unknown}/BTC-USDT/history"):
        assert_problem(await client.get(path), 404, "unknown-account")
    for path in (f"{AT}/positions/ETH-USDT", f"{AT}/positions/ETH-USDT/history", f"{AT}/positions/%00"):
        assert_problem(await client.get(path), 404, "unknown-position")
    assert_problem(await client.get(BTC, params={"as_of_position": head}), 404, "unknown-position")
    assert await engine.get(f"{AT}/positions", as_of_position=head) == {"positions": []}
    behind = await client.get(BTC, params={"as_of_position": traded + 1})
    assert_problem(behind, 504, "projection-behind", min_position=traded + 1, checkpoint=traded)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"as_of": "2026-01-02T03:04:05Z", "as_of_position": 1}, "as_of"),
        ({"as_of": "2026-01-02T03:04:05"}, "as_of"),
        ({"as_of": "yesterday"}, "as_of"),
        ({"as_of": "2026-01-02T03:04:05 01:00"}, "as_of"),
        ({"as_of": "9999-12-31T23:59:59-14:00"}, "as_of"),
        ({"as_of_position": "1.0"}, "as_of_position"),
        ({"as_of_position": -1}, "as_of_position"),
    ],
)
async def test_a_time_that_cannot_be_read(engine: Engine, parameters: dict[str, Any], field: str) -> None:
    response: httpx.Response = await engine.client.get(BTC, params=parameters)
    assert_problem(response, 400, "malformed", field=field)
