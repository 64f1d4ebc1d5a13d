"""Files of market data for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

Ohlc = tuple[str, str, str, str]


def bars(folder: Path, rows: Sequence[Ohlc], name: str = "X") -> str:
    """Daily bars from 2026-01-01 on."""
    path = folder / f"{name}.csv"
    lines = ["Date,Open,High,Low,Close,Volume"]
    lines += [f"2026-01-{day:02},{','.join(row)},1000" for day, row in enumerate(rows, 1)]
    path.write_text("\n".join(lines) + "\n")
    return f"{path}:{name}"


def timed_bars(folder: Path, rows: Sequence[tuple[str, str]], name: str = "X") -> str:
    """Bars of an hour by the day and hour of their opens, ``05 14:00``, and their prices, ``open,high,low,close``."""
    path = folder / f"{name}.csv"
    lines = ["Date,Open,High,Low,Close"]
    lines += [f"2026-01-{time},{prices}" for time, prices in rows]
    path.write_text("\n".join(lines) + "\n")
    return f"{path}:{name}"


def minutes(folder: Path, rows: Sequence[tuple[int, str, str]], name: str = "") -> str:
    """Rows of foldbook's format by the minute of their close, symbol and prices; in a file of their own if named."""
    path = folder / f"{name or 'several'}.csv"
    kept = [row for row in rows if name in ("", row[1])]
    lines = [f"time,open,high,low,close{'' if name else ',symbol'}"]
    for minute, symbol, prices in kept:
        time = f"2026-01-05T{9 + minute // 60:02}:{minute % 60:02}:00Z"
        lines.append(f"{time},{prices}{'' if name else f',{symbol}'}")
    path.write_text("\n".join(lines) + "\n")
    return f"{path}:{name}"


def quotes(folder: Path, rows: Sequence[tuple[str, str, str, str, str]], name: str = "Y") -> str:
    """time, bid, ask, bid_size, ask_size"""
    path = folder / f"{name}.csv"
    lines = ["time,bid,ask,bid_size,ask_size", *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return f"{path}:{name}"


def trades(folder: Path, rows: Sequence[tuple[str, str, str]], name: str = "X") -> str:
    """time, price, size"""
    path = folder / f"{name}.csv"
    lines = ["time,price,size,aggressor", *(",".join((*row, "")) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return f"{path}:{name}"
