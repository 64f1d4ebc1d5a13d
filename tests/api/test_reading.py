"""Read your own writes, positions, fills, the log."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from foldbook.api.queries.documents import Account, Book, EventPage, FillPage, History, Order, OrderPage
from foldbook.config import Settings
from foldbook.postgres.migrations import migrate
from foldbook.resources import projection_files
from foldbook.trading.values import InstrumentKind
from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem, projecting, serving, settings_for, until
from tests.api.test_positions import open_book, record
from tests.trading.executions import filled

OTHER = "bob/kraken/backtest"


@pytest.mark.parametrize("path", [AT, f"{AT}/book", f"{AT}/orders", f"{AT}/orders/o-1", f"/fills?account={ACCOUNT}"])
async def test_a_query_waits_for_its_position_2_seconds_at_most(database: str, path: str) -> None:
    """Without a projector at first, so that nothing can be read by chance."""
    settings = settings_for(database)
    async with projecting(settings):
        pass  # the read tables are there
    async with serving(settings) as engine:
        await engine.open()
        position = (await engine.place())["position"]
        late = await engine.client.get(httpx.URL(path).copy_merge_params({"min_position": position}))
        assert_problem(late, 504, "projection-behind", min_position=position, checkpoint=0)

        waiting = asyncio.create_task(engine.client.get(httpx.URL(path).copy_merge_params({"min_position": position})))
        async with projecting(settings):
            response = await waiting
        assert response.status_code == 200
        assert int(response.headers["x-position"]) >= position


async def test_every_write_is_read_back_at_once(engine: Engine) -> None:
    await engine.open()

    async def write_and_read(n: int) -> None:
        position = (await engine.place(f"o-{n}"))["position"]
        for path in (
            f"{AT}/orders/o-{n}",
            f"{AT}/orders/o-{n}/history",
            f"{AT}/orders?limit=1000",
            f"{AT}/book?limit=1000",
        ):
            response = await engine.client.get(httpx.URL(path).copy_merge_params({"min_position": position}))
            assert f'"o-{n}"' in response.text
            assert int(response.headers["x-position"]) >= position

    await asyncio.gather(*(write_and_read(n) for n in range(20)))


async def test_a_position_that_never_comes_is_reported(engine: Engine) -> None:
    position = (await engine.open())["position"]
    for path in (AT, "/events", f"{AT}/orders/o-1/history"):
        response = await engine.client.get(path, params={"min_position": position + 1000})
        assert_problem(response, 504, "projection-behind", min_position=position + 1000, checkpoint=position)


async def test_a_position_never_claims_more_than_the_rows_show(engine: Engine) -> None:
    """While orders pour in: order n has position n + 1, and whatever the answer's position covers is in the answer."""
    await engine.open()
    pouring = asyncio.create_task(_pour(engine, 100))
    shown = 0
    while not pouring.done():
        response = await engine.client.get(f"{AT}/orders", params={"limit": 1000})
        shown = len(response.json()["orders"])
        assert shown == max(0, int(response.headers["x-position"]) - 1)
    await pouring
    assert shown > 0


async def _pour(engine: Engine, count: int) -> None:
    for n in range(count):
        await engine.place(f"o-{n}")


async def _trade_a_lot(engine: Engine) -> int:
    """Three strategies and symbols on two accounts; the position of the last fill."""
    for account in (ACCOUNT, OTHER):
        await engine.open(account)
    for n, (account, strategy, symbol, side) in enumerate(
        [
            (ACCOUNT, "mean", "BTC-USDT", "BUY"),
            (ACCOUNT, "mean", "ETH-USDT", "SELL"),
            (ACCOUNT, "trend", "BTC-USDT", "SELL"),
            (OTHER, "trend", "BTC-USDT", "BUY"),
        ]
    ):
        await engine.place(f"o-{n}", account, strategy_id=strategy, symbol=symbol, side=side)
        fee = {"fee": "0.10", "fee_currency": "USDT"} if n % 2 else {"fee": "-0.001", "fee_currency": "BNB"}
        for part in ("1", "0.5"):
            last = await engine.trade(f"e-{part}", part, "10.10", f"o-{n}", account=account, **fee)
    return int(last["position"])


async def test_fills_by_account_strategy_and_symbol(engine: Engine) -> None:
    last = await _trade_a_lot(engine)

    async def fills(**parameters: Any) -> list[tuple[str, str]]:
        found = await engine.get("/fills", min_position=last, **parameters)
        return [(fill["order_id"], fill["last_qty"]) for fill in found["fills"]]

    assert await fills() == [(f"o-{n}", part) for n in range(4) for part in ("1", "0.5")]
    assert await fills(account=OTHER) == [("o-3", "1"), ("o-3", "0.5")]
    assert await fills(strategy="trend") == [("o-2", "1"), ("o-2", "0.5"), ("o-3", "1"), ("o-3", "0.5")]
    assert await fills(strategy="trend", account=ACCOUNT) == [("o-2", "1"), ("o-2", "0.5")]
    assert await fills(symbol="ETH-USDT", strategy="mean") == [("o-1", "1"), ("o-1", "0.5")]
    assert await fills(symbol="ETH-USDT", strategy="trend") == []

    first = await engine.get("/fills", limit=5)
    rest = await engine.get("/fills", limit=5, after=first["next"])
    assert [len(first["fills"]), len(rest["fills"])] == [5, 3]
    assert "next" not in rest
    assert len({(fill["shard"], fill["position"]) for fill in first["fills"] + rest["fills"]}) == 8


