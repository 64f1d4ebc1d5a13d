"""Orders of different accounts meet: by price, then by time, and never worse than the market."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldbook.market.records import Bar, Quote, Trade
from foldbook.trading.values import ZERO, Side
from foldbook.venue.exchange import Exchange
from foldbook.venue.matching import Matching
from foldbook.venue.messages import BarTold, Cancel, OpenTold, QuoteTold, Replace, Submit, TradeTold
from foldbook.venue.orders import Costs, VenueOrder, VenueReport
from foldbook.venue.records import Kind
from tests.venue.exchanging import (
    ACCOUNTS,
    anything,
    exchange,
    fills,
    market_data,
    order_ids,
    prices,
    quote,
    sizes,
    submit,
    submits,
    timed,
    told,
    trade,
)

BUY_AND_SELL = pytest.mark.parametrize("side", Side)


def bar(at: int, price: str, interval_ns: int) -> BarTold:
    return BarTold(at, "X", Decimal(price), Decimal(price), Decimal(price), Decimal(price), None, interval_ns)


def other(side: Side) -> str:
    return "SELL" if side is Side.BUY else "BUY"


@BUY_AND_SELL
def test_two_accounts_trade_at_the_price_of_the_one_that_was_there(side: Side) -> None:
    venue = exchange(submit("a", "o", other(side), "4", limit_price="100"), maker="0.01", taker="0.02")
    limit = "103" if side is Side.BUY else "97"
    answer = venue.apply(submit("b", "o", side, "10", limit_price=limit))
    assert told(answer) == [("b", "o", "NEW"), ("a", "o", "4", "100"), ("b", "o", "4", "100")]
    assert [fill.fee for fill in venue.fills] == [Decimal(4), Decimal(8)]
    assert len({fill.exec_id for fill in venue.fills}) == 2
    # The rest is there for the next one.
    assert fills(venue.apply(submit("a", "p", other(side), "9", limit_price="100"))) == [
        ("b", "o", "6", limit),
        ("a", "p", "6", limit),
    ]


def test_the_best_price_goes_first_and_then_the_earliest() -> None:
    venue = exchange(
        submit("a", "o", "SELL", "2", limit_price="101"),
        submit("b", "o", "SELL", "2", limit_price="100"),
        submit("c", "o", "SELL", "2", limit_price="100"),
    )
    answer = venue.apply(submit("d", "o", "BUY", "5", limit_price="101"))
    assert [each for each in fills(answer) if each[0] != "d"] == [
        ("b", "o", "2", "100"), ("c", "o", "2", "100"), ("a", "o", "1", "101"),
    ]  # fmt: skip


def test_who_changes_the_price_goes_behind() -> None:
    venue = exchange(
        submit("a", "o", "SELL", "2", limit_price="100"),
        submit("b", "o", "SELL", "2", limit_price="100"),
        Replace(2, "a", "o", None, limit_price=Decimal(101)),
        Replace(3, "a", "o", None, limit_price=Decimal(100)),
        Replace(3, "b", "o", None, quantity=Decimal(1)),
    )
    answer = venue.apply(submit("c", "o", "BUY", "2", limit_price="100"))
    assert [each for each in fills(answer) if each[0] != "c"] == [("b", "o", "1", "100"), ("a", "o", "1", "100")]


def test_orders_of_one_account_do_not_meet() -> None:
    venue = exchange(submit("a", "o", "SELL", limit_price="100"), submit("b", "o", "SELL", "3", limit_price="101"))
    answer = venue.apply(submit("a", "p", "BUY", limit_price="105"))
    assert fills(answer) == [("b", "o", "3", "101"), ("a", "p", "3", "101")]


def test_the_quote_and_other_accounts_by_price() -> None:
    venue = exchange(
        submit("a", "o", "SELL", "2", limit_price="100"),
        submit("a", "p", "SELL", "2", limit_price="102"),
        quote(1, "98", "101", "5", "3"),
    )
    answer = venue.apply(submit("b", "o", "BUY", "10", at=1, limit_price="105"))
    assert [each for each in fills(answer) if each[0] == "b"] == [
        ("b", "o", "2", "100"), ("b", "o", "3", "101"), ("b", "o", "2", "102"),
    ]  # fmt: skip


def test_an_order_that_far_from_the_market_attracts_nobody() -> None:
    venue = exchange(quote(1, "99", "101"), submit("a", "profit", "SELL", at=2, limit_price="150"))
    # The quote is older than the order: it waits for the next one.
    assert told(venue.apply(submit("b", "o", "BUY", at=3))) == [("b", "o", "NEW")]
    assert fills(venue.apply(quote(4, "99", "101"))) == [("b", "o", "10", "101")]
    # Likewise without quotes, at the last price.
    venue = exchange(trade(1, "100"), submit("a", "profit", "SELL", at=2, limit_price="150"))
    assert told(venue.apply(submit("b", "o", "BUY", at=3))) == [("b", "o", "NEW")]
    assert fills(venue.apply(trade(4, "100"))) == [("b", "o", "10", "100")]


def test_nothing_is_filled_by_what_is_older_than_the_order() -> None:
    venue = exchange(
        quote(1, "99", "101"), submit("a", "o", "BUY", at=10), submit("b", "o", "BUY", at=10, limit_price="100")
    )
    for late in (quote(9, "90", "91"), trade(9, "80"), bar(12, "80", 5)):
        assert venue.apply(late).reports == []
    assert fills(venue.apply(quote(10, "99", "100"))) == [("a", "o", "10", "100"), ("b", "o", "10", "100")]


def test_a_market_order_needs_the_market_or_somebody_else() -> None:
    venue = exchange(submit("a", "o", "SELL", "2", limit_price="100"))
    assert venue.apply(submit("a", "p", "BUY", "3")).refusal == "order-rejected"
    assert fills(venue.apply(submit("b", "o", "BUY", "1"))) == [("a", "o", "1", "100"), ("b", "o", "1", "100")]


def test_a_fill_or_kill_gets_all_or_waits_for_the_market_to_say_no() -> None:
    venue = exchange(submit("a", "o", "SELL", "4", limit_price="100"))
    assert told(venue.apply(submit("b", "o", "BUY", "5", limit_price="100", time_in_force="FOK"))) == [
        ("b", "o", "NEW")
    ]
    assert told(venue.apply(submit("b", "p", "BUY", "4", limit_price="100", time_in_force="FOK"))) == [
        ("b", "p", "NEW"), ("a", "o", "4", "100"), ("b", "p", "4", "100"),
    ]  # fmt: skip
    assert told(venue.apply(quote(2, "99", "101"))) == [("b", "o", "CANCELED")]


def test_a_fill_or_kill_counts_the_quote_and_other_accounts() -> None:
    venue = exchange(submit("a", "o", "SELL", "4", limit_price="100"), quote(1, "98", "101", "9", "3"))
    answer = venue.apply(submit("b", "o", "BUY", "7", at=1, limit_price="101", time_in_force="FOK"))
    assert fills(answer) == [("a", "o", "4", "100"), ("b", "o", "4", "100"), ("b", "o", "3", "101")]


def test_post_only_is_rejected_if_it_would_meet_another() -> None:
    venue = exchange(submit("a", "o", "SELL", limit_price="100"))
    answer = venue.apply(submit("b", "o", "BUY", limit_price="100", post_only=True))
    assert answer.reason == "post-only: it would take at 100"
    assert told(venue.apply(submit("b", "p", "BUY", limit_price="99", post_only=True))) == [("b", "p", "NEW")]


def test_a_stop_meets_other_accounts_when_it_is_triggered() -> None:
    venue = exchange(
        quote(1, "98", "100"),
        submit("a", "o", "SELL", "2", at=1, limit_price="100.5"),
        submit("b", "stop", "BUY", "5", at=1, stop_price="101"),
    )
    assert [each for each in fills(venue.apply(quote(2, "100", "101"))) if each[0] == "b"] == [
        ("b", "stop", "2", "100.5"), ("b", "stop", "3", "101"),
    ]  # fmt: skip


def test_an_order_that_may_only_reduce_is_taken_for_what_it_can_close() -> None:
    venue = exchange(
        quote(1, "99", "101"),
        submit("a", "in", "BUY", "3", at=1),
        submit("a", "out", "SELL", "3", at=1, limit_price="105", reduce_only=True),
        submit("a", "half", "SELL", "1", at=1),
        quote(2, "103", "110"),
    )
    answer = venue.apply(submit("b", "o", "BUY", "10", at=2, limit_price="106"))
    assert told(answer) == [
        ("b", "o", "NEW"), ("a", "out", "2", "105"), ("a", "out", "CANCELED"), ("b", "o", "2", "105"),
    ]  # fmt: skip
    assert venue.matching.positions_of("a") == {}


# -- what holds whatever is sent ---------------------------------------------------------------------------------------


def _of_one_account(shared: Matching, alone: Matching, message: object) -> tuple[list[VenueReport], list[VenueReport]]:
    """What both say to the message."""
    out = []
    for matching in (shared, alone):
        match message:
            case Submit():
                order = VenueOrder(
                    order_id=message.client_order_id,
                    symbol=message.symbol,
                    side=message.side,
                    order_type=message.order_type,
                    quantity=message.quantity,
                    limit_price=message.limit_price,
                    stop_price=message.stop_price,
                    time_in_force=message.time_in_force,
                    expire_at_ns=message.expire_at_ns,
                    post_only=message.post_only,
                    reduce_only=message.reduce_only,
                    trailing_offset=message.trailing_offset,
                )
                out.append(matching.submit(order, message.time_ns))
            case Cancel():
                out.append(matching.cancel(message.client_order_id, message.time_ns))
            case Replace():
                out.append(
                    matching.replace(
                        message.client_order_id, message.time_ns, message.quantity, message.limit_price,
                        message.stop_price,
                    )
                )  # fmt: skip
            case QuoteTold():
                sides = (message.bid, message.ask, message.bid_size, message.ask_size)
                out.append(matching.on_quote(Quote(message.symbol, message.time_ns, *sides)))
            case TradeTold():
                out.append(matching.on_trade(Trade(message.symbol, message.time_ns, message.price, message.size)))
            case OpenTold():
                out.append(matching.on_open(message.symbol, message.price, message.time_ns))
            case BarTold():
                path = (message.open, message.high, message.low, message.close)
                out.append(matching.on_bar(Bar(message.symbol, message.time_ns, *path)))
    return out[0], out[1]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        submits()
        | market_data()
        | st.builds(Cancel, st.just(0), st.just("a"), order_ids)
        | st.builds(Replace, st.just(0), st.just("a"), order_ids, st.none(), st.none() | sizes, st.none() | prices),
        max_size=40,
    )
)
def test_one_account_sees_no_difference(messages: list[object]) -> None:
    shared, alone = Matching(Costs(), is_shared=True), Matching(Costs())
    for message in timed(messages):
        with_others, without = _of_one_account(shared, alone, message)
        assert with_others == without


def _open_limits(venue: Exchange, side: Side, symbol: str) -> dict[str, list[Decimal]]:
    """The limits of what rests, by account."""
    found: dict[str, list[Decimal]] = {}
    for of in venue.matching.books[symbol].orders.values():
        is_resting = not (of.is_waiting or of.is_for_auction or of.is_immediate or of.order.reduce_only)
        if is_resting and of.limit_price is not None and of.order.side is side:
            found.setdefault(of.order.account, []).append(of.limit_price)
    return found


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        submits(whose=st.sampled_from(ACCOUNTS)) | st.builds(Cancel, st.just(0), st.sampled_from(ACCOUNTS), order_ids),
        max_size=40,
    )
)
def test_without_a_market_accounts_only_trade_with_each_other(messages: list[Submit | Cancel]) -> None:
    venue = Exchange()
    for message in timed(messages):
        venue.apply(message)
        for symbol, book in venue.matching.books.items():
            assert sum((holding.quantity for holding in book.holdings.values()), ZERO) == ZERO
            buys, sells = _open_limits(venue, Side.BUY, symbol), _open_limits(venue, Side.SELL, symbol)
            for buyer, bids in buys.items():
                asks = [price for seller, limits in sells.items() if seller != buyer for price in limits]
                assert not asks or max(bids) < min(asks)
    cash = [account.cash.get("USD", ZERO) for account in venue.accounts.values()]
    assert sum(cash, ZERO) == ZERO


@settings(deadline=None, max_examples=200)
@given(st.lists(anything(), max_size=40))
def test_the_fills_are_the_positions(messages: list[object]) -> None:
    venue = Exchange()
    for message in timed(messages):
        venue.apply(message)
    for account in venue.accounts.values():
        held: dict[str, Decimal] = {}
        standing = {fill.exec_id: fill for fill in account.fills if fill.kind in (Kind.TRADE, Kind.LIQUIDATION)}
        for fill in account.fills:
            if fill.kind is Kind.CORRECTION:
                standing[fill.exec_ref_id] = fill
            elif fill.kind is Kind.BUST:
                del standing[fill.exec_ref_id]
        for fill in standing.values():
            assert fill.symbol is not None and fill.last_qty is not None
            signed = fill.last_qty if fill.side is Side.BUY else -fill.last_qty
            held[fill.symbol] = held.get(fill.symbol, ZERO) + signed
        assert {symbol: quantity for symbol, quantity in held.items() if quantity} == venue.matching.positions_of(
            account.name
        )
