"""Positions over HTTP: as they are, as they were, and every execution that made them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from foldbook.api.queries.documents import CyclePage, PositionHistory, PositionPage, StrategyPositionPage
from foldbook.api.queries.documents import Position as PositionDocument
from foldbook.eventstore.events import Event
from foldbook.trading.events import ExecutionBooked
from foldbook.trading.values import ExecutionKind, Side
from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem, projecting, serving, settings_for
from tests.readside.histories import BEGIN, Happening, book_created, write
from tests.trading.executions import NOON, busted, corrected, filled

BTC = f"{AT}/positions/BTC-USDT"


def record(engine: Engine, *events: Event) -> int:
    """Write events of an account that was opened into the log, as if they had been decided; the log's head."""
    happenings = [
        Happening(ACCOUNT, type(event).__name__, json.loads(event.payload()), event.occurred_at or BEGIN)
        for event in events
    ]
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
        "kind": None,
        "last_qty": "0.5",
        "last_px": "110",
        "gross_amount": None,
        "fee": None,
        "fee_currency": None,
        "reference": None,
        "adjusted_quantity": None,
        "adjusted_value": None,
        "split_to": None,
        "split_from": None,
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


async def test_a_position_is_worth_what_the_last_price_says(engine: Engine) -> None:
    await engine.open()
    await engine.place(quantity="3")
    bought = await engine.trade("e-1", "2", "100")
    unpriced = await engine.get(BTC, min_position=bought["position"])
    assert [unpriced[name] for name in ("last_price", "market_value", "unrealized_pnl")] == [None, None, None]
    assert (unpriced["kind"], unpriced["settlement_currency"]) == ("SPOT", "USDT")

    priced = await engine.put(f"{AT}/prices/BTC-USDT", {"price": "90.50"})
    response = await engine.client.get(BTC, params={"min_position": priced["position"]})
    read = response.json()
    assert [read[name] for name in ("last_price", "market_value", "unrealized_pnl")] == ["90.5", "181", "-19"]
    assert int(response.headers["x-position"]) >= priced["position"]
    assert (await engine.get(f"{AT}/positions"))["positions"] == [read]
    (strategy,) = (await engine.get(f"{AT}/positions", by="strategy"))["positions"]
    assert strategy == read | {"strategy_id": "trend"}
    # Of the past, only the costs are known.
    for past in ({"as_of_position": priced["position"]}, {"as_of_business_time": "2999-01-01T00:00:00Z"}):
        assert await engine.get(BTC, **past) == unpriced


async def test_an_answer_with_prices_waits_for_them(database: str) -> None:
    settings = settings_for(database)
    async with projecting(settings):
        pass  # the read tables are there
    async with serving(settings) as engine:
        last = await engine.open()
        with psycopg.connect(settings.dsn, autocommit=True) as connection:
            for name in ("positions", "strategy_positions"):
                connection.execute(
                    "update eventstore.subscriptions set checkpoint = %s where name = %s", [last["position"], name]
                )
        for path in (f"{AT}/positions", BTC, f"{AT}/positions?by=strategy"):
            url = httpx.URL(path).copy_merge_params({"min_position": last["position"]})
            response = await engine.client.get(url)
            assert_problem(response, 504, "projection-behind", checkpoint=0)
            assert "settings" in response.json()["detail"]
        assert (await engine.client.get(f"{AT}/positions")).headers["x-position"] == "0"


async def test_business_time_shows_what_had_happened_by_then(engine: Engine) -> None:
    open_book(engine)
    first, second, third = (NOON + timedelta(hours=hour) for hour in (1, 2, 3))
    late = filled("2", "100", "e-late", transact_time=first)
    record(
        engine,
        filled("1", "110", "e-2", transact_time=second),
        late,
        filled("1", "120", "e-busted", transact_time=first),
        filled("1", "100", "e-eth", symbol="ETH-USDT", transact_time=third),
    )
    head = record(
        engine,
        busted("1", "120", "e-busted", transact_time=third),
        corrected(late, "2", "90", transact_time=third),
    )
    await engine.get(BTC, min_position=head)

    async def shown(moment: datetime) -> list[tuple[str, str, str]]:
        at = {"as_of_business_time": moment.isoformat()}
        positions = (await engine.get(f"{AT}/positions", **at))["positions"]
        for position in positions:
            assert await engine.get(f"{AT}/positions/{position['symbol']}", **at) == position
        return [(one["symbol"], one["quantity"], one["cost"]) for one in positions]

    assert await shown(first - timedelta(microseconds=1)) == []
    assert await shown(first) == [("BTC-USDT", "2", "180")]
    assert await shown(second) == [("BTC-USDT", "3", "290")]
    assert await shown(third) == [("BTC-USDT", "3", "290"), ("ETH-USDT", "1", "100")]
    early = {"as_of_business_time": NOON.isoformat()}
    assert_problem(await engine.client.get(BTC, params=early), 404, "unknown-position")

    page = await engine.get(f"{AT}/positions", as_of_business_time=third.isoformat(), limit=1)
    assert page["next"] == "BTC-USDT"
    rest = await engine.get(f"{AT}/positions", as_of_business_time=third.isoformat(), after=page["next"])
    assert [one["symbol"] for one in rest["positions"]] == ["ETH-USDT"]
    assert "next" not in rest


