"""The figures of a backtest, each worked out by hand."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldbook.backtest.result import Direction, FillRow
from foldbook.backtest.statistics import (
    drawdowns,
    max_drawdown_pct,
    percent,
    points_per_year,
    returns_of,
    round_trips,
    sharpe,
    sortino,
    statistics_of,
    thinned,
    turnover,
)
from foldbook.trading.values import Side
from tests.backtest.results import DAY, START, equity, fill, result

Trip = tuple[str, str, str, str, str, str]
"""Side, quantity, entry price, exit price, PnL, fees."""


def trips_of(*fills: FillRow, **multipliers: Decimal) -> list[Trip]:
    return [
        (
            str(each.side),
            str(each.quantity),
            str(each.entry_price),
            str(each.exit_price),
            str(each.pnl),
            str(each.fees),
        )
        for each in round_trips(fills, multipliers)
    ]


# -- round trips ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fills", "expected"),
    [
        pytest.param([fill("BUY", "2", "100")], [], id="still open"),
        pytest.param(
            # 2 units gained 10 each; the fees are 1 and 2.
            [fill("BUY", "2", "100", fee="1"), fill("SELL", "2", "110", fee="2")],
            [("LONG", "2", "100", "110", "17", "3")],
            id="long",
        ),
        pytest.param(
            # 2 units lost 10 each; the fees are 1 and 2.
            [fill("SELL", "2", "100", fee="1"), fill("BUY", "2", "110", fee="2")],
            [("SHORT", "2", "100", "110", "-23", "3")],
            id="short",
        ),
        pytest.param(
            # 2 are closed, with the fees 2 of 6; 4 are opened with the other 4, and closed for 1 more.
            [fill("BUY", "2", "100"), fill("SELL", "6", "110", fee="6"), fill("BUY", "4", "105", fee="1")],
            [("LONG", "2", "100", "110", "18", "2"), ("SHORT", "4", "110", "105", "15", "5")],
            id="a reversal closes and opens",
        ),
        pytest.param(
            # First in, first out: 1 of 100 and 1 of 102; then the other of 102.
            [fill("BUY", "1", "100"), fill("BUY", "2", "102"), fill("SELL", "2", "104"), fill("SELL", "1", "101")],
            [
                ("LONG", "1", "100", "104", "4", "0"),
                ("LONG", "1", "102", "104", "2", "0"),
                ("LONG", "1", "102", "101", "-1", "0"),
            ],
            id="first in, first out",
        ),
        pytest.param(
            # A third of 1 is rounded to 18 digits, half of what is left too, and the last part is the rest.
            [
                fill("BUY", "3", "10", fee="1"),
                fill("SELL", "1", "10"),
                fill("SELL", "1", "10"),
                fill("SELL", "1", "10"),
            ],
            [
                ("LONG", "1", "10", "10", "-0.333333333333333333", "0.333333333333333333"),
                ("LONG", "1", "10", "10", "-0.333333333333333334", "0.333333333333333334"),
                ("LONG", "1", "10", "10", "-0.333333333333333333", "0.333333333333333333"),
            ],
            id="a fee that cannot be divided",
        ),
        pytest.param(
            [fill("BUY", "1", "10", fee="-0.5"), fill("SELL", "1", "10")],
            [("LONG", "1", "10", "10", "0.5", "-0.5")],
            id="a fee that was received",
        ),
    ],
)
def test_fills_are_paired_in_their_order(fills: list[FillRow], expected: list[Trip]) -> None:
    assert trips_of(*fills) == expected


def test_symbols_are_paired_each_for_itself() -> None:
    fills = [
        fill("BUY", "1", "10", symbol="A"),
        fill("SELL", "1", "20", symbol="B"),
        fill("SELL", "1", "12", symbol="A"),
    ]
    assert trips_of(*fills) == [("LONG", "1", "10", "12", "2", "0")]


def test_a_multiplier_multiplies_the_gain_and_not_the_fees() -> None:
    # 2 units gained 1 each, 50 times; the fees are 1 and 2.
    fills = [fill("BUY", "2", "10", fee="1"), fill("SELL", "2", "11", fee="2")]
    assert trips_of(*fills, ABC=Decimal(50)) == [("LONG", "2", "10", "11", "97", "3")]


def test_a_round_trip_has_the_times_of_its_fills() -> None:
    (trip,) = round_trips([fill("BUY", "1", "10", day=1), fill("SELL", "1", "10", day=4)])
    assert (trip.side, trip.entry_time, trip.exit_time) == (Direction.LONG, START + DAY, START + 4 * DAY)


AMOUNTS = st.decimals(min_value="0.001", max_value=1000, places=3)


@given(st.lists(st.tuples(st.sampled_from(Side), AMOUNTS, AMOUNTS, AMOUNTS), max_size=12))
def test_round_trips_and_what_is_open_add_up_to_the_cash(rows: list[tuple[Side, Decimal, Decimal, Decimal]]) -> None:
    fills = [fill(side, str(quantity), str(price), fee=str(fee)) for side, quantity, price, fee in rows]
    position = sum((each.quantity if each.side is Side.BUY else -each.quantity for each in fills), Decimal(0))
    if position:
        side = Side.SELL if position > 0 else Side.BUY
        fills.append(fill(side, str(abs(position)), "7", fee="0.1"))
    trips = round_trips(fills)
    cash = sum(
        (each.quantity * each.price * (-1 if each.side is Side.BUY else 1) - each.fee for each in fills), Decimal(0)
    )
    assert sum(trip.fees for trip in trips) == sum(each.fee for each in fills)
    assert sum(trip.pnl for trip in trips) == cash


# -- the equity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], "0", id="nothing"),
        pytest.param([1000, 1100, 1200], "0", id="only up"),
        pytest.param([900, 950], "-10", id="below the start"),
        # From 1,200 to 900 is 25 percent; from 2,000 to 1,600 is more money, but 20 percent.
        pytest.param([1200, 900, 2000, 1600], "-25", id="the deepest in percent"),
        pytest.param([2000, -500], "-125", id="below nothing"),
        pytest.param([1500, 1000, 1500], "-33.333333333333333333", id="rounded once"),
    ],
)
def test_the_maximal_drawdown_is_the_deepest_fall_from_a_peak(values: list[int], expected: str) -> None:
    assert str(max_drawdown_pct(Decimal(1000), map(Decimal, values))) == expected


@given(st.lists(st.decimals(min_value=-50, max_value=1000, places=2), min_size=1))
def test_the_maximal_drawdown_is_the_lowest_of_all(values: list[Decimal]) -> None:
    lowest = min(value for _, value in drawdowns(Decimal(100), equity(*map(str, values))))
    assert float(max_drawdown_pct(Decimal(100), values)) == pytest.approx(lowest, abs=1e-9)


def test_a_drawdown_starts_from_the_start() -> None:
    assert [value for _, value in drawdowns(Decimal(1000), equity(500, 1000, 2000, 1500))] == [-50, 0, 0, -25]


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [("1", "3", "33.333333333333333333"), ("-5", "1000", "-0.5"), ("1", "0", None), ("1", "-1", None)],
)
def test_a_percentage_is_rounded_once(part: str, whole: str, expected: str | None) -> None:
    found = percent(Decimal(part), Decimal(whole))
    assert (None if found is None else str(found)) == expected


# -- ratios --------------------------------------------------------------------------------------------------------


def test_returns_are_relative() -> None:
    assert returns_of([Decimal(100), Decimal(110), Decimal(99)]) == pytest.approx([0.1, -0.1])


@pytest.mark.parametrize("values", [[], [5], [0, 5], [5, -1, 5]])
def test_there_are_no_returns_of_nothing_or_less(values: list[int]) -> None:
    assert returns_of([Decimal(value) for value in values]) == []


def test_an_equity_may_end_at_nothing() -> None:
    assert returns_of([Decimal(5), Decimal(0)]) == [-1.0]


def test_a_year_has_as_many_points_as_the_time_between_them_says() -> None:
    assert points_per_year([START, START + DAY, START + 2 * DAY]) == pytest.approx(365.25)
    # Five days of trading in a week: 4 intervals in 4 days, then 1 in 3.
    assert points_per_year([START + number * DAY for number in (0, 1, 2, 3, 4, 7)]) == pytest.approx(5 / 7 * 365.25)


@pytest.mark.parametrize("times", [[], [START], [START, START]])
def test_no_time_has_no_points(times: list[Any]) -> None:
    assert points_per_year(times) == 0


def test_sharpe_is_the_mean_over_the_deviation_of_a_sample() -> None:
    # Mean 0.02; deviations -0.01, 0 and 0.01: sqrt(0.0002 / 2) = 0.01.
    assert sharpe([0.01, 0.02, 0.03]) == pytest.approx(2.0)


def test_sortino_is_the_mean_over_the_root_of_the_mean_square_of_the_losses() -> None:
    # Mean 0.01; sqrt(0.02 ** 2 / 4) = 0.01.
    assert sortino([0.02, -0.02, 0.03, 0.01]) == pytest.approx(1.0)


@pytest.mark.parametrize("returns", [[], [0.1], [0.0, 0.0, 0.0], [0.1 + 1e-17, 0.3 - 0.2, 0.1]])
def test_there_is_no_ratio_without_risk(returns: list[float]) -> None:
    assert sharpe(returns) is None
    assert sortino(returns) is None


def test_sortino_does_not_exist_without_a_loss() -> None:
    assert sortino([0.1, 0.2]) is None
    assert sharpe([0.1, 0.2]) is not None


# -- all together --------------------------------------------------------------------------------------------------


def test_the_figures_of_a_result() -> None:
    fills = [
        fill("BUY", "2", "100", fee="1"),
        fill("SELL", "2", "110", day=1, fee="1"),
        fill("SELL", "1", "110", day=1),
        fill("BUY", "1", "120", day=2),
    ]
    found = statistics_of(result(fills, equity(1000, 1018, 1008, 1008), exposed_bars=3))
    assert str(found.pnl) == "8"
    assert str(found.turnover) == "650"  # 200 + 220 + 110 + 120
    assert str(found.return_pct) == "0.8"
    assert str(found.max_drawdown_pct) == "-0.982318271119842829"  # 10 of 1,018
    assert str(found.win_rate_pct) == "50"
    assert str(found.exposure_pct) == "75"
    returns = [0.018, 1008 / 1018 - 1, 0.0]
    mean = sum(returns) / 3
    deviation = math.sqrt(sum((each - mean) ** 2 for each in returns) / 2)
    assert found.sharpe == pytest.approx(mean / deviation * math.sqrt(365.25))
    assert found.sortino == pytest.approx(mean / math.sqrt(returns[1] ** 2 / 3) * math.sqrt(365.25))


def test_a_result_without_anything_has_no_ratios() -> None:
    found = statistics_of(result())
    assert (found.win_rate_pct, found.exposure_pct, found.sharpe, found.sortino) == (None, None, None, None)
    assert [str(each) for each in (found.pnl, found.turnover, found.return_pct, found.max_drawdown_pct)] == ["0"] * 4


def test_the_turnover_is_the_money_of_both_sides() -> None:
    fills = [fill("BUY", "2", "10"), fill("SELL", "1", "30"), fill("BUY", "1", "5", symbol="ES")]
    assert turnover(fills, {"ES": Decimal(50)}) == 20 + 30 + 250


# -- thinning ------------------------------------------------------------------------------------------------------


def test_few_points_are_kept_as_they_are() -> None:
    points = equity(3, 1, 2)
    assert thinned(points, 4) == points


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=300), st.integers(4, 40))
def test_the_first_the_last_and_the_extremes_are_kept(values: list[int], most: int) -> None:
    points = equity(*values, every=timedelta(hours=1))
    kept = thinned(points, most)
    assert len(kept) <= most
    assert kept == [point for point in points if point in kept]
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert {min(values), max(values)} <= {value for _, value in kept}