async def test_totals_of_fills(engine: Engine) -> None:
    last = await _trade_a_lot(engine)
    usdt = {"currency": "USDT"}
    total = {"bought_qty": "0", "bought_cost": "0", "sold_qty": "0", "sold_cost": "0"}
    bought = {**total, "bought_qty": "1.5", "bought_cost": "15.15"}
    sold = {**total, "sold_qty": "1.5", "sold_cost": "15.15"}
    by_both = [
        {"strategy_id": "mean", "symbol": "BTC-USDT", **usdt, "fill_count": 2, **bought, "fees": {"BNB": "-0.002"}},
        {"strategy_id": "mean", "symbol": "ETH-USDT", **usdt, "fill_count": 2, **sold, "fees": {"USDT": "0.2"}},
        {
            "strategy_id": "trend",
            "symbol": "BTC-USDT",
            **usdt,
            "fill_count": 4,
            **bought,
            **{name: amount for name, amount in sold.items() if name.startswith("sold")},
            "fees": {"BNB": "-0.002", "USDT": "0.2"},
        },
    ]
    assert (await engine.get("/fills", group_by="strategy,symbol", min_position=last))["totals"] == by_both
    by_symbol = (await engine.get("/fills", group_by="symbol"))["totals"]
    assert [(t["strategy_id"], t["symbol"], t["fill_count"]) for t in by_symbol] == [
        (None, "BTC-USDT", 6),
        (None, "ETH-USDT", 2),
    ]
    by_strategy = (await engine.get("/fills", group_by="strategy", symbol="BTC-USDT"))["totals"]
    assert [(t["strategy_id"], t["symbol"], t["fill_count"]) for t in by_strategy] == [
        ("mean", None, 2),
        ("trend", None, 4),
    ]

    paged = []
    after = None
    while True:
        page = await engine.get("/fills", group_by="strategy,symbol", limit=1, **({"after": after} if after else {}))
        paged += page["totals"]
        if (after := page.get("next")) is None:
            break
    assert paged == by_both


async def test_totals_are_of_one_currency_each(engine: Engine) -> None:
    open_book(engine)
    inverse = {"instrument_kind": InstrumentKind.INVERSE, "multiplier": "100"}
    last = record(
        engine,
        filled("1", "100", "e-1", symbol="BTC/USDT"),
        filled("2", "50", "e-2", symbol="XBT/USD:BTC", quote_currency="USD", **inverse),
        filled("3", "10", "e-3", symbol="ES=F", base_currency=None, quote_currency=None),
        filled("4", "10", "e-4", symbol="BTC/USDT", gross_amount=Decimal("40.01")),
    )
    whole = (await engine.get("/fills", group_by="strategy", min_position=last))["totals"]
    assert [(one["strategy_id"], one["currency"], one["bought_cost"]) for one in whole] == [
        ("trend", None, "30"),
        ("trend", "BTC", "4"),
        ("trend", "USDT", "140.01"),
    ]
    for group_by in ("strategy", "symbol", "strategy,symbol"):
        totals = (await engine.get("/fills", group_by=group_by))["totals"]
        assert len(totals) == 3
        paged = []
        after: dict[str, str] = {}
        while True:
            page = await engine.get("/fills", group_by=group_by, limit=1, **after)
            paged += page["totals"]
            if "next" not in page:
                break
            after = {"after": page["next"]}
        assert paged == totals


async def test_the_log_ascends_from_the_first_to_the_last_event(engine: Engine) -> None:
    last = await _trade_a_lot(engine)
    response = await engine.client.get("/events", params={"min_position": last})
    assert response.headers["x-position"] == str(last)
    everything = response.json()
    assert everything["head"] == last
    assert [event["position"] for event in everything["events"]] == list(range(1, last + 1))
    assert "next" not in everything

    pages: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = await engine.get("/events", after=after, limit=5)
        pages += page["events"]
        after = page.get("next")
    assert pages == everything["events"]

    async def positions(**parameters: Any) -> list[int]:
        return [event["position"] for event in (await engine.get("/events", **parameters))["events"]]

    def where(name: str, value: str) -> list[int]:
        return [event["position"] for event in everything["events"] if event[name] == value]

    assert await positions(type="OrderFilled") == where("type", "OrderFilled") != []
    assert (
        await positions(aggregate_type="order_book")
        == where("aggregate_type", "order_book")
        == list(range(1, last + 1))
    )
    assert (
        await positions(aggregate_type="access") == await positions(aggregate_type="access", aggregate_id=OTHER) == []
    )
    assert await positions(aggregate_type="order_book", aggregate_id=OTHER) == where("aggregate_id", OTHER)
    assert await positions(aggregate_id=OTHER) == where("aggregate_id", OTHER) != []
    assert await positions(subject="o-2") == where("subject", "o-2") != []
    assert await positions(subject="o-2", type="OrderFilled", after=where("subject", "o-2")[1], limit=1) == [
        where("subject", "o-2")[2]
    ]
    assert await positions(type="KeyIssued") == []


