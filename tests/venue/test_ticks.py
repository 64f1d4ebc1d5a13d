"""How quotes and trades fill orders: by what they show, in size and in order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from foldbook.trading.values import ExecType
from foldbook.venue.matching import Matching
from foldbook.venue.orders import VenueOrder
from tests.venue.trading import SYMBOL, buy, fills, quote, sell, told, trade, venue


def quoted(**costs: Any) -> Matching:
    """10 are bid for at 99, 5 are offered at 101."""
    matching = venue(**costs)
    matching.on_quote(quote(1, "99", "101", "10", "5"))
    return matching


# -- who takes from a quote --------------------------------------------------------------------------------------


def test_a_market_order_takes_what_is_shown_and_the_rest_of_it_waits_for_the_next_quote() -> None:
    matching = quoted(taker="0.002", slippage="0.01", spread="0.5")
    new, fill = matching.submit(buy("b", "12"), 1)
    assert (new.exec_type, fill.last_qty) == (ExecType.NEW, Decimal(5))
    assert fill.last_px == Decimal("102.01")  # 101 * 1.01: a quote has its own spread
    assert fill.fee == Decimal("1.0201")  # 5 * 102.01 * 0.002
    (fill,) = matching.on_quote(quote(2, "99", "102", "10", "6"))
    assert (fill.last_qty, fill.last_px) == (Decimal(6), Decimal("103.02"))  # 102 * 1.01
    assert fills(matching.on_quote(quote(3, "99", "100", "10", None))) == [("b", "1", "101")]  # 100 * 1.01


def test_nothing_is_filled_with_a_quote_that_is_older_than_the_order() -> None:
    matching = quoted()
    assert told(matching.submit(buy("b", "3"), 2)) == [("b", "NEW")]
    assert fills(matching.on_quote(quote(3, "99", "104", "10", "5"))) == [("b", "3", "104")]


def test_what_a_quote_shows_is_used_up_by_those_who_come_first() -> None:
    matching = quoted()
    assert fills(matching.submit(buy("a", "3"), 1)) == [("a", "3", "101")]
    assert fills(matching.submit(buy("b", "3"), 1)) == [("b", "2", "101")]
    assert fills(matching.submit(buy("c", "3"), 1)) == []
    reports = matching.on_quote(quote(2, "99", "101", "10", "3"))
    assert fills(reports) == [("b", "1", "101"), ("c", "2", "101")]


def test_a_new_quote_shows_new_sizes_even_if_nobody_was_waiting() -> None:
    matching = quoted()
    assert fills(matching.submit(buy("a", "5"), 1)) == [("a", "5", "101")]
    matching.on_quote(quote(2, "99", "101", "10", "5"))
    assert fills(matching.submit(buy("b", "5"), 2)) == [("b", "5", "101")]


def test_market_orders_go_before_limits_and_better_limits_before_worse_ones() -> None:
    matching = venue()
    for each in (buy("worse", "2", limit_price="101"), buy("better", "2", limit_price="102"), buy("market", "2")):
        matching.submit(each, 0)
    reports = matching.on_quote(quote(1, "99", "101", "10", "5"))
    assert fills(reports) == [("market", "2", "101"), ("better", "2", "101"), ("worse", "1", "101")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (buy("o", "5", time_in_force="FOK"), ["5"]),
        (buy("o", "6", time_in_force="FOK"), []),
        (buy("o", "6", time_in_force="IOC"), ["5"]),
        (buy("o", "6", limit_price="100", time_in_force="IOC"), []),
        (sell("o", "11", limit_price="98", time_in_force="IOC"), ["10"]),
    ],
)
def test_at_once_means_from_what_is_shown(given: VenueOrder, expected: list[str]) -> None:
    reports = quoted().submit(given, 1)
    assert [each[1] for each in fills(reports)] == expected
    assert (told(reports)[-1] == ("o", "CANCELED")) is (expected != [str(given.quantity)])


def test_of_a_market_to_limit_order_the_rest_rests_where_it_traded() -> None:
    matching = quoted(taker="0.002", maker="0.001")
    reports = matching.submit(buy("o", "8", order_type="MARKET_TO_LIMIT"), 1)
    assert told(reports) == [("o", "NEW"), ("o", "5", "101"), ("o", "RESTATED")]
    assert (reports[-1].quantity, reports[-1].limit_price) == (Decimal(8), Decimal(101))
    assert matching.on_quote(quote(2, "99", "101.5", "10", "5")) == []
    (fill,) = matching.on_quote(quote(3, "99", "100", "10", "5"))
    assert (fill.last_qty, fill.last_px, fill.fee) == (Decimal(3), Decimal(101), Decimal("0.303"))  # 303 * 0.001


# -- who rests ---------------------------------------------------------------------------------------------------


def test_a_limit_that_rests_is_filled_at_its_price_when_a_quote_crosses_it() -> None:
    matching = quoted(taker="0.002", maker="0.001", slippage="0.01")
    matching.submit(buy("b", "8", limit_price="100"), 1)
    assert matching.on_quote(quote(2, "99", "100.01", "10", "5")) == []
    (fill,) = matching.on_quote(quote(3, "99", "99.5", "10", "5"))
    assert (fill.last_qty, fill.last_px, fill.fee) == (Decimal(5), Decimal(100), Decimal("0.5"))  # 5 * 100 * 0.001


def test_a_limit_that_arrives_within_the_market_takes_at_the_better_price() -> None:
    matching = quoted(taker="0.002", maker="0.001")
    _, fill = matching.submit(sell("s", "4", limit_price="97"), 1)
    assert (fill.last_px, fill.fee) == (Decimal(99), Decimal("0.792"))  # 4 * 99 * 0.002


def test_a_trade_through_the_price_fills_up_to_its_size() -> None:
    matching = quoted()
    matching.submit(buy("b", "8", limit_price="99"), 1)
    assert fills(matching.on_trade(trade(2, "98.99", "3"))) == [("b", "3", "99")]
    # After that nobody is ahead of it at its price.
    assert fills(matching.on_trade(trade(3, "99", "3"))) == [("b", "3", "99")]
    assert fills(matching.on_trade(trade(4, "98", None))) == [("b", "2", "99")]


def test_a_trade_at_the_price_first_fills_those_who_were_there() -> None:
    matching = quoted()
    matching.submit(buy("b", "8", limit_price="99"), 1)  # 10 are shown there
    assert matching.on_trade(trade(2, "99", "6")) == []  # 4 are still ahead
    assert fills(matching.on_trade(trade(3, "99", "7"))) == [("b", "3", "99")]  # 7 - 4
    assert fills(matching.on_trade(trade(4, "99", "4"))) == [("b", "4", "99")]  # nobody is ahead


def test_behind_a_queue_a_trade_of_unknown_size_fills_nothing() -> None:
    matching = quoted()
    matching.submit(buy("b", "8", limit_price="99"), 1)
    assert matching.on_trade(trade(2, "99", None)) == []


def test_at_a_price_that_is_not_shown_nobody_is_ahead() -> None:
    matching = quoted()
    matching.submit(buy("b", "8", limit_price="99.5"), 1)
    assert fills(matching.on_trade(trade(2, "99.5", "3"))) == [("b", "3", "99.5")]


def test_one_that_comes_too_late_to_take_rests_behind_what_is_shown_then() -> None:
    matching = quoted()
    matching.submit(buy("b", "8", limit_price="101"), 2)  # 101 was offered, but earlier
    assert matching.on_quote(quote(3, "101", "102", "7", "5")) == []
    assert matching.on_trade(trade(4, "101", "7")) == []
    assert fills(matching.on_trade(trade(5, "101", "1"))) == [("b", "1", "101")]


def test_two_orders_in_one_queue() -> None:
    matching = quoted()
    matching.submit(buy("a", "2", limit_price="99"), 1)
    matching.submit(buy("b", "2", limit_price="99"), 1)
    # 13 trade: 10 were ahead of both, then 2 of a, 1 of b.
    assert fills(matching.on_trade(trade(2, "99", "13"))) == [("a", "2", "99"), ("b", "1", "99")]


def test_a_trade_is_used_up_by_the_better_price_first() -> None:
    matching = quoted()
    matching.submit(buy("a", "4", limit_price="98"), 1)
    matching.submit(buy("b", "4", limit_price="100"), 1)
    assert fills(matching.on_trade(trade(2, "97", "6"))) == [("b", "4", "100"), ("a", "2", "98")]


def test_a_replace_loses_the_place_unless_the_quantity_becomes_less() -> None:
    matching = quoted()
    matching.submit(buy("a", "4", limit_price="99.5"), 1)
    matching.submit(buy("b", "4", limit_price="99.5"), 1)
    matching.replace("a", 1, quantity=Decimal(3))
    assert fills(matching.on_trade(trade(2, "99.5", "1"))) == [("a", "1", "99.5")]
    matching.replace("a", 2, quantity=Decimal(5))
    assert fills(matching.on_trade(trade(3, "99.5", "1"))) == [("b", "1", "99.5")]


def test_a_market_order_waits_for_a_quote_while_others_trade() -> None:
    matching = quoted()
    matching.submit(buy("b", "2"), 2)
    assert matching.on_trade(trade(2, "98", "5")) == []
    assert fills(matching.on_quote(quote(3, "99", "101", "10", "5"))) == [("b", "2", "101")]


# -- stops -------------------------------------------------------------------------------------------------------


def test_a_stop_is_triggered_by_the_side_that_it_would_take() -> None:
    matching = quoted()
    matching.submit(sell("s", "12", stop_price="98"), 1)
    assert matching.on_quote(quote(2, "98.01", "99", "10", "5")) == []
    assert fills(matching.on_quote(quote(3, "97", "99", "10", "5"))) == [("s", "10", "97")]
    assert fills(matching.on_quote(quote(4, "99", "100", "10", "5"))) == [("s", "2", "99")]


def test_a_stop_that_a_trade_triggers_takes_from_the_next_quote() -> None:
    matching = quoted()
    matching.submit(sell("s", "2", stop_price="98"), 1)
    assert matching.on_trade(trade(2, "98", "5")) == []
    assert fills(matching.on_quote(quote(3, "99", "101", "10", "5"))) == [("s", "2", "99")]


def test_a_trailing_stop_tells_where_it_was_when_it_triggers() -> None:
    matching = quoted()
    matching.submit(sell("s", "2", trailing_offset="3"), 1)  # 99 - 3
    matching.on_quote(quote(2, "104", "105", "10", "5"))  # 104 - 3
    assert matching.on_quote(quote(3, "101.01", "103", "10", "5")) == []
    restated, fill = matching.on_quote(quote(4, "100", "102", "10", "5"))
    assert (restated.exec_type, restated.stop_price, restated.quantity) == (
        ExecType.RESTATED,
        Decimal(101),
        Decimal(2),
    )
    assert (fill.last_qty, fill.last_px) == (Decimal(2), Decimal(100))


def test_a_trailing_stop_follows_quotes_if_there_are_any_else_trades() -> None:
    matching = quoted()
    matching.submit(sell("s", "2", trailing_offset="3"), 1)  # 99 - 3
    assert matching.on_trade(trade(2, "104", "1")) == []
    assert matching.on_quote(quote(3, "97", "98", "10", "5")) == []
    matching = venue()
    matching.submit(sell("s", "2", trailing_offset="3"), 1)
    assert matching.on_trade(trade(2, "104", "1")) == []  # 104 - 3
    assert fills(matching.on_trade(trade(3, "101", "5"))) == [("s", "2", "101")]


# -- trades without quotes ---------------------------------------------------------------------------------------


def test_without_quotes_a_market_order_is_filled_by_the_next_trades_up_to_their_sizes() -> None:
    matching = venue(spread="0.01", taker="0.002")
    matching.on_trade(trade(1, "100", "5"))
    assert told(matching.submit(buy("b", "7"), 1)) == [("b", "NEW")]
    (fill,) = matching.on_trade(trade(2, "200", "5"))
    assert (fill.last_qty, fill.last_px, fill.fee) == (Decimal(5), Decimal(202), Decimal("2.02"))  # 1010 * 0.002
    assert fills(matching.on_trade(trade(3, "100", None))) == [("b", "2", "101")]


def test_without_quotes_a_limit_that_arrives_within_the_market_takes_too() -> None:
    matching = venue(taker="0.002", maker="0.001", spread="0.01")
    matching.on_trade(trade(1, "100", "5"))
    matching.submit(buy("in", "1", limit_price="110"), 1)
    matching.submit(buy("under", "1", limit_price="99"), 1)
    (fill,) = matching.on_trade(trade(2, "100", "5"))
    assert (fill.order_id, fill.last_px, fill.fee) == ("in", Decimal(101), Decimal("0.202"))  # 101 * 0.002
    (fill,) = matching.on_trade(trade(3, "99", "5"))
    assert (fill.order_id, fill.last_px, fill.fee) == ("under", Decimal(99), Decimal("0.099"))  # 99 * 0.001


def test_without_quotes_a_stop_takes_from_the_trade_that_triggers_it() -> None:
    matching = venue()
    matching.on_trade(trade(1, "100", "5"))
    matching.submit(sell("s", "7", stop_price="95"), 1)
    assert fills(matching.on_trade(trade(2, "94", "5"))) == [("s", "5", "94")]


def test_those_who_take_use_up_a_trade_before_those_who_rest() -> None:
    matching = venue()
    matching.on_trade(trade(1, "100", "5"))
    matching.submit(buy("rests", "4", limit_price="99"), 1)
    matching.submit(buy("takes", "4"), 1)
    assert fills(matching.on_trade(trade(2, "98", "5"))) == [("takes", "4", "98"), ("rests", "1", "99")]


@pytest.mark.parametrize(("quantity", "expected"), [("5", [("o", "5", "100")]), ("6", [])])
def test_all_or_nothing_of_a_trade(quantity: str, expected: list[tuple[str, ...]]) -> None:
    matching = venue()
    matching.submit(buy("o", quantity, time_in_force="FOK"), 0)
    assert fills(matching.on_trade(trade(1, "100", "5"))) == expected


def test_of_a_market_to_limit_order_the_rest_of_a_trade_rests() -> None:
    matching = venue()
    matching.submit(buy("o", "7", order_type="MARKET_TO_LIMIT"), 0)
    assert told(matching.on_trade(trade(1, "100", "5"))) == [("o", "5", "100"), ("o", "RESTATED")]
    assert matching.on_trade(trade(2, "101", "5")) == []
    assert fills(matching.on_trade(trade(3, "99", "5"))) == [("o", "2", "100")]


# -- times and prices --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("datum", ["quote", "trade"])
def test_what_expires_gets_nothing_of_what_comes_at_its_time(datum: str) -> None:
    matching = quoted()
    matching.submit(buy("b", limit_price="98", time_in_force="GTD", expire_at_ns=5), 1)
    matching.submit(buy("c", limit_price="97", time_in_force="GTD", expire_at_ns=9), 1)
    reports = (
        matching.on_quote(quote(5, "90", "91", "10", "10")) if datum == "quote" else matching.on_trade(trade(5, "90"))
    )
    assert told(reports)[0] == ("b", "EXPIRED")
    assert [each[0] for each in fills(reports)] == ["c"]


def test_an_auction_is_not_held_among_quotes_and_trades() -> None:
    matching = quoted()
    assert told(matching.submit(buy("b", time_in_force="AT_THE_OPENING"), 1)) == [("b", "NEW")]
    assert matching.on_quote(quote(2, "99", "101", "10", "5")) == []
    assert matching.on_trade(trade(3, "90", "5")) == []


def test_a_quote_or_trade_that_nobody_waits_for_stays_text() -> None:
    matching, seen, done = venue(), quote(1, "99", "101", "10", "5"), trade(2, "not looked at", "5")
    assert matching.on_quote(seen) == matching.on_trade(done) == []
    with pytest.raises(ValueError, match="not looked at"):
        matching.price_of(SYMBOL)


def test_the_last_price() -> None:
    matching = venue()
    assert matching.price_of(SYMBOL) is None
    assert matching.price_of("unknown") is None
    matching.on_quote(quote(1, "99", "101.5"))
    assert matching.price_of(SYMBOL) == Decimal("100.25")  # the middle
    matching.on_trade(trade(2, "100"))
    assert matching.price_of(SYMBOL) == Decimal(100)
    matching.on_open(SYMBOL, Decimal(102), 3)
    assert matching.price_of(SYMBOL) == Decimal(102)
