"""What the venue says to orders, cancels and replaces, whatever the market does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from foldbook.trading.values import ExecType
from foldbook.venue.matching import Matching
from foldbook.venue.orders import Costs, VenueInstrument, VenueOrder
from tests.venue.trading import SYMBOL, at_close, bar, buy, fills, hold, quote, sell, told, venue

FUTURE = VenueInstrument(symbol=SYMBOL, tick_size=Decimal("0.25"), lot_size=Decimal(2))


def test_ids_come_from_counters() -> None:
    matching = venue()
    at_close(matching)
    matching.on_open(SYMBOL, Decimal(100), 200)
    _, first = matching.submit(buy("a"), 200)
    _, second = matching.submit(buy("b"), 200)
    assert (first.venue_order_id, first.exec_id) == ("v1", "x1")
    assert (second.venue_order_id, second.exec_id) == ("v2", "x2")


def test_amounts_are_told_in_canonical_form() -> None:
    matching = venue()
    matching.on_quote(quote(1, "98", "99", "1", "0.5"))
    matching.submit(buy("o", "1.50", limit_price="98.0"), 1)
    first = matching.on_quote(quote(2, "96", "97", "1", "0.5"))
    second = matching.on_quote(quote(3, "96", "97", "1", "1"))
    assert fills(first + second) == [("o", "0.5", "98"), ("o", "1", "98")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (buy("o", "0"), "quantity 0 must be greater than 0"),
        (buy("o", "3"), "not a multiple of the lot size 2"),
        (buy("o", limit_price="100.1"), "limit price 100.1 is not a multiple of the tick size 0.25"),
        (buy("o", stop_price="100.1"), "stop price 100.1 is not a multiple"),
        (buy("o", order_type="LIMIT"), "a LIMIT order needs a limit price"),
        (buy("o", limit_price="100", order_type="MARKET"), "a MARKET order has no limit price"),
        (buy("o", order_type="STOP"), "a STOP order needs a stop price"),
        (buy("o", stop_price="100", order_type="MARKET"), "a MARKET order has no stop price"),
        (buy("o", trailing_offset="0"), "trailing offset 0 must be greater"),
        (buy("o", time_in_force="GTD"), "an expiry is needed for GTD"),
        (buy("o", expire_at_ns=500), "not allowed for GTC"),
        (buy("o", time_in_force="GTD", expire_at_ns=200), "the expiry has passed"),
        (buy("o", stop_price="100", time_in_force="AT_THE_CLOSE"), "a STOP order cannot be AT_THE_CLOSE"),
        (buy("o", post_only=True), "may rest"),
        (buy("o", limit_price="90", post_only=True, time_in_force="IOC"), "may rest"),
        (sell("o", reduce_only=True), "no position to reduce"),
        (buy("o", limit_price="100", post_only=True), "post-only: it would take at 100"),
    ],
)
def test_what_the_venue_does_not_take(given: VenueOrder, reason: str) -> None:
    matching = venue(instrument=FUTURE)
    at_close(matching, close="100")
    (report,) = matching.submit(given, 200)
    assert report.exec_type is ExecType.REJECTED
    assert report.reason is not None and reason in report.reason
    assert told(matching.cancel("o", 200)) == [("o", "CANCEL_REJECTED")]


def test_a_market_order_for_what_nobody_quotes_is_rejected_and_a_limit_order_rests() -> None:
    matching = Matching(Costs())
    (report,) = matching.submit(buy("m"), 0)
    assert (report.exec_type, report.reason) == (ExecType.REJECTED, "no price of X is known: nobody quotes it")
    assert told(matching.submit(buy("l", limit_price="100"), 0)) == [("l", "NEW")]
    assert fills(matching.on_quote(quote(1, "98", "99"))) == [("l", "10", "99")]
    assert told(matching.submit(buy("m"), 1)) == [("m", "NEW"), ("m", "10", "99")]


def test_a_market_order_for_what_will_be_quoted_waits() -> None:
    matching = venue()
    assert told(matching.submit(buy("m"), 0)) == [("m", "NEW")]
    assert fills(matching.on_open(SYMBOL, Decimal(100), 1)) == [("m", "10", "100")]


def test_the_id_of_an_open_order_is_taken() -> None:
    matching = venue()
    at_close(matching, buy("o", limit_price="90"))
    (report,) = matching.submit(buy("o", limit_price="80"), 200)
    assert report.exec_type is ExecType.REJECTED
    assert fills(matching.on_bar(bar(1, "100", "100", "85", "90"))) == [("o", "10", "90")]


def test_a_cancel() -> None:
    matching = venue()
    at_close(matching, buy("o", limit_price="90"))
    (report,) = matching.cancel("o", 200, "r-1")
    assert (report.exec_type, report.request_id, report.venue_order_id) == (ExecType.CANCELED, "r-1", "v1")
    (report,) = matching.cancel("o", 200, "r-2")
    assert (report.exec_type, report.request_id) == (ExecType.CANCEL_REJECTED, "r-2")
    assert matching.on_bar(bar(1, "100", "100", "80", "90")) == []


def test_a_replace_tells_all_terms() -> None:
    matching = venue()
    at_close(matching, buy("o", limit_price="90"))
    (report,) = matching.replace("o", 100, limit_price=Decimal(91), request_id="r-1")
    assert (report.exec_type, report.quantity, report.limit_price, report.request_id, report.venue_order_id) == (
        ExecType.REPLACED,
        Decimal(10),
        Decimal(91),
        "r-1",
        "v1",
    )
    assert fills(matching.on_bar(bar(1, "100", "100", "90", "90"))) == [("o", "10", "91")]


def test_a_replace_at_the_open_may_trade_there() -> None:
    matching = venue()
    at_close(matching, buy("o", limit_price="90"))
    matching.on_open(SYMBOL, Decimal(100), 200)
    reports = matching.replace("o", 200, limit_price=Decimal(102))
    assert told(reports) == [("o", "REPLACED"), ("o", "10", "100")]


@pytest.mark.parametrize(
    ("given", "terms", "reason"),
    [
        (buy("o", limit_price="98"), {"quantity": Decimal(4)}, "more than the 4 that have traded"),
        (buy("o", limit_price="98"), {"stop_price": Decimal(4)}, "has no stop price"),
        (buy("o", limit_price="98"), {"limit_price": Decimal("98.1")}, "tick size"),
        (buy("o", limit_price="98", post_only=True), {"limit_price": Decimal(101)}, "post-only: it would take at 101"),
        (buy("o"), {"limit_price": Decimal(98)}, "a MARKET order has no limit price"),
    ],
)
def test_what_the_venue_does_not_change(given: VenueOrder, terms: dict[str, Any], reason: str) -> None:
    matching = venue(instrument=FUTURE)
    matching.on_quote(quote(1, "99", "101", "4", "4"))
    matching.submit(given, 2)
    matching.on_quote(quote(2, "97", "98" if given.limit_price is not None else "100", "4", "4"))
    matching.on_quote(quote(3, "99", "101", "0", "0"))
    (report,) = matching.replace("o", 3, **terms)
    assert report.exec_type is ExecType.REPLACE_REJECTED
    assert report.reason is not None and reason in report.reason


def test_a_replace_of_what_is_not_open_is_rejected() -> None:
    (report,) = venue().replace("o", 1, quantity=Decimal(1), request_id="r-1")
    assert (report.exec_type, report.request_id) == (ExecType.REPLACE_REJECTED, "r-1")


def test_post_only_that_would_take_at_the_first_price_is_canceled() -> None:
    matching = venue()
    matching.submit(buy("o", limit_price="100", post_only=True), 0)
    assert told(matching.on_quote(quote(1, "98", "99"))) == [("o", "CANCELED")]


def test_post_only_rests_until_somebody_comes_to_it() -> None:
    matching = venue()
    matching.on_quote(quote(1, "98", "101"))
    matching.submit(buy("o", limit_price="100", post_only=True), 1)
    assert fills(matching.on_quote(quote(2, "98", "99"))) == [("o", "10", "100")]


# -- reduce-only -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("position", "side"), [("10", "SELL"), ("-10", "BUY")])
def test_reduce_only_is_cut_to_what_closes_the_position(position: str, side: str) -> None:
    matching = venue()
    hold(matching, position)
    given = sell("o", "15", reduce_only=True) if side == "SELL" else buy("o", "15", reduce_only=True)
    new, restated = matching.submit(given, 100)
    assert (new.exec_type, restated.exec_type, restated.quantity) == (ExecType.NEW, ExecType.RESTATED, Decimal(10))
    assert told(matching.on_open(SYMBOL, Decimal(101), 200)) == [("o", "10", "101")]


def test_a_replace_does_not_get_around_it() -> None:
    matching = venue()
    hold(matching, "10")
    matching.submit(sell("o", "4", limit_price="105", reduce_only=True), 100)
    replaced, restated = matching.replace("o", 100, quantity=Decimal(50))
    assert (replaced.quantity, restated.exec_type, restated.quantity) == (Decimal(50), ExecType.RESTATED, Decimal(10))


def test_what_has_become_of_the_position_counts_when_it_trades() -> None:
    matching = venue()
    hold(matching, "10")
    matching.submit(sell("target", "10", limit_price="105", reduce_only=True), 100)
    matching.submit(sell("other", "7"), 100)
    assert fills(matching.on_open(SYMBOL, Decimal(100), 100)) == [("other", "7", "100")]
    reports = matching.on_bar(bar(1, "100", "106", "99", "100"))
    assert told(reports) == [("target", "3", "105"), ("target", "CANCELED")]


def test_reduce_only_never_opens_a_position() -> None:
    matching = venue()
    hold(matching, "10")
    matching.submit(sell("stop", "10", stop_price="95", reduce_only=True), 100)
    matching.submit(sell("target", "10", limit_price="105", reduce_only=True), 100)
    reports = matching.on_bar(bar(1, "100", "106", "94", "100"))
    assert told(reports) == [("stop", "10", "95"), ("target", "CANCELED")]
