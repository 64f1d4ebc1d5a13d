"""Short ways to trade with a matching engine in a test: times are bar numbers or nanoseconds, amounts are text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from foldbook.market.records import Bar, Quote, Trade
from foldbook.trading.values import OrderType, Side, TimeInForce
from foldbook.venue.matching import Matching
from foldbook.venue.orders import Costs, Path, VenueInstrument, VenueOrder, VenueReport

SYMBOL = "X"
INTERVAL = 100
"""How long a bar lasts, in nanoseconds: bar 1 opens at 100 and closes at 200."""


def venue(path: Path = Path.ADVERSE, instrument: VenueInstrument | None = None, **costs: str) -> Matching:
    instruments = () if instrument is None else (instrument,)
    return Matching(Costs(**{name: Decimal(text) for name, text in costs.items()}), path, instruments, {SYMBOL})


def order(order_id: str, side: str, quantity: str = "10", **fields: Any) -> VenueOrder:
    """A market, limit, stop or stop-limit order: as the prices say that are given."""
    names = ("limit_price", "stop_price", "trailing_offset")
    prices: dict[str, Any] = {name: Decimal(fields.pop(name)) for name in names if name in fields}
    is_stop = "stop_price" in prices or "trailing_offset" in prices
    kind = ("STOP_LIMIT" if is_stop else "LIMIT") if "limit_price" in prices else ("STOP" if is_stop else "MARKET")
    return VenueOrder(
        order_id=order_id,
        symbol=SYMBOL,
        side=Side(side),
        order_type=OrderType(fields.pop("order_type", kind)),
        quantity=Decimal(quantity),
        time_in_force=TimeInForce(fields.pop("time_in_force", "GTC")),
        **prices,
        **fields,
    )


def buy(order_id: str, quantity: str = "10", **fields: Any) -> VenueOrder:
    return order(order_id, "BUY", quantity, **fields)


def sell(order_id: str, quantity: str = "10", **fields: Any) -> VenueOrder:
    return order(order_id, "SELL", quantity, **fields)


def bar(number: int, opened: str, high: str, low: str, close: str) -> Bar:
    return Bar(SYMBOL, (number + 1) * INTERVAL, opened, high, low, close, None, INTERVAL)


def quote(time: int, bid: str, ask: str, bid_size: str | None = None, ask_size: str | None = None) -> Quote:
    return Quote(SYMBOL, time, bid, ask, bid_size, ask_size)


def trade(time: int, price: str, size: str | None = None) -> Trade:
    return Trade(SYMBOL, time, price, size)


def told(reports: list[VenueReport]) -> list[tuple[str, ...]]:
    """What each report says: order and kind, and quantity and price of a fill."""
    return [
        (each.order_id, each.exec_type.value)
        if each.last_qty is None
        else (each.order_id, str(each.last_qty), str(each.last_px))
        for each in reports
    ]


def fills(reports: list[VenueReport]) -> list[tuple[str, ...]]:
    """Order, quantity and price of each fill."""
    return [each for each in told(reports) if len(each) > 2]


def at_close(matching: Matching, *orders: VenueOrder, close: str = "100", number: int = 0) -> None:
    """A bar has closed there, and these orders arrive: they wait for the next one."""
    matching.on_bar(bar(number, close, close, close, close))
    for each in orders:
        reports = matching.submit(each, (number + 1) * INTERVAL)
        assert told(reports) == [(each.order_id, "NEW")], reports


def hold(matching: Matching, quantity: str) -> None:
    """Buy, or sell if it is negative, at the open of a bar that closes at 100."""
    side = "SELL" if quantity.startswith("-") else "BUY"
    matching.on_open(SYMBOL, Decimal(100), 0)
    assert fills(matching.submit(order("hold", side, quantity.lstrip("-")), 0)) == [
        ("hold", quantity.lstrip("-"), "100")
    ]
    matching.on_bar(bar(0, "100", "100", "100", "100"))
