"""Lots and the ledger over HTTP."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from foldbook.api.queries.documents import BalancePage, LedgerPage, LotPage
from foldbook.trading.events import AccountAdjusted
from foldbook.trading.values import AdjustmentKind
from tests.api.conftest import AT, Engine, assert_problem
from tests.api.test_positions import open_book, record
from tests.trading.executions import NOON, busted, filled

PAIR = "BTC/USDT"


async def every_page(engine: Engine, path: str, name: str, **parameters: Any) -> list[Any]:
    """The items of all pages, which have one item each."""
    items: list[Any] = []
    after: dict[str, Any] = {}
    while True:
        page = await engine.get(path, limit=1, **parameters, **after)
        items += page[name]
        if "next" not in page:
            return items
        after = {"after": page["next"]}


async def test_lots_are_listed_by_symbol_the_oldest_first(engine: Engine) -> None:
    open_book(engine)
    last = record(
        engine,
        filled("2", "100", "e-1", symbol=PAIR),
        filled("1", "110", "e-2", symbol=PAIR, gross_amount=Decimal("110.01")),
        filled("-2.5", "120", "e-3", symbol=PAIR, transact_time=NOON + timedelta(hours=1)),
        filled("-1", "7", "e-4", symbol="ES=F", base_currency=None, quote_currency=None, multiplier="50"),
    )
    page = await engine.get(f"{AT}/lots", min_position=last)
    msgspec.convert(page, LotPage, strict=False)
    assert [
        (
            lot["symbol"],
            lot["exec_id"],
            lot["quantity"],
            lot["remaining"],
            lot["unit_cost"],
            lot["cost"],
            lot["is_open"],
        )
        for lot in page["lots"]
    ] == [
        (PAIR, "e-1", "2", "0", "100", "0", False),
        (PAIR, "e-2", "1", "0.5", "110.01", "55.005", True),
        ("ES=F", "e-4", "-1", "-1", "350", "-350", True),
    ]
    closed, half, short = page["lots"]
    assert (closed["realized_pnl"], closed["closed_position"]) == ("40", last - 1)
    assert closed["closed_at"] == "2026-01-02T13:00:00.000000Z"
    assert (half["price"], half["realized_pnl"], half["closed_at"]) == ("110", "4.995", None)

    assert (await engine.get(f"{AT}/lots", status="open"))["lots"] == [half, short]
    assert (await engine.get(f"{AT}/lots", status="closed"))["lots"] == [closed]
    assert (await engine.get(f"{AT}/lots", status="open,closed"))["lots"] == page["lots"]
    assert (await engine.get(f"{AT}/lots", symbol=PAIR))["lots"] == [closed, half]
    assert (await engine.get(f"{AT}/lots", symbol=PAIR, status="open"))["lots"] == [half]
    assert (await engine.get(f"{AT}/lots", symbol="NONE"))["lots"] == []
    assert await every_page(engine, f"{AT}/lots", "lots") == page["lots"]
    assert await every_page(engine, f"{AT}/lots", "lots", status="open") == [half, short]
    first = await engine.get(f"{AT}/lots", limit=1)
    assert first["next"] == f"{PAIR}|{last - 3}|0"


async def test_the_ledger_is_listed_with_the_events_behind_it(engine: Engine) -> None:
    open_book(engine)
    fill = filled("2", "100", "e-1", symbol=PAIR, fee="0.1", fee_currency="BNB")
    last = record(
        engine,
        fill,
        filled("1", "7", "e-2", symbol="ES=F", base_currency=None, quote_currency=None, multiplier="50"),
        AccountAdjusted(
            kind=AdjustmentKind.TRANSFER, reference="wire-7", currency="USDT", amount=Decimal(500), transact_time=NOON
        ),
        busted("2", "100", "e-1", symbol=PAIR, fee="0.1", fee_currency="BNB"),
    )
    page = await engine.get(f"{AT}/ledger", min_position=last)
    msgspec.convert(page, LedgerPage, strict=False)
    moved = [
        (entry["log_position"] - last, entry["entry"], entry["type"], entry["currency"], given(entry["amounts"]))
        for entry in page["entries"]
    ]
    assert moved == [
        (-3, 1, "OrderFilled", "BTC", {"position": "2", "exchange": "-2"}),
        (-3, 2, "OrderFilled", "USDT", {"cash": "-200", "exchange": "200"}),
        (-3, 3, "OrderFilled", "BNB", {"cash": "-0.1", "fees": "0.1"}),
        (-2, 1, "OrderFilled", "ES=F", {"position": "1", "exchange": "-1"}),
        (-2, 2, "OrderFilled", "ES=F|quote", {"cash": "-350", "exchange": "350"}),
        (-1, 1, "AccountAdjusted", "USDT", {"cash": "500", "capital": "-500"}),
        (0, 1, "FillBusted", "BTC", {"position": "-2", "exchange": "2"}),
        (0, 2, "FillBusted", "USDT", {"cash": "200", "exchange": "-200"}),
        (0, 3, "FillBusted", "BNB", {"cash": "0.1", "fees": "-0.1"}),
    ]
    assert [(e["kind"], e["reference"]) for e in page["entries"] if e["type"] == "AccountAdjusted"] == [
        ("TRANSFER", "wire-7")
    ]
    assert (page["entries"][0]["symbol"], page["entries"][0]["exec_id"]) == (PAIR, "e-1")
    assert await every_page(engine, f"{AT}/ledger", "entries") == page["entries"]
    of_one = (await engine.get(f"{AT}/ledger", currency="ES=F|quote"))["entries"]
    assert of_one == [page["entries"][4]]
    assert await every_page(engine, f"{AT}/ledger", "entries", currency="USDT") == [
        entry for entry in page["entries"] if entry["currency"] == "USDT"
    ]

    balances = await engine.get(f"{AT}/ledger/balances")
    msgspec.convert(balances, BalancePage, strict=False)
    assert [(one["currency"], given(one["amounts"])) for one in balances["balances"]] == [
        ("BNB", {}),
        ("BTC", {}),
        ("ES=F", {"position": "1", "exchange": "-1"}),
        ("ES=F|quote", {"cash": "-350", "exchange": "350"}),
        ("USDT", {"cash": "500", "capital": "-500"}),
    ]
    assert await every_page(engine, f"{AT}/ledger/balances", "balances") == balances["balances"]


def given(amounts: dict[str, str]) -> dict[str, str]:
    assert sum(map(Decimal, amounts.values())) == 0
    return {name: amount for name, amount in amounts.items() if amount != "0"}


async def test_what_is_not_there(engine: Engine) -> None:
    head = open_book(engine)
    assert await engine.get(f"{AT}/lots", min_position=head) == {"lots": []}
    assert await engine.get(f"{AT}/ledger", min_position=head) == {"entries": []}
    assert await engine.get(f"{AT}/ledger/balances", min_position=head) == {"balances": []}
    for path in ("lots", "ledger", "ledger/balances", "cycles?symbol=X"):
        response = await engine.client.get(f"/accounts/nobody/binance/simulated/{path}")
        assert_problem(response, 404, "unknown-account")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("lots?symbol=a|b", "symbol"),
        ("lots?status=half", "status"),
        ("lots?status=", "status"),
        ("lots?after=BTC-USDT", "after"),
        ("lots?after=BTC-USDT|1|x", "after"),
        ("lots?after=|1|0", "after"),
        ("lots?after=A|99999999999999999999|0", "after"),
        ("ledger?currency=a|b", "currency"),
        ("ledger?currency=%00", "currency"),
        ("ledger?after=7", "after"),
        ("ledger?after=7:99999", "after"),
        ("ledger/balances?after=%00", "after"),
        ("ledger/balances?limit=0", "limit"),
        ("ledger/balances?currency=USDT", "currency"),
        ("cycles?symbol=", "symbol"),
        ("cycles?symbol=X&after=-1", "after"),
    ],
)
async def test_a_parameter_that_cannot_be_read(engine: Engine, path: str, field: str) -> None:
    assert_problem(await engine.client.get(f"{AT}/{path}"), 400, "malformed", field=field)
