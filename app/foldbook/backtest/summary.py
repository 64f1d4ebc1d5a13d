"""A result in short: a table for the terminal, and the one object of ``--json``."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
from rich.table import Table

from foldbook.backtest.result import Result
from foldbook.backtest.statistics import Statistics, statistics_of, thinned
from foldbook.trading.values import canonical


def document(result: Result) -> dict[str, Any]:
    """``result`` and its figures, ready for JSON: amounts are strings in plain notation, percentages and ratios are
    numbers, times are RFC 3339 in UTC. ``equity`` has at most 1,000 points, the extremes among them."""
    figures = statistics_of(result)
    return {
        **_plain(result),
        "equity": [[_plain(time), _plain(value)] for time, value in thinned(result.equity)],
        "pnl": _plain(figures.pnl),
        "turnover": _plain(figures.turnover),
        "return_pct": _number(figures.return_pct),
        "max_drawdown_pct": _number(figures.max_drawdown_pct),
        "win_rate_pct": _number(figures.win_rate_pct),
        "exposure_pct": _number(figures.exposure_pct),
        "sharpe": figures.sharpe,
        "sortino": figures.sortino,
    }


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return format(canonical(value), "f")
        case StrEnum():
            return value.value
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case msgspec.Struct():
            return {name: _plain(getattr(value, name)) for name in value.__struct_fields__ if name != "equity"}
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
    return value


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def rows(result: Result, figures: Statistics) -> list[tuple[str, str]]:
    """The name and the value of each figure, for people."""
    return [
        ("orders", f"{result.orders:,}" + (f" ({result.denied:,} denied)" if result.denied else "")),
        ("fills", f"{len(result.fills):,}"),
        ("round trips", f"{len(result.round_trips):,}"),
        ("PnL", amount(figures.pnl)),
        ("fees", amount(result.fees)),
        ("final equity", amount(result.final_equity)),
        ("return", percentage(figures.return_pct)),
        ("max drawdown", percentage(figures.max_drawdown_pct)),
        ("Sharpe", ratio(figures.sharpe)),
        ("Sortino", ratio(figures.sortino)),
        ("win rate", percentage(figures.win_rate_pct)),
        ("exposure", percentage(figures.exposure_pct)),
        ("turnover", amount(figures.turnover)),
    ]


def table(result: Result) -> Table:
    """The figures, and what identifies the run, as a table for rich."""
    found = Table(box=None, pad_edge=False, show_header=False)
    found.add_column()
    found.add_column(justify="right", overflow="fold")
    for name, value in rows(result, statistics_of(result)):
        found.add_row(name, value)
    found.add_row("stream hash", result.stream_hash)
    return found


def amount(value: Decimal) -> str:
    """An amount for people: rounded to 2 digits after the point, or to 6 significant digits if it is smaller than 1."""
    if value and abs(value) < 1:
        return format(Decimal(f"{value:.6g}"), "f")
    return f"{value:,.2f}"


def percentage(value: Decimal | None) -> str:
    """Rounded to 2 digits after the point, with a percent sign; ``-`` if it is not defined."""
    return "-" if value is None else f"{value:,.2f} %"


def ratio(value: float | None) -> str:
    """Rounded to 2 digits after the point; ``-`` if it is not defined."""
    return "-" if value is None else f"{value:,.2f}"
