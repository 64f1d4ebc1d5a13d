"""What a measurement yields, how two of them make a ratio, and how the ratios are judged and printed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from statistics import median

import msgspec


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One short run of one contestant."""

    count: int
    """Commands, transactions or events done."""
    seconds: float
    cpu_share: float | None = None
    """Of one core, by the process that offered the load (with the bus: the bus too)."""

    @property
    def rate(self) -> float:
        return self.count / self.seconds


class Verdict(StrEnum):
    """How a figure stands to its targets."""

    AIM = "reaches the aim"
    MUST = "reaches the must"
    MISSED = "MISSED"
    SHOWN = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table: a figure, how far its rounds lie apart, and what it must and should be.

    ``is_cost``: less is better. No ``must``: for information.
    """

    what: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = "x"
    must: float | None = None
    aim: float | None = None
    is_cost: bool = False
    detail: str = ""

    @property
    def verdict(self) -> Verdict:
        if self.must is None:
            return Verdict.SHOWN
        sign = -1 if self.is_cost else 1
        if self.aim is not None and sign * self.value >= sign * self.aim:
            return Verdict.AIM
        return Verdict.MUST if sign * self.value >= sign * self.must else Verdict.MISSED


def ratio(ours: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Median of ``ours`` ÷ median of ``base``, and the least and the greatest ratio of any one round."""
    rounds = [mine / its for mine, its in zip(ours, base, strict=True)]
    return median(ours) / median(base), min(rounds), max(rounds)


def format_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table that also reads well as text."""
    head = ("what", "measured", "rounds", "must", "aim", "verdict", "detail")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (head, rule, *lines[1:])
    )


def _cells(row: Row) -> tuple[str, ...]:
    def figure(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

    def measure(value: float) -> str:
        return figure(value) + ("" if row.unit == "x" else f" {row.unit}")

    return (
        row.what,
        measure(row.value),
        "" if row.low is None else f"{figure(row.low)} - {figure(row.high)}",
        figure(row.must),
        figure(row.aim),
        row.verdict.value,
        row.detail,
    )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run has to say; its JSON is ``bench/results/latest.json``."""

    started_at: str
    seconds: float
    machine: dict[str, str]
    settings: dict[str, str]
    sizes: dict[str, float]
    rows: list[Row]
    slices: dict[str, list[float]]
    """Rates per second of every contestant, round by round."""

    def to_json(self) -> bytes:
        rows = [{**msgspec.to_builtins(row), "verdict": row.verdict.value} for row in self.rows]
        report = {**msgspec.to_builtins(self), "rows": rows}
        return msgspec.json.format(msgspec.json.encode(_rounded(report)), indent=2) + b"\n"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
