"""The reference: backtesting.py 0.6.6 on the GOOG bars that it ships.

Its data may not be copied into this repository. The environment variable TEST_BACKTESTING_DATA names the folder
with its ``GOOG.csv``, or it is installed. The figures of the first case are those that it publishes for its own
example (all equity in whole shares, moving averages of 10 and 30 days, no costs, closed at the end); the others are
what it gives for the example of its README, for 100 shares, and for 100 shares without fees.
"""

from __future__ import annotations

import os
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest

from foldbook.backtest.result import Result
from foldbook.backtest.run import Job, run
from foldbook.backtest.statistics import statistics_of
from foldbook.venue.orders import Costs
from tests.leaving_out import leave_out

FEE = Decimal("0.002")


@pytest.fixture(scope="module")
def goog() -> str:
    folder = os.environ.get("TEST_BACKTESTING_DATA")
    if folder is None:
        found = find_spec("backtesting")
        if found is None or found.origin is None:
            leave_out("needs GOOG.csv of backtesting 0.6.6: install it, or set TEST_BACKTESTING_DATA to its folder")
        folder = str(Path(found.origin).parent / "test")
    return str(Path(folder) / "GOOG.csv")


def sized_sma(goog: str, slow: int, quantity: int, cash: int, fee: Decimal, *, closes_at_end: bool = False) -> Result:
    job = Job(
        strategy="foldbook.strategies.examples.sized_sma:SizedSma",
        data=((goog, "GOOG"),),
        account="reference/goog/backtest",
        cash=Decimal(cash),
        costs=Costs(taker=fee, maker=fee),
        closes_at_end=closes_at_end,
    )
    return run(job, {"fast": "10", "slow": str(slow), "commission": str(fee), "quantity": str(quantity)})


def test_the_published_figures(goog: str) -> None:
    result = sized_sma(goog, 30, 0, 10_000, Decimal(0), closes_at_end=True)
    figures = statistics_of(result)
    assert str(result.final_equity) == "51422.99"
    assert len(result.round_trips) == 66
    assert figures.return_pct is not None
    assert figures.win_rate_pct is not None
    assert figures.exposure_pct is not None
    assert float(figures.return_pct) == pytest.approx(414.2298999999996, rel=1e-12)
    assert float(figures.max_drawdown_pct) == pytest.approx(-47.98012705007589, rel=1e-12)
    assert float(figures.win_rate_pct) == pytest.approx(46.96969696969697, rel=1e-12)
    assert float(figures.exposure_pct) == pytest.approx(96.74115456238361, rel=1e-12)


@pytest.mark.parametrize(
    ("quantity", "cash", "fee", "final_equity", "drawdown"),
    [
        (0, 10_000, FEE, "56263.51934", -33.93159182905461),
        (100, 1_000_000, FEE, "1108409.284", -2.0140023594606093),
        (100, 1_000_000, Decimal(0), "1125837", -1.9061185792878854),
    ],
)
def test_to_the_cent(goog: str, quantity: int, cash: int, fee: Decimal, final_equity: str, drawdown: float) -> None:
    result = sized_sma(goog, 20, quantity, cash, fee)
    figures = statistics_of(result)
    assert str(result.final_equity) == final_equity
    # The last position is still open: it has no round trip yet.
    assert len(result.round_trips) == 93
    assert float(figures.max_drawdown_pct) == pytest.approx(drawdown, rel=1e-12)
    assert result.cash + sum_held(result) == result.final_equity


def sum_held(result: Result) -> Decimal:
    """What is held, at the last close."""
    held = sum((f.quantity if f.side.value == "BUY" else -f.quantity for f in result.fills), Decimal(0))
    return held * Decimal("806.19")
