"""What holds whatever is sent and whatever the market does."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldbook.market.records import Bar, Quote, Trade
from foldbook.trading.values import ZERO, ExecType, OrderType, Side, TimeInForce
from foldbook.venue.matching import Matching
from foldbook.venue.orders import Path, VenueOrder, VenueReport
from tests.venue.trading import INTERVAL, SYMBOL, buy, hold, sell, venue

ENDS = (ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED)
REFUSALS = (ExecType.CANCEL_REJECTED, ExecType.REPLACE_REJECTED, ExecType.REJECTED)
LIMITS = (OrderType.LIMIT, OrderType.STOP_LIMIT)
STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
IDS = [f"o{number}" for number in range(8)]

prices = st.integers(90, 110).map(Decimal)
sizes = st.integers(1, 9).map(Decimal)


class Cancel(NamedTuple):
    order_id: str


class Replace(NamedTuple):
    order_id: str
    quantity: Decimal | None
    limit_price: Decimal | None


class Open(NamedTuple):
    price: Decimal


Step = VenueOrder | Cancel | Replace | Open | Bar | Quote | Trade


@st.composite
def orders(draw: st.DrawFn) -> VenueOrder:
    kind = draw(st.sampled_from(OrderType))
    tif = draw(st.sampled_from(TimeInForce))
    return VenueOrder(
        order_id=draw(st.sampled_from(IDS)),
        symbol=SYMBOL,
        side=draw(st.sampled_from(Side)),
        order_type=kind,
        quantity=draw(sizes),
        limit_price=draw(prices) if kind in LIMITS else None,
        stop_price=draw(prices) if kind in STOPS else None,
        trailing_offset=draw(st.none() | sizes) if kind in STOPS else None,
        time_in_force=tif,
        expire_at_ns=draw(st.integers(1, 10)) * INTERVAL if tif is TimeInForce.GTD else None,
        reduce_only=draw(st.booleans()),
        post_only=draw(st.booleans()) if kind is OrderType.LIMIT else False,
    )


requests = (
    orders()
    | st.builds(Cancel, st.sampled_from(IDS))
    | st.builds(Replace, st.sampled_from(IDS), st.none() | sizes, st.none() | prices)
)


@st.composite
def bars(draw: st.DrawFn) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    opened, closed = draw(prices), draw(prices)
    return opened, max(opened, closed, draw(prices)), min(opened, closed, draw(prices)), closed


@st.composite
def days(draw: st.DrawFn) -> list[list[Step]]:
    """Bars, with what is sent at their opens and after their closes."""
    steps: list[list[Step]] = []
    for number in range(draw(st.integers(1, 6))):
        opened, high, low, close = draw(bars())
        at_open, after = draw(st.lists(requests, max_size=3)), draw(st.lists(requests, max_size=3))
        bar = Bar(SYMBOL, (number + 1) * INTERVAL, opened, high, low, close, None, INTERVAL)
        steps += [[Open(opened), *at_open], [bar, *after]]
    return steps


def quotes() -> st.SearchStrategy[Quote]:
    def made(bid: Decimal, spread: Decimal, bid_size: Decimal, ask_size: Decimal) -> Quote:
        return Quote(SYMBOL, 0, bid, bid + spread, bid_size, ask_size)

    return st.builds(made, prices, sizes, sizes, sizes)


trades = st.builds(Trade, st.just(SYMBOL), st.just(0), prices, sizes)


def told(matching: Matching, step: Step, now: int) -> list[VenueReport]:
    match step:
        case VenueOrder():
            return matching.submit(step, now)
        case Cancel():
            return matching.cancel(step.order_id, now)
        case Replace():
            return matching.replace(step.order_id, now, step.quantity, step.limit_price)
        case Open():
            return matching.on_open(SYMBOL, step.price, now)
        case Bar():
            return matching.on_bar(step)
        case Quote():
            return matching.on_quote(Quote(SYMBOL, now, step.bid, step.ask, step.bid_size, step.ask_size))
        case Trade():
            return matching.on_trade(Trade(SYMBOL, now, step.price, step.size))


class Witness:
    """Follows the reports, and checks each against what is known of its order."""

    def __init__(self) -> None:
        self.open: dict[str, VenueOrder] = {}
        self.limits: dict[str, Decimal | None] = {}
        self.left: dict[str, Decimal] = {}
        self.executions: set[str] = set()
        self.position = ZERO

    def see(self, step: Step, reports: list[VenueReport]) -> None:
        for report in reports:
            if report.exec_type in REFUSALS:
                continue
            if report.exec_type is ExecType.NEW:
                assert isinstance(step, VenueOrder) and step.order_id not in self.open
                self.open[step.order_id] = step
                self.limits[step.order_id], self.left[step.order_id] = step.limit_price, step.quantity
            assert report.order_id in self.open
            if report.exec_type in (ExecType.REPLACED, ExecType.RESTATED):
                self.restate(report)
            elif report.exec_type is ExecType.TRADE:
                self.trade(report)
            elif report.exec_type in ENDS:
                del self.open[report.order_id]

    def restate(self, report: VenueReport) -> None:
        order_id = report.order_id
        assert report.quantity is not None
        traded = self.open[order_id].quantity - self.left[order_id]
        self.open[order_id] = msgspec.structs.replace(self.open[order_id], quantity=report.quantity)
        self.left[order_id], self.limits[order_id] = report.quantity - traded, report.limit_price

    def trade(self, report: VenueReport) -> None:
        order, limit = self.open[report.order_id], self.limits[report.order_id]
        quantity, price = report.last_qty, report.last_px
        assert quantity is not None and quantity > ZERO and price is not None
        assert limit is None or (price <= limit if order.side is Side.BUY else price >= limit)
        assert report.exec_id is not None and report.exec_id not in self.executions
        self.executions.add(report.exec_id)
        before = self.position
        self.position += quantity if order.side is Side.BUY else -quantity
        assert not order.reduce_only or abs(self.position) == abs(before) - quantity
        self.left[report.order_id] -= quantity
        assert self.left[report.order_id] >= ZERO
        if not self.left[report.order_id]:
            del self.open[report.order_id]


@settings(deadline=None, max_examples=300)
@given(days(), st.sampled_from(Path))
def test_with_bars_a_fill_has_a_price_that_was_known_to_come(given_days: list[list[Step]], path: Path) -> None:
    matching, again, witness = venue(path), venue(path), Witness()
    for number, (first, *sent) in enumerate(given_days):
        now = (number + 1) // 2 * INTERVAL
        assert isinstance(first, Open | Bar)
        low, high = (first.low, first.high) if isinstance(first, Bar) else (first.price, first.price)
        for step in (first, *sent):
            reports = told(matching, step, now)
            assert told(again, step, now) == reports
            witness.see(step, reports)
            traded = [report.last_px for report in reports if report.last_px is not None]
            assert all(low <= price <= high for price in traded)
            # After a close nothing trades before the next open.
            assert not traded or step is first or isinstance(first, Open)


@settings(deadline=None, max_examples=300)
@given(st.lists(requests | quotes() | trades, max_size=30))
def test_with_quotes_and_trades_no_more_is_filled_than_was_shown_or_traded(steps: list[Step]) -> None:
    matching, again, witness = venue(), venue(), Witness()
    left = {Side.BUY: ZERO, Side.SELL: ZERO}
    for number, step in enumerate(steps):
        now = number // 3  # so that some orders arrive at the time of a quote
        reports = told(matching, step, now)
        assert told(again, step, now) == reports
        known = {**witness.open, step.order_id: step} if isinstance(step, VenueOrder) else dict(witness.open)
        witness.see(step, reports)
        if isinstance(step, Quote):
            assert step.bid_size is not None and step.ask_size is not None
            left = {Side.BUY: step.ask_size, Side.SELL: step.bid_size}
        traded = [(known[report.order_id].side, report.last_qty) for report in reports if report.last_qty is not None]
        if isinstance(step, Trade):
            assert step.size is not None and sum(quantity for _, quantity in traded) <= step.size
            continue
        for side, quantity in traded:
            left[side] -= quantity
        assert min(left.values()) >= ZERO


@pytest.mark.parametrize("is_long", [True, False])
@settings(deadline=None)
@given(prices_of_bar=bars(), stop=prices, target=prices)
def test_the_adverse_path_is_never_the_better_one(
    prices_of_bar: tuple[Decimal, Decimal, Decimal, Decimal], stop: Decimal, target: Decimal, *, is_long: bool
) -> None:
    exits: dict[Path, Decimal] = {}
    side = sell if is_long else buy
    for path in Path:
        matching = venue(path)
        hold(matching, "10" if is_long else "-10")
        matching.submit(side("stop", stop_price=str(stop), reduce_only=True), INTERVAL)
        matching.submit(side("target", limit_price=str(target), reduce_only=True), INTERVAL)
        reports = matching.on_bar(Bar(SYMBOL, 2 * INTERVAL, *prices_of_bar, None, INTERVAL))
        traded = [report.last_px for report in reports if report.last_px is not None]
        assert len(traded) <= 1
        exits[path] = traded[0] if traded else prices_of_bar[-1]
    worst = min(exits.values()) if is_long else max(exits.values())
    assert exits[Path.ADVERSE] == worst
