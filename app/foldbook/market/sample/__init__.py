"""The sample: a few minutes of quotes and trades to try things out with, in two files beside this one.

All of it is made up, by ``make`` in this room, with a fixed seed: no market has ever shown these prices. They are made
so that the README's first order, BUY 1.5 BTCUSDT at 64250.1 or better, is filled in parts within seconds.
"""

from __future__ import annotations

from pathlib import Path

FILES = (
    Path(__file__).with_name("made_up_quotes.csv.gz"),
    Path(__file__).with_name("made_up_trades.csv.gz"),
)
SYMBOLS = ("BTCUSDT", "ETHUSDT")
