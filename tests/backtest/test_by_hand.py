"""A backtest by hand: five bars, four orders, a gap, a partial fill."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from foldbook.venue.orders import Costs
from tests.backtest.data import bars, quotes
from tests.backtest.running import backtest

BARS = [
    #  open   high   low    close
    ("100", "102", "99", "101"),  # the strategy sees the close and sends: buy 10 at market, sell 10 at a stop of 95
    ("103", "104", "96", "98"),  # the buy is filled at the open, 103 * 1.01; it sends: buy 4 at a limit of 90
    ("92", "93", "88", "89"),  # a gap below the stop: it is filled at the open, 92 * 0.99; the limit is touched at 90
    ("91", "95", "90", "94"),
    ("96", "97", "94", "95"),
]
QUOTES = [
    # In the hour before the first close. It buys 5 at 20.5 at once, of which 3 are shown; the rest is canceled.
    ("2026-01-01T23:00:00Z", "20", "20.4", "9", "3"),
    ("2026-01-01T23:01:00Z", "20", "20.3", "9", "9"),
]


def test_every_number(tmp_path: Path) -> None:
    costs = Costs(taker=Decimal("0.001"), maker=Decimal("0.0005"), spread=Decimal("0.01"))
    result = backtest("ByHand", bars(tmp_path, BARS), quotes(tmp_path, QUOTES), costs=costs)
    assert [
        (f"{f.time:%m-%d %H:%M}", f.symbol, f.side.value, str(f.quantity), str(f.price), str(f.fee))
        for f in result.fills
    ] == [
        # Quotes have their own spread: 3 at the ask, as taker: 3 * 20.4 * 0.001.
        ("01-01 23:00", "Y", "BUY", "3", "20.4", "0.0612"),
        # 10 at the open of the second bar, worse by the spread: 103 * 1.01 = 104.03; fee 1040.3 * 0.001.
        ("01-02 00:00", "X", "BUY", "10", "104.03", "1.0403"),
        # The stop at 95 is passed by the open of the third bar: 92 * 0.99 = 91.08; fee 910.8 * 0.001.
        ("01-03 00:00", "X", "SELL", "10", "91.08", "0.9108"),
        # The limit of 90 is touched within that bar (low 88), and rested: 4 at 90 as maker, 360 * 0.0005.
        ("01-03 00:00", "X", "BUY", "4", "90", "0.18"),
    ]
    # Of the 10000, 61.2, 1040.3 and 360 were paid and 910.8 came back; the fees are the sum of the four above.
    assert (result.cash, result.fees) == (Decimal("9447.1077"), Decimal("2.1923"))
    # 4 X at the last close of 95, 3 Y at the middle of 20 and 20.3: 380 + 60.45
    assert result.final_equity == Decimal("9887.5577")
    # Cash and positions are the start, what was earned, less the fees:
    # ten of X lost 12.95 each, four gained 5 each, three of Y lost 0.25 each: 110.25 in all.
    assert result.final_equity == Decimal("9889.75") - result.fees
    (trip,) = [trip for trip in result.round_trips if trip.symbol == "X"]
    assert (trip.quantity, trip.pnl) == (Decimal(10), Decimal("-129.5") - Decimal("1.0403") - Decimal("0.9108"))
    assert (result.orders, result.denied, result.error) == (4, 0, None)
