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
