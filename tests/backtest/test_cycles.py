"""How often Python looks for cycles is the affair of whoever runs a backtest, before and after it."""

from __future__ import annotations

import gc
from decimal import Decimal
from pathlib import Path

import pytest

from foldbook.backtest.run import Job, run
from foldbook.errors import FoldbookError
from foldbook.venue.orders import Costs
from tests.backtest.data import quotes

GOOD = ("2026-01-01T00:00:00Z", "20", "20.4", "9", "3")
BAD = ("2026-01-01T00:01:00Z", "twenty", "20.4", "9", "3")


def test_a_run_leaves_the_thresholds_as_they_were(tmp_path: Path) -> None:
    before = gc.get_threshold()
    run(_job(tmp_path, [GOOD]), {})
    assert gc.get_threshold() == before


def test_and_so_does_a_run_that_fails(tmp_path: Path) -> None:
    before = gc.get_threshold()
    with pytest.raises(FoldbookError, match="line 3"):
        run(_job(tmp_path, [GOOD, BAD]), {})
    assert gc.get_threshold() == before


def _job(folder: Path, rows: list[tuple[str, str, str, str, str]]) -> Job:
    path, _, symbol = quotes(folder, rows).rpartition(":")
    return Job(
        strategy="tests.backtest.scripted:ByHand",
        data=((path, symbol),),
        account="a/b/backtest",
        cash=Decimal(10000),
        costs=Costs(),
    )