async def test_what_each_strategy_has_of_each_position(engine: Engine) -> None:
    open_book(engine)
    pair = "BTC/USDT"
    booked: dict[str, Any] = {"side": Side.SELL, "last_qty": Decimal(1), "last_px": Decimal(90), "transact_time": NOON}
    record(
        engine,
        filled("3", "100", "e-1", strategy_id="trend", symbol=pair),
        filled("-1", "110", "e-2", strategy_id="mean", symbol=pair),
        filled("1", "110", "e-3", strategy_id="mean"),
    )
    head = record(engine, ExecutionBooked(kind=ExecutionKind.LIQUIDATION, symbol=pair, exec_id="liq-1", **booked))
    page = await engine.get(f"{AT}/positions", by="strategy", min_position=head)
    msgspec.convert(page, StrategyPositionPage, strict=False)
    assert [(one["strategy_id"], one["symbol"], one["quantity"]) for one in page["positions"]] == [
        (None, pair, "-1"),
        ("mean", "BTC-USDT", "1"),
        ("mean", pair, "-1"),
        ("trend", pair, "3"),
    ]
    paged: list[Any] = []
    after: dict[str, str] = {}
    while True:
        one = await engine.get(f"{AT}/positions", by="strategy", limit=1, **after)
        paged += one["positions"]
        if "next" not in one:
            break
        after = {"after": one["next"]}
    assert paged == page["positions"]
    whole = await engine.get(f"{AT}/positions/BTC%2FUSDT")
    assert whole["quantity"] == "1"


async def test_a_position_from_flat_to_flat(engine: Engine) -> None:
    open_book(engine)
    head = record(
        engine,
        filled("2", "100", "e-1", fee="1", fee_currency="USDT"),
        filled("-2", "110", "e-2"),
        filled("-1", "120", "e-3"),
        filled("3", "100", "e-4", transact_time=NOON + timedelta(hours=1)),
    )
    page = await engine.get(f"{AT}/cycles", symbol="BTC-USDT", min_position=head)
    msgspec.convert(page, CyclePage, strict=False)
    assert [
        (one["cycle"], one["side"], one["opened_position"], one["closed_position"], one["realized_pnl"], one["fees"])
        for one in page["cycles"]
    ] == [
        (1, "LONG", head - 3, head - 2, "20", {"USDT": "1"}),
        (2, "SHORT", head - 1, head, "20", {}),
        (3, "LONG", head, None, "0", {}),
    ]
    first = await engine.get(f"{AT}/cycles", symbol="BTC-USDT", limit=2)
    assert (first["cycles"], first["next"]) == (page["cycles"][:2], 2)
    assert await engine.get(f"{AT}/cycles", symbol="BTC-USDT", after=2) == {"cycles": page["cycles"][2:]}
    assert await engine.get(f"{AT}/cycles", symbol="ETH/USDT") == {"cycles": []}
    assert_problem(await engine.client.get(f"{AT}/cycles"), 400, "malformed", field="symbol")


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
        ({"as_of_position": 1, "as_of_business_time": "2026-01-02T03:04:05Z"}, "as_of_position"),
        ({"as_of": "2026-01-02T03:04:05Z", "as_of_business_time": "2026-01-02T03:04:05Z"}, "as_of"),
        ({"as_of_business_time": "2026-01-02"}, "as_of_business_time"),
        ({"as_of_business_time": ""}, "as_of_business_time"),
        ({"by": "strategy"}, "by"),
        ({"as_of_position": "1.0"}, "as_of_position"),
        ({"as_of_position": -1}, "as_of_position"),
    ],
)
async def test_a_time_that_cannot_be_read(engine: Engine, parameters: dict[str, Any], field: str) -> None:
    response: httpx.Response = await engine.client.get(BTC, params=parameters)
    assert_problem(response, 400, "malformed", field=field)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"by": "strategy", "as_of_position": 1}, "by"),
        ({"by": "strategy", "as_of": "2026-01-02T03:04:05Z"}, "by"),
        ({"by": "strategy", "as_of_business_time": "2026-01-02T03:04:05Z"}, "by"),
        ({"by": "symbol"}, "by"),
        ({"by": ""}, "by"),
        ({"by": "strategy", "after": "trend"}, "after"),
        ({"by": "strategy", "after": "trend/"}, "after"),
        ({"after": ""}, "after"),
        ({"after": "a|b"}, "after"),
    ],
)
async def test_what_positions_cannot_be_asked_for(engine: Engine, parameters: dict[str, Any], field: str) -> None:
    response = await engine.client.get(f"{AT}/positions", params=parameters)
    assert_problem(response, 400, "malformed", field=field)
