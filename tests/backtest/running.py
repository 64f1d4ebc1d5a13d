"""Short ways to run a backtest in a test."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from foldbook.backtest.result import Result
from foldbook.backtest.run import Job, run
from foldbook.venue.orders import Costs


def job(strategy: str, *data: str, **fields: Any) -> Job:
    """``strategy``: a class of ``tests.backtest.scripted``. ``data``: FILE:SYMBOL; FILE: if the file says it."""
    files = tuple((path, symbol or None) for path, _, symbol in (text.rpartition(":") for text in data))
    given: dict[str, Any] = {"account": "a/b/backtest", "cash": Decimal(10000), "costs": Costs(), **fields}
    return Job(strategy=f"tests.backtest.scripted:{strategy}", data=files, **given)


def backtest(strategy: str, *data: str, parameters: dict[str, str] | None = None, **fields: Any) -> Result:
    return run(job(strategy, *data, **fields), parameters or {})
