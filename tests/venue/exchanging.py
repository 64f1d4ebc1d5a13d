"""Short ways to trade at an exchange of many accounts in a test, and random messages for one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from foldbook.trading.values import OrderType, Side, TimeInForce
from foldbook.venue.exchange import Exchange
from foldbook.venue.messages import (
    AnyMessage,
    BarTold,
    Bust,
    Cancel,
    Charge,
    CloseSession,
    Configure,
    Correct,
    Datum,
    Expire,
    Fund,
    InstrumentTold,
    Liquidate,
    OpenSession,
    OpenTold,
    QuoteTold,
    RefuseLate,
    Replace,
    Submit,
    TradeTold,
)
from foldbook.venue.orders import Costs
from foldbook.venue.records import Answer

SYMBOL = "X"


def submit(account: str, order_id: str, side: str, quantity: str = "10", *, at: int = 1, **fields: Any) -> Submit:
    """An order, limit or stop as the prices say that are given."""
    prices: dict[str, Any] = {
        name: Decimal(fields.pop(name)) for name in ("limit_price", "stop_price") if name in fields
    }
    kind = ("STOP_LIMIT" if "stop_price" in prices else "LIMIT") if "limit_price" in prices else (
        "STOP" if "stop_price" in prices else "MARKET"
    )  # fmt: skip
    return Submit(
        time_ns=at,
        account=account,
        client_order_id=order_id,
        symbol=fields.pop("symbol", SYMBOL),
        side=Side(side),
        order_type=OrderType(kind),
        quantity=Decimal(quantity),
        time_in_force=TimeInForce(fields.pop("time_in_force", "GTC")),
        **prices,
        **fields,
    )


def quote(at: int, bid: str, ask: str, bid_size: str | None = None, ask_size: str | None = None) -> QuoteTold:
    sizes = [None if size is None else Decimal(size) for size in (bid_size, ask_size)]
    return QuoteTold(at, SYMBOL, Decimal(bid), Decimal(ask), *sizes)


def trade(at: int, price: str, size: str | None = None) -> TradeTold:
    return TradeTold(at, SYMBOL, Decimal(price), None if size is None else Decimal(size))


def told(answer: Answer) -> list[tuple[str, ...]]:
    """What each report says: account and order, and what happened; of a fill, quantity and price."""
    said: list[tuple[str, ...]] = []
    for report in answer.reports:
        who = (report.account, report.client_order_id or "-")
        if report.last_qty is not None:
            said.append((*who, str(report.last_qty), str(report.last_px)))
        else:
            said.append((*who, report.exec_type.value if report.exec_type is not None else report.kind.value))
    return said


def fills(answer: Answer) -> list[tuple[str, ...]]:
    return [each for each in told(answer) if len(each) == 4]


def exchange(*given: AnyMessage, **costs: str) -> Exchange:
    made = Exchange(Costs(**{name: Decimal(text) for name, text in costs.items()}))
    for message in given:
        made.apply(message)
    return made


# -- anything that may be told -----------------------------------------------------------------------------------------

ACCOUNTS = ("a", "b", "c")
ORDER_IDS = tuple(f"o{number}" for number in range(6))
SYMBOLS = ("X", "Y")
prices = st.integers(95, 105).map(Decimal)
sizes = st.integers(1, 9).map(Decimal)
accounts = st.sampled_from(ACCOUNTS)
order_ids = st.sampled_from(ORDER_IDS)
symbols = st.sampled_from(SYMBOLS)
_NOW = 0
"""The time of a message is set when all are known: it rises."""


@st.composite
def submits(draw: st.DrawFn, *, whose: st.SearchStrategy[str] = accounts) -> Submit:
    kind = draw(st.sampled_from(OrderType))
    tif = draw(st.sampled_from(TimeInForce))
    return Submit(
        time_ns=_NOW,
        account=draw(whose),
        client_order_id=draw(order_ids),
        symbol=draw(symbols),
        side=draw(st.sampled_from(Side)),
        order_type=kind,
        quantity=draw(sizes),
        limit_price=draw(prices) if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
        stop_price=draw(prices) if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
        time_in_force=tif,
        expire_at_ns=draw(st.integers(1, 60)) if tif is TimeInForce.GTD else None,
        post_only=draw(st.booleans()) if kind is OrderType.LIMIT else False,
        reduce_only=draw(st.booleans()),
        trailing_offset=draw(st.none() | sizes) if kind is OrderType.STOP else None,
        is_deduplicated=draw(st.booleans()),
        is_refused_late=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def bars(draw: st.DrawFn) -> BarTold:
    opened, closed = draw(prices), draw(prices)
    high, low = max(opened, closed, draw(prices)), min(opened, closed, draw(prices))
    return BarTold(_NOW, draw(symbols), opened, high, low, closed, None, draw(st.integers(0, 5)))


@st.composite
def quotes(draw: st.DrawFn) -> QuoteTold:
    bid = draw(prices)
    return QuoteTold(_NOW, draw(symbols), bid, bid + draw(st.integers(0, 3)), draw(st.none() | sizes), draw(sizes))


def market_data() -> st.SearchStrategy[Datum]:
    opens = st.builds(OpenTold, st.just(_NOW), symbols, prices)
    return quotes() | opens | st.builds(TradeTold, st.just(_NOW), symbols, prices, st.none() | sizes) | bars()


def anything() -> st.SearchStrategy[AnyMessage]:
    now = st.just(_NOW)
    exec_ids = st.integers(1, 20).map(lambda number: f"x{number}")
    return st.one_of(
        submits(),
        submits(),
        market_data(),
        market_data(),
        st.builds(Cancel, now, accounts, order_ids, st.none() | st.just("r")),
        st.builds(Replace, now, accounts, order_ids, st.just("r"), st.none() | sizes, st.none() | prices,
                  st.none() | prices, st.booleans()),
        st.builds(RefuseLate, now, st.integers(1, 20).map(lambda number: f"v{number}")),
        st.builds(Expire, now),
        st.builds(CloseSession, now) | st.builds(OpenSession, now),
        st.builds(Liquidate, now, accounts, symbols, st.none() | sizes),
        st.builds(Fund, now, accounts, symbols, st.just("USD"), prices),
        st.builds(Charge, now, accounts, st.just("USD"), sizes),
        st.builds(Bust, now, accounts, exec_ids),
        st.builds(Correct, now, accounts, exec_ids, st.none() | sizes, st.none() | prices),
        st.builds(InstrumentTold, now, symbols, st.none() | st.just(Decimal(2))),
        st.builds(Configure, now, st.builds(Costs, taker=st.sampled_from([Decimal(0), Decimal("0.001")]))),
    )  # fmt: skip


def timed(told_messages: list[Any]) -> list[Any]:
    """The messages one after the other; some come at the same moment."""
    return [
        msgspec.structs.replace(message, time_ns=number * 2 // 3 + 1) for number, message in enumerate(told_messages)
    ]