async def test_a_search_by_type_ends_early_and_goes_on_with_next(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            """
            insert into eventstore.events (
                shard, position, aggregate_type, aggregate_id, sequence, type, schema_version, subject, command_id,
                payload, metadata, occurred_at, recorded_at, hash
            )
            select
                0, n, 'thing', 'a', n, case when n = 150000 then 'OrderFilled' else 'OrderCreated' end, 1, null,
                gen_random_uuid(),
                '{}', '{}', now(), now(), ''
            from generate_series(1, 150000) n
            """
        )
        connection.execute("insert into eventstore.commits values (0, 1, 1, 150000, now(), '', '')")
    async with serving(settings_for(database)) as engine:

        async def page(**asked: object) -> dict[str, Any]:
            found = await engine.get("/events", **asked)
            del found["sealed"]
            return found

        assert await page(type="OrderFilled") == {"head": 150_000, "events": [], "next": 100_000}
        rest = await engine.get("/events", type="OrderFilled", after=100_000)
        assert [event["position"] for event in rest["events"]] == [150_000]
        assert "next" not in rest
        assert await page(type="OrderExpired", after=50_000) == {"head": 150_000, "events": []}
        assert (await engine.get("/events", type="OrderCreated", limit=1))["next"] == 1
        # The events of one aggregate are searched in the same way, and those of another are not counted.
        of_one = await page(type="OrderFilled", aggregate_id="a")
        assert of_one == {"head": 150_000, "events": [], "next": 100_000}
        assert await page(type="OrderFilled", aggregate_id="b") == {"head": 150_000, "events": []}
        of_type = await page(aggregate_type="order_book")
        assert of_type == {"head": 150_000, "events": [], "next": 100_000}


async def test_answers_are_what_the_interface_says_they_are(engine: Engine) -> None:
    last = await _trade_a_lot(engine)
    for path, document in (
        (AT, Account),
        (f"{AT}/book", Book),
        (f"{AT}/book?limit=1", Book),
        (f"{AT}/orders", OrderPage),
        (f"{AT}/orders?limit=1", OrderPage),
        (f"{AT}/orders/o-1", Order),
        (f"{AT}/orders/o-1/history", History),
        (f"{AT}/orders/o-1/history?limit=1", History),
        ("/fills", FillPage),
        ("/fills?limit=1", FillPage),
        ("/fills?group_by=symbol", FillPage),
        ("/events", EventPage),
        ("/events?limit=1", EventPage),
    ):
        response = await engine.client.get(httpx.URL(path).copy_merge_params({"min_position": last}))
        assert response.status_code == 200, path
        msgspec.json.decode(response.content, type=document)
        fields = set(response.json())
        assert fields <= set(document.__struct_fields__), path


async def test_several_shards_read_as_one(empty_database: str) -> None:
    migrate(empty_database, shard_count=3)
    settings = Settings(database_url=settings_for(empty_database).database_url, shards=3)
    async with projecting(settings), serving(settings) as engine:
        accounts = [f"u{n}/binance/live" for n in range(9)]
        shards = set()
        for account in accounts:
            shards.add((await engine.open(account))["shard"])
            await engine.place(account=account)
            filled = await engine.trade("e-1", "1", "10", account=account)
            order = await engine.get(f"/accounts/{account}/orders/o-1", min_position=filled["position"])
            assert order["cum_qty"] == "1"
            own = await engine.get("/fills", account=account, min_position=filled["position"])
            assert len(own["fills"]) == 1
        assert shards == {0, 1, 2}

        async def are_all_shown() -> bool:
            return len((await engine.get("/fills"))["fills"]) == 9

        await until(are_all_shown)
        first = await engine.get("/fills", limit=4)
        rest = await engine.get("/fills", limit=1000, after=first["next"])
        assert [fill["account"] for fill in first["fills"] + rest["fills"]] != []
        assert {fill["account"] for fill in first["fills"] + rest["fills"]} == set(accounts)
        assert (await engine.get("/fills", group_by="symbol"))["totals"][0]["fill_count"] == 9
        response: httpx.Response = await engine.client.get("/fills", params={"min_position": 1})
        assert_problem(response, 400, "malformed", field="min_position")
        for shard in range(3):
            log = await engine.get("/events", shard=shard)
            assert [event["position"] for event in log["events"]] == list(range(1, log["head"] + 1))
        projections = (await engine.get("/admin/projections"))["projections"]
        assert {p["name"]: (p["head"], len(p["shards"])) for p in projections} == dict.fromkeys(
            (path.stem for path in projection_files()), (27, 3)
        )
