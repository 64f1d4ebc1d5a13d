"""Results to make statistics, reports and sweeps from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from foldbook.backtest.result import DataInfo, FillRow, Result
from foldbook.backtest.statistics import round_trips
from foldbook.trading.values import Side

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def fill(side: str, quantity: str, price: str, *, day: int = 0, fee: str = "0", symbol: str = "ABC") -> FillRow:
    return FillRow(
        time=START + day * DAY,
        symbol=symbol,
        side=Side(side),
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        order_id=f"o-{day}",
    )


def equity(*values: str | int, every: timedelta = DAY) -> list[tuple[datetime, Decimal]]:
    return [(START + number * every, Decimal(value)) for number, value in enumerate(values)]


def result(fills: Sequence[FillRow] = (), points: Sequence[tuple[datetime, Decimal]] = (), **fields: Any) -> Result:
    """A result that started with 1,000; what it ends with is the last of ``points``."""
    multipliers = fields.get("multipliers")
    final = points[-1][1] if points else Decimal(1000)
    given: dict[str, Any] = {
        "strategy": "sma_cross.py:SmaCross",
        "account": "alice/paper/backtest",
        "store": "memory",
        "parameters": {"fast": "10"},
        "data": [
            DataInfo(path="abc.csv", symbol="ABC", rows=3, sha256="ab" * 32, first=START, last=START + 2 * DAY),
        ],
        "data_hash": "cd" * 32,
        "stream_hash": "ef" * 32,
        "orders": len(fills),
        "start_cash": Decimal(1000),
        "cash": final,
        "final_equity": final,
        "fees": sum((each.fee for each in fills), Decimal(0)),
        "fills": fills,
        "round_trips": round_trips(fills, multipliers),
        "equity": points,
        "bars": len(points),
    }
    return Result(**(given | fields))
