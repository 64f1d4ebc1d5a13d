# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""The strategy on backtesting.py, in that package's own environment: prints how many orders were filled, in seconds.

The time is that of ``Backtest.run``, which ends with the statistics; reading the file is not part of it.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from io import StringIO

import pandas as pd
from backtesting import Backtest, Strategy


class OnBars(Strategy):
    """Buys at one close and sells at the next."""

    def init(self) -> None:
        self.buys = True

    def next(self) -> None:
        (self.buy if self.buys else self.sell)(size=1)
        self.buys = not self.buys


def main(path: str) -> None:
    warnings.simplefilter("ignore")
    bars = pd.read_csv(path, index_col="time").rename(columns=str.capitalize)
    bars.index = pd.to_datetime(bars.index, unit="ns")
    sys.stderr = StringIO()  # its progress bar
    backtest = Backtest(bars, OnBars, cash=1_000_000, commission=0.001, finalize_trades=False)
    began = time.perf_counter()
    found = backtest.run()
    seconds = time.perf_counter() - began
    opened = len(found["_strategy"].trades)
    print(json.dumps({"count": 2 * int(found["# Trades"]) + opened, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
