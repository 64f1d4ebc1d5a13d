"""The sample keeps its promise: the README's first order is filled in parts within seconds, whenever it is placed."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import count

import pytest

from foldbook.engine.welcome import FIRST_ORDER
from foldbook.market.feeds.replay import Pace, Replay
from foldbook.market.feeds.told import Told
from foldbook.market.files import merged, open_data
from foldbook.market.records import Datum, Quote, Trade
from foldbook.market.sample import FILES, SYMBOLS
from foldbook.market.sample.make import texts
from foldbook.trading.values import ExecType, OrderType, Side, TimeInForce
from foldbook.venue.matching import Matching
from foldbook.venue.orders import Costs, VenueOrder, VenueReport
from tests.market.feeding import FakeClock, S

PATIENCE_S = 5
SYMBOL = "BTCUSDT"


def first_order() -> VenueOrder:
    """The order of the README, as its text says."""
    found = re.search(r"orders -d '(\{.*?\})'", FIRST_ORDER.read_text(), re.DOTALL)
    assert found is not None
    said = json.loads(found[1])
    return VenueOrder(
        order_id=said["order_id"],
        symbol=said["symbol"],
        side=Side(said["side"]),
        order_type=OrderType(said["order_type"]),
        quantity=Decimal(said["quantity"]),
        limit_price=Decimal(said["limit_price"]),
        time_in_force=TimeInForce(said["time_in_force"]),
    )


def files() -> list[list[Datum]]:
    return [list(open_data(path)) for path in FILES]


async def two_laps() -> list[Datum]:
    """As they are replayed."""
    data = files()
    length = sum(map(len, data))
    laps: list[Datum] = []
    async for told in Replay(lambda: data, Pace(loops=True), FakeClock()).stream():
        assert isinstance(told, Quote | Trade)
        laps.append(told)
        if len(laps) == 2 * length:
            return laps
    raise AssertionError("a loop has no end")


def tell(venue: Matching, told: Told) -> Sequence[VenueReport]:
    return venue.on_quote(told) if isinstance(told, Quote) else venue.on_trade(told)  # type: ignore[arg-type]


async def test_the_first_order_is_filled_in_parts_within_seconds_at_any_moment() -> None:
    order, laps = first_order(), await two_laps()
    for placed in range(len(laps) // 2):
        venue = Matching(Costs())
        for datum in laps[max(placed - 5, 0) : placed + 1]:
            tell(venue, datum)
        placed_ns = laps[placed].time_ns + 1
        reports = list(venue.submit(order, placed_ns))
        assert reports[0].exec_type is ExecType.NEW
        for place in count(placed + 1):
            fills = [report for report in reports if report.exec_type is ExecType.TRADE]
            if sum(fill.last_qty or 0 for fill in fills) == order.quantity:
                break
            reports += tell(venue, laps[place])
        assert len(fills) >= 3
        assert all((fill.last_qty or 0) < order.quantity / 2 for fill in fills)
        assert fills[-1].time_ns - placed_ns <= PATIENCE_S * S


def test_it_is_small_has_two_symbols_and_trades_and_nothing_odd_in_it() -> None:
    opened = [open_data(path) for path in FILES]
    data = list(merged(opened))
    assert {datum.symbol for datum in data} == set(SYMBOLS)
    assert {type(datum) for datum in data} == {Quote, Trade}
    assert len(data) <= 1_500
    assert [file.bad_rows for file in opened] == [0, 0]
    assert all(
        quote.bid < quote.ask and quote.bid_size and quote.ask_size for quote in data if isinstance(quote, Quote)
    )
    assert sum(path.stat().st_size for path in FILES) < 20_000


@pytest.mark.parametrize(("path", "text"), list(zip(FILES, texts(), strict=True)), ids=lambda value: str(value)[-25:])
def test_the_program_in_the_repository_makes_it(path: object, text: str) -> None:
    with gzip.open(str(path), "rt") as file:
        assert file.read() == text
