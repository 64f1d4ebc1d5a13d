"""How bars fill orders: given orders and a bar, these are the fills. Every number is derived in a comment."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foldbook.market.records import Bar
from foldbook.trading.values import ExecType
from foldbook.venue.orders import Path, VenueInstrument, VenueOrder
from tests.venue.trading import SYMBOL, at_close, bar, buy, fills, hold, sell, told, venue

PATHS = list(Path)

# -- market orders -----------------------------------------------------------------------------------------------


def test_a_market_order_that_arrives_at_a_close_is_filled_at_the_next_open() -> None:
    matching = venue()
    at_close(matching, buy("b"), close="100")
    (fill,) = matching.on_open(SYMBOL, Decimal(101), 200)
    assert (fill.last_qty, fill.last_px, fill.time_ns) == (Decimal(10), Decimal(101), 200)
    assert matching.on_bar(bar(2, "101", "105", "99", "104")) == []


def test_one_that_arrives_at_the_open_is_filled_there_at_once() -> None:
    matching = venue()
    at_close(matching)
    matching.on_open(SYMBOL, Decimal(101), 200)
    assert told(matching.submit(sell("s"), 200)) == [("s", "NEW"), ("s", "10", "101")]


def test_the_taker_pays_spread_slippage_and_the_takers_fee() -> None:
    matching = venue(taker="0.002", spread="0.001", slippage="0.0005")
    at_close(matching, buy("b"), sell("s"))
    bought, sold = matching.on_open(SYMBOL, Decimal(200), 200)
    assert bought.last_px == Decimal("200.3")  # 200 * (1 + 0.001 + 0.0005)
    assert bought.fee == Decimal("4.006")  # 10 * 200.3 * 0.002
    assert bought.fee_currency == "USD"
    assert sold.last_px == Decimal("199.7")  # 200 * (1 - 0.0015)
    assert sold.fee == Decimal("3.994")  # 10 * 199.7 * 0.002


def test_the_price_with_costs_is_a_tick_that_is_not_better() -> None:
    instrument = VenueInstrument(symbol=SYMBOL, tick_size=Decimal("0.25"), multiplier=Decimal(50), quote_currency="EUR")
    matching = venue(instrument=instrument, taker="0.0001", spread="0.0001")
    at_close(matching, buy("b", "1"), sell("s", "1"))
    bought, sold = matching.on_open(SYMBOL, Decimal(5000), 200)
    assert bought.last_px == Decimal("5000.5")  # 5000 * 1.0001 is a tick
    assert bought.fee == Decimal("25.0025")  # 1 * 5000.5 * 50 * 0.0001
    assert sold.fee_currency == "EUR"
    at_close(matching, buy("c", "1"), sell("t", "1"), number=3)
    bought, sold = matching.on_open(SYMBOL, Decimal(1001), 500)
    # 1001 * 1.0001 = 1001.1001 and 1001 * 0.9999 = 1000.8999
    assert (bought.last_px, sold.last_px) == (Decimal("1001.25"), Decimal("1000.75"))


def test_below_zero_a_cost_is_a_cost_as_well() -> None:
    matching = venue(spread="0.01")
    at_close(matching, buy("b"), sell("s"))
    bought, sold = matching.on_open(SYMBOL, Decimal(-40), 200)
    assert (bought.last_px, sold.last_px) == (Decimal("-39.6"), Decimal("-40.4"))  # 1 % of 40 is 0.4


def test_a_fee_is_an_exact_product() -> None:
    matching = venue(taker="0.00075")
    at_close(matching, buy("b", "0.12345678"))
    (fill,) = matching.on_open(SYMBOL, Decimal("64250.12"), 200)
    assert fill.fee == Decimal("0.12345678") * Decimal("64250.12") * Decimal("0.00075")


def test_a_fee_with_more_digits_than_amounts_have_is_rounded() -> None:
    matching = venue(taker="0.00075")
    at_close(matching, buy("b", "0.000000000000000001"))
    (fill,) = matching.on_open(SYMBOL, Decimal(1000), 200)
    assert fill.fee == Decimal("0.000000000000000001")  # 0.75e-18


# -- limit orders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("given", "low_or_high", "expected"),
    [
        pytest.param(buy("o", limit_price="98"), "98", [("o", "10", "98")], id="touched"),
        pytest.param(buy("o", limit_price="98"), "98.01", [], id="not touched"),
        pytest.param(sell("o", limit_price="103"), "103", [("o", "10", "103")], id="touched above"),
        pytest.param(sell("o", limit_price="103"), "102.99", [], id="not touched above"),
    ],
)
def test_a_limit_fills_at_its_price_when_touched(
    path: Path, given: VenueOrder, low_or_high: str, expected: list[tuple[str, ...]]
) -> None:
    matching = venue(path)
    at_close(matching, given)
    matching.on_open(SYMBOL, Decimal(100), 200)
    high, low = (low_or_high, "99") if given.side == "SELL" else ("101", low_or_high)
    reports = matching.on_bar(bar(2, "100", high, low, "100"))
    assert fills(reports) == expected
    assert {each.time_ns for each in reports} <= {200}


@pytest.mark.parametrize(
    ("given", "opened"), [(buy("o", limit_price="98"), "95"), (sell("o", limit_price="103"), "107")]
)
def test_after_a_gap_a_limit_fills_at_the_better_open(given: VenueOrder, opened: str) -> None:
    matching = venue(spread="0.01", taker="0.002", maker="0.001")
    at_close(matching, given)
    (fill,) = matching.on_open(SYMBOL, Decimal(opened), 200)
    assert fill.last_px == Decimal(opened)  # it rested: no spread
    assert fill.fee == Decimal(opened) / 100  # 10 * price * 0.001: the maker's


def test_a_limit_that_is_marketable_at_the_open_takes_there() -> None:
    matching = venue(spread="0.01", taker="0.002", maker="0.001")
    at_close(matching)
    matching.on_open(SYMBOL, Decimal(100), 200)
    _, fill = matching.submit(buy("b", limit_price="103"), 200)
    assert fill.last_px == Decimal(101)  # 100 * 1.01
    assert fill.fee == Decimal("2.02")  # 10 * 101 * 0.002: the taker's
    _, fill = matching.submit(buy("c", limit_price="100.5"), 200)
    assert fill.last_px == Decimal("100.5")  # never beyond the limit


def test_a_limit_that_was_marketable_at_the_close_takes_at_the_next_open() -> None:
    matching = venue(spread="0.01", taker="0.002", maker="0.001")
    at_close(matching, buy("b", limit_price="104"), close="100")
    (fill,) = matching.on_open(SYMBOL, Decimal(102), 200)
    assert fill.last_px == Decimal("103.02")  # 102 * 1.01
    assert fill.fee == Decimal("2.0604")  # 10 * 103.02 * 0.002


def test_one_that_the_next_open_does_not_reach_any_more_rests() -> None:
    matching = venue(spread="0.01", taker="0.002", maker="0.001")
    at_close(matching, buy("b", limit_price="104"), close="100")
    assert matching.on_open(SYMBOL, Decimal(105), 200) == []
    (fill,) = matching.on_bar(bar(2, "105", "106", "103", "106"))
    assert (fill.last_px, fill.fee) == (Decimal(104), Decimal("1.04"))  # 10 * 104 * 0.001


def test_a_limit_that_arrived_at_the_open_may_fill_in_the_rest_of_the_bar() -> None:
    matching = venue(taker="0.002", maker="0.001")
    at_close(matching)
    matching.on_open(SYMBOL, Decimal(100), 200)
    assert told(matching.submit(buy("b", limit_price="99"), 200)) == [("b", "NEW")]
    (fill,) = matching.on_bar(bar(2, "100", "101", "98", "100"))
    assert (fill.last_px, fill.fee) == (Decimal(99), Decimal("0.99"))  # 10 * 99 * 0.001


def test_an_order_that_arrives_after_a_bar_gets_nothing_of_it() -> None:
    matching = venue()
    at_close(matching)
    matching.on_bar(bar(1, "100", "110", "90", "100"))
    assert told(matching.submit(buy("b", limit_price="95"), 200)) == [("b", "NEW")]
    assert matching.on_open(SYMBOL, Decimal(100), 200) == []
    assert matching.on_bar(bar(2, "100", "101", "96", "100")) == []


def test_a_bar_that_was_not_told_to_open_opens() -> None:
    matching = venue()
    at_close(matching, buy("m"), buy("l", limit_price="97"))
    assert fills(matching.on_bar(bar(1, "99", "100", "96", "98"))) == [("m", "10", "99"), ("l", "10", "97")]


# -- stops -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (sell("o", stop_price="95"), [("o", "10", "95")]),
        (sell("o", stop_price="94.99"), []),
        (buy("o", stop_price="105"), [("o", "10", "105")]),
        (buy("o", stop_price="105.01"), []),
    ],
)
def test_a_stop_that_is_touched_fills_at_its_price(
    path: Path, given: VenueOrder, expected: list[tuple[str, ...]]
) -> None:
    matching = venue(path)
    at_close(matching, given)
    assert fills(matching.on_bar(bar(1, "100", "105", "95", "100"))) == expected


@pytest.mark.parametrize(("given", "opened"), [(sell("o", stop_price="95"), "90"), (buy("o", stop_price="105"), "110")])
def test_after_a_gap_a_stop_fills_at_the_worse_open(given: VenueOrder, opened: str) -> None:
    matching = venue()
    at_close(matching, given)
    assert fills(matching.on_open(SYMBOL, Decimal(opened), 200)) == [("o", "10", opened)]


def test_a_stop_pays_what_a_taker_pays() -> None:
    matching = venue(taker="0.002", maker="0.001", slippage="0.01")
    at_close(matching, sell("s", stop_price="95"))
    (fill,) = matching.on_bar(bar(1, "100", "105", "90", "100"))
    assert fill.last_px == Decimal("94.05")  # 95 * 0.99
    assert fill.fee == Decimal("1.881")  # 10 * 94.05 * 0.002


def test_a_stop_that_the_open_has_passed_when_it_arrives_triggers_there() -> None:
    matching = venue()
    at_close(matching)
    matching.on_open(SYMBOL, Decimal(90), 200)
    assert told(matching.submit(sell("s", stop_price="95"), 200)) == [("s", "NEW"), ("s", "10", "90")]


@pytest.mark.parametrize(
    ("position", "stop", "target"),
    [
        ("10", sell("stop", stop_price="95"), sell("target", limit_price="105")),
        ("-10", buy("stop", stop_price="105"), buy("target", limit_price="95")),
    ],
)
@pytest.mark.parametrize("is_stop_first", [True, False])
def test_of_a_stop_and_a_target_inside_one_bar_the_stop_fills(
    position: str, stop: VenueOrder, target: VenueOrder, *, is_stop_first: bool
) -> None:
    matching = venue()
    hold(matching, position)
    for each in (stop, target) if is_stop_first else (target, stop):
        matching.submit(each, 100)
    steps = matching.bar_steps(bar(1, "100", "110", "90", "100"))
    assert fills(next(steps)) == [("stop", "10", stop.stop_price.__str__())]
    assert told(matching.cancel("target", 200)) == [("target", "CANCELED")]
    assert list(steps) == []


@pytest.mark.parametrize(("path", "first"), [(Path.OHLC, ("target", "10", "105")), (Path.OLHC, ("stop", "10", "95"))])
def test_a_path_that_is_set_meets_them_in_its_order(path: Path, first: tuple[str, ...]) -> None:
    matching = venue(path)
    hold(matching, "10")
    matching.submit(sell("stop", stop_price="95", reduce_only=True), 100)
    matching.submit(sell("target", limit_price="105", reduce_only=True), 100)
    reports = matching.on_bar(bar(1, "100", "110", "90", "100"))
    assert fills(reports) == [first]
    # Nothing is left to reduce: the other one is canceled when the path comes to it.
    assert told(reports)[1] == ("stop" if first[0] == "target" else "target", "CANCELED")


@pytest.mark.parametrize("path", PATHS)
def test_the_nearer_of_several_targets_fills_first(path: Path) -> None:
    matching = venue(path)
    hold(matching, "10")
    matching.submit(sell("far", limit_price="108", reduce_only=True), 100)
    matching.submit(sell("near", limit_price="105", reduce_only=True), 100)
    assert fills(matching.on_bar(bar(1, "100", "110", "99", "100"))) == [("near", "10", "105")]


@pytest.mark.parametrize(("position", "first"), [("10", "low"), ("-10", "high")])
def test_the_extreme_that_is_bad_for_the_position_comes_first(position: str, first: str) -> None:
    matching = venue()
    hold(matching, position)
    matching.submit(buy("high", stop_price="101"), 100)
    matching.submit(sell("low", stop_price="95"), 100)
    reports = matching.on_bar(bar(1, "100", "110", "90", "100"))
    assert [each.order_id for each in reports] == [first, "low" if first == "high" else "high"]


# -- stop-limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "limit", "high", "low", "close", "expected"),
    [
        # The stop at 105 is reached; 105 is within the limit.
        (Path.ADVERSE, "106", "107", "99", "101", "105"),
        # The limit is below the stop: the low may have come before, but the close has not.
        (Path.ADVERSE, "104", "107", "99", "103", "104"),
        (Path.ADVERSE, "104", "107", "99", "104.5", None),
        # From the high down to 104.
        (Path.OHLC, "104", "107", "99", "104.5", "104"),
        # The low came first; from the high to the close the path gets to 104.5 only.
        (Path.OLHC, "104", "107", "99", "104.5", None),
    ],
)
def test_a_stop_limit_is_a_limit_order_when_it_has_been_triggered(
    path: Path, limit: str, high: str, low: str, close: str, expected: str | None
) -> None:
    matching = venue(path)
    at_close(matching, buy("o", stop_price="105", limit_price=limit))
    reports = matching.on_bar(bar(1, "100", high, low, close))
    assert fills(reports) == ([("o", "10", expected)] if expected is not None else [])


def test_a_stop_limit_that_a_gap_carries_beyond_its_limit_rests_there() -> None:
    matching = venue(taker="0.002", maker="0.001")
    at_close(matching, buy("o", stop_price="105", limit_price="106"))
    assert matching.on_open(SYMBOL, Decimal(107), 200) == []
    (fill,) = matching.on_bar(bar(2, "107", "109", "105.5", "108"))
    assert (fill.last_px, fill.fee) == (Decimal(106), Decimal("1.06"))  # 10 * 106 * 0.001


# -- trailing stops ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "high", "low", "close", "expected"),
    [
        # It starts at 100 - 5 = 95. The low comes first: 95 is touched.
        (Path.ADVERSE, "110", "94", "100", "95"),
        # 96 does not touch 95; the high puts it at 105; the close at 104 is below.
        (Path.ADVERSE, "110", "96", "104", "105"),
        (Path.ADVERSE, "110", "96", "106", None),
        # The high comes first and puts it at 105, which the way down touches.
        (Path.OHLC, "110", "96", "106", "105"),
        (Path.OLHC, "110", "96", "106", None),
    ],
)
def test_a_trailing_stop_follows_the_best_price(
    path: Path, high: str, low: str, close: str, expected: str | None
) -> None:
    matching = venue(path)
    at_close(matching, sell("o", trailing_offset="5"))
    reports = matching.on_bar(bar(1, "100", high, low, close))
    assert fills(reports) == ([("o", "10", expected)] if expected is not None else [])
    if expected is not None:
        assert (reports[0].exec_type, reports[0].stop_price) == (ExecType.RESTATED, Decimal(expected))


@pytest.mark.parametrize("path", PATHS)
def test_a_trailing_stop_of_a_short_position_follows_within_a_bar(path: Path) -> None:
    matching = venue(path)
    at_close(matching, buy("o", trailing_offset="5"))  # 100 + 5 = 105
    # The low puts it at 90 + 5 = 95, and the close at 96 is above.
    assert fills(matching.on_bar(bar(1, "100", "101", "90", "96"))) == [("o", "10", "95")]


def test_a_trailing_stop_starts_at_the_price_that_was_known_when_it_arrived() -> None:
    matching = venue()
    at_close(matching, sell("o", trailing_offset="5"), close="100")
    assert fills(matching.on_bar(bar(1, "97", "97", "94", "96"))) == [("o", "10", "95")]  # 100 - 5, not 97 - 5


def test_a_trailing_stop_of_a_short_position_follows_down_and_over_bars() -> None:
    matching = venue()
    at_close(matching, buy("o", trailing_offset="5"))  # 100 + 5 = 105
    assert matching.on_bar(bar(1, "99", "100", "92", "93")) == []  # 92 + 5 = 97, and 93 is below
    assert fills(matching.on_open(SYMBOL, Decimal("97.5"), 300)) == [("o", "10", "97.5")]


# -- times in force ----------------------------------------------------------------------------------------------


def test_at_the_opening_is_for_the_next_opening_only() -> None:
    matching = venue()
    at_close(matching, buy("m", time_in_force="AT_THE_OPENING"))
    at_close(matching, buy("l", limit_price="90", time_in_force="AT_THE_OPENING"), number=1)
    reports = matching.on_open(SYMBOL, Decimal(99), 300)
    assert told(reports) == [("l", "EXPIRED")]
    assert fills(matching.submit(buy("late", time_in_force="AT_THE_OPENING"), 300)) == []
    assert matching.on_bar(bar(3, "99", "120", "80", "99")) == []
    assert fills(matching.on_open(SYMBOL, Decimal(98), 400)) == [("late", "10", "98")]


def test_at_the_close_is_filled_at_the_close() -> None:
    matching = venue()
    at_close(
        matching,
        buy("m", time_in_force="AT_THE_CLOSE"),
        buy("in", limit_price="104", time_in_force="AT_THE_CLOSE"),
        buy("out", limit_price="102", time_in_force="AT_THE_CLOSE"),
    )
    assert matching.on_open(SYMBOL, Decimal(100), 100) == []
    reports = matching.on_bar(bar(1, "100", "105", "95", "103"))
    assert told(reports) == [("m", "10", "103"), ("in", "10", "103"), ("out", "EXPIRED")]
    assert {each.time_ns for each in reports} == {200}  # a close has a time


def test_at_once_or_not_at_all() -> None:
    matching = venue()
    at_close(matching, buy("ioc", limit_price="95", time_in_force="IOC"), buy("fok", time_in_force="FOK"))
    reports = matching.on_open(SYMBOL, Decimal(100), 200)
    assert told(reports) == [("ioc", "CANCELED"), ("fok", "10", "100")]
    assert told(matching.submit(sell("late", limit_price="101", time_in_force="IOC"), 200)) == [
        ("late", "NEW"),
        ("late", "CANCELED"),
    ]


def test_good_till_a_time() -> None:
    matching = venue()
    for name, expiry in (("before", 150), ("at-close", 200), ("later", 201)):
        at_close(matching, buy(name, limit_price="95", time_in_force="GTD", expire_at_ns=expiry))
    reports = matching.on_bar(bar(1, "100", "100", "96", "100"))
    assert [(each.order_id, each.exec_type.value, each.time_ns) for each in reports] == [
        ("before", "EXPIRED", 150),
        ("at-close", "EXPIRED", 200),
    ]
    assert told(matching.on_open(SYMBOL, Decimal(90), 300)) == [("later", "EXPIRED")]


def test_what_expires_at_the_close_may_be_filled_before() -> None:
    matching = venue()
    at_close(
        matching,
        buy("till-close", limit_price="95", time_in_force="GTD", expire_at_ns=200),
        buy("for-good", limit_price="94"),
    )
    reports = matching.on_bar(bar(1, "100", "100", "94", "100"))
    assert fills(reports) == [("till-close", "10", "95"), ("for-good", "10", "94")]


def test_what_expires_leaves_the_others_open() -> None:
    matching = venue()
    at_close(
        matching,
        buy("till-then", limit_price="95", time_in_force="GTD", expire_at_ns=200),
        buy("for-good", limit_price="94"),
    )
    assert told(matching.on_open(SYMBOL, Decimal(90), 200)) == [("till-then", "EXPIRED"), ("for-good", "10", "90")]


def test_what_expires_within_a_bar_gets_nothing_of_its_rest() -> None:
    matching = venue()
    at_close(matching, buy("o", limit_price="95", time_in_force="GTD", expire_at_ns=199))
    assert told(matching.on_bar(bar(1, "100", "100", "90", "100"))) == [("o", "EXPIRED")]


def test_a_day_ends_with_the_session() -> None:
    matching = venue()
    at_close(matching, buy("day", limit_price="95", time_in_force="DAY"), buy("gtc", limit_price="94"))
    (report,) = matching.end_session(150)
    assert (report.order_id, report.exec_type, report.time_ns) == ("day", ExecType.EXPIRED, 150)
    assert fills(matching.on_bar(bar(1, "100", "100", "90", "100"))) == [("gtc", "10", "94")]


# -- answers in between ------------------------------------------------------------------------------------------


def test_what_arrives_between_the_steps_of_an_open_is_filled_there() -> None:
    matching = venue()
    at_close(matching, buy("entry"))
    steps = matching.open_steps(SYMBOL, Decimal(100), 200)
    assert fills(next(steps)) == [("entry", "10", "100")]
    matching.submit(sell("stop", stop_price="98", reduce_only=True), 200)
    assert list(steps) == []
    assert fills(matching.on_bar(bar(2, "100", "101", "97", "99"))) == [("stop", "10", "98")]


def test_what_is_canceled_between_the_steps_of_an_open_is_not_filled() -> None:
    matching = venue()
    at_close(matching, buy("a"), buy("b"))
    steps = matching.open_steps(SYMBOL, Decimal(100), 200)
    assert fills(next(steps)) == [("a", "10", "100")]
    matching.cancel("b", 200)
    assert list(steps) == []


@pytest.mark.parametrize("path", PATHS)
def test_what_arrives_between_the_steps_of_the_rest_waits_for_the_next_bar(path: Path) -> None:
    matching = venue(path)
    at_close(matching, buy("entry", limit_price="98"), buy("other", limit_price="90"))
    steps = matching.bar_steps(bar(1, "100", "105", "95", "100"))
    assert fills(next(steps)) == [("entry", "10", "98")]
    assert told(matching.submit(sell("target", limit_price="99"), 100)) == [("target", "NEW")]
    # New prices are like a new order.
    assert told(matching.replace("other", 100, limit_price=Decimal(97))) == [("other", "REPLACED")]
    assert list(steps) == []
    reports = matching.on_open(SYMBOL, Decimal(101), 200)
    assert fills(reports) == [("target", "10", "101")]


def test_a_quantity_that_becomes_less_between_steps_keeps_its_place() -> None:
    matching = venue()
    hold(matching, "10")
    matching.submit(sell("half", "4", limit_price="101"), 100)
    matching.submit(sell("all", "10", limit_price="102"), 100)
    steps = matching.bar_steps(bar(1, "100", "105", "99", "100"))
    assert fills(next(steps)) == [("half", "4", "101")]
    matching.replace("all", 100, quantity=Decimal(6))
    assert fills(next(steps)) == [("all", "6", "102")]


# -- what was over when an order arrived -------------------------------------------------------------------------


def test_a_bar_that_comes_twice_fills_once() -> None:
    matching = venue()
    hold(matching, "10")
    matching.submit(sell("t", trailing_offset="5"), 200)
    assert matching.on_bar(bar(2, "100", "150", "100", "150")) == []
    for given in (buy("m"), buy("l", limit_price="100"), buy("c", time_in_force="AT_THE_CLOSE")):
        assert told(matching.submit(given, 300)) == [(given.order_id, "NEW")]
    # The trailing stop has followed to 145: the second time, the open of 100 is not news. Nor is it for the others.
    assert matching.on_bar(bar(2, "100", "150", "100", "150")) == []
    assert fills(matching.on_open(SYMBOL, Decimal(150), 300)) == [("m", "10", "150")]


def test_an_open_fills_nothing_that_came_after_it() -> None:
    matching = venue()
    at_close(matching, buy("b"), buy("l", limit_price="101"), number=1)
    assert matching.on_open(SYMBOL, Decimal(100), 199) == []
    assert matching.on_bar(Bar(SYMBOL, 210, "100", "100", "90", "100", None, 11)) == []
    assert fills(matching.on_open(SYMBOL, Decimal(99), 210)) == [("b", "10", "99"), ("l", "10", "99")]


def test_a_longer_bar_over_shorter_ones_leaves_the_one_that_is_under_way() -> None:
    matching = venue()
    at_close(matching, number=1)
    matching.on_open(SYMBOL, Decimal(100), 300)
    assert told(matching.submit(buy("l", limit_price="95"), 300)) == [("l", "NEW")]
    assert matching.on_bar(Bar(SYMBOL, 350, "100", "110", "90", "100", None, 350)) == []
    assert matching.price_of(SYMBOL) == 100
    assert fills(matching.on_bar(bar(3, "100", "100", "94", "100"))) == [("l", "10", "95")]


def test_the_end_of_a_day_is_that_of_what_came_before_it() -> None:
    matching = venue()
    at_close(matching, buy("a", limit_price="90", time_in_force="DAY"))
    matching.submit(buy("b", limit_price="90", time_in_force="DAY"), 150)
    assert matching.end_session(150, "Y") == []
    assert told(matching.end_session(150, SYMBOL)) == [("a", "EXPIRED")]
    assert told(matching.close_session(150)) == [("b", "EXPIRED")]
