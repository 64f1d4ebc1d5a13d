"""What a backtest and the venue are told that trading costs."""

from __future__ import annotations

from decimal import Decimal

import pytest
import typer

from foldbook.cli.options import costs_of
from foldbook.venue.orders import Costs


def test_costs() -> None:
    assert costs_of(None, "0", "0") == costs_of("", "0", "0") == Costs()
    assert costs_of("taker=0.001,maker=-0.0005", "0.01", "0.002") == Costs(
        taker=Decimal("0.001"), maker=Decimal("-0.0005"), spread=Decimal("0.01"), slippage=Decimal("0.002")
    )
    assert costs_of("maker=0.001", "0", "0") == Costs(maker=Decimal("0.001"))
    assert costs_of(None, "0", "0", "0.002") == Costs(taker=Decimal("0.002"), maker=Decimal("0.002"))


@pytest.mark.parametrize(
    ("fee", "spread", "slippage", "commission"),
    [
        ("0.1", "0", "0", None),
        ("taker=0.1,taker=0.2", "0", "0", None),
        ("broker=0.1", "0", "0", None),
        ("taker=1", "0", "0", None),
        ("taker=-1", "0", "0", None),
        ("taker=NaN", "0", "0", None),
        ("taker=0.1", "0", "0", "0.1"),
        (None, "0", "0", "-0.1"),
        (None, "1", "0", None),
        (None, "-0.1", "0", None),
        (None, "0", "2", None),
        (None, "0", "much", None),
    ],
)
def test_what_are_no_costs(fee: str | None, spread: str, slippage: str, commission: str | None) -> None:
    with pytest.raises(typer.BadParameter):
        costs_of(fee, spread, slippage, commission)
