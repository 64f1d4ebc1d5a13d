"""What a measurement yields, and how its figures are judged and printed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One short run of one contestant."""

    count: int
    """Commands, transactions or events done."""
    seconds: float
    cpu_share: float | None = None
    """Of one core, by the process that offered the load; for the bus, the bus and its callers."""
    is_refused: bool = False
    """The offered load was more than could be done: it ended when the queue was full."""

    @property
    def rate(self) -> float:
        return self.count / self.seconds


class Verdict(StrEnum):
    """How a figure compares with its targets."""

    AIM = "reaches the aim"
    MUST = "reaches the must"
    MISSED = "MISSED"
    SHOWN = ""
    NOT_MEASURED = "not measured"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table: a figure, the range of its rounds, and its targets.

    ``is_cost``: less is better. Without a ``must`` the figure is for information only; without a ``value`` the
    ``detail`` says why nothing was measured.
    """

    what: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = "x"
    must: float | None = None
    aim: float | None = None
    is_cost: bool = False
    detail: str = ""

    @property
    def verdict(self) -> Verdict:
        if self.value is None:
            return Verdict.NOT_MEASURED
        if self.must is None:
            return Verdict.SHOWN
        sign = -1 if self.is_cost else 1
        if self.aim is not None and sign * self.value >= sign * self.aim:
            return Verdict.AIM
        return Verdict.MUST if sign * self.value >= sign * self.must else Verdict.MISSED


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


def figure(value: float | None, unit: str = "x") -> str:
    """Three digits, which is more than most of these figures are good for; nothing for None."""
    if value is None:
        return ""
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}") + ("" if unit == "x" else f" {unit}")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        figure(row.value, row.unit),
        "" if row.low is None else f"{figure(row.low)} - {figure(row.high)}",
        figure(row.must),
        figure(row.aim),
        row.verdict.value,
        row.detail,
    )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All results of a run; ``bench/results/latest.json`` is its JSON.

    ``started_at`` is a time in RFC 3339, ``version`` Foldbook's, ``part_seconds`` how long each part took.
    """

    started_at: str
    version: str = ""
    seconds: float
    part_seconds: dict[str, float] = {}
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
