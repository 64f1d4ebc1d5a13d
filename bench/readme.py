"""README's table of measurements: ``python -m bench.readme`` generates it from ``results/latest.json``.

The table is between two marker comments, and nothing between them is written by hand. A test compares it with what
this program generates from the committed results.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.arena import ROOT
from bench.table import Report, Row, Verdict, figure

LATEST = Path(__file__).resolve().parent / "results" / "latest.json"
README = ROOT / "README.md"
BEGIN = "<!-- Made by python -m bench.readme from bench/results/latest.json: do not edit. -->"
END = "<!-- The end of what was made. -->"

_CALIBRATION = ("cpu", "cores", "memory", "filesystem", "fdatasync of 8 KiB", "200,000 additions in Python")


def read_report() -> Report:
    return msgspec.json.decode(LATEST.read_bytes(), type=Report)


def render(report: Report) -> str:
    """Markdown: where and when, the table, and what misses its must."""
    version = f"version {report.version}" if report.version else "version not recorded"
    machine = "; ".join(f"{name} {report.machine[name]}" for name in _CALIBRATION if name in report.machine)
    server, minutes = report.settings["server_version"], report.seconds / 60
    lines = [
        f"Measured on {report.started_at[:10]}, {version}, PostgreSQL {server}, in {minutes:.0f} minutes.",
        f"The machine: {machine}; load before {report.machine['load before']}.",
        "",
        "| what | measured (rounds) | must | aim |",
        "|---|---|---|---|",
        *map(_line, report.rows),
    ]
    if missed := [row.what for row in report.rows if row.verdict is Verdict.MISSED]:
        lines += ["", f"Below its must: {'; '.join(missed)}."]
    return "\n".join(lines)


def update(readme: str, table: str) -> str:
    """``readme`` with ``table`` between the markers. Raises ``ValueError`` if they are not there."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("README has lost the markers between which its table stands")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _line(row: Row) -> str:
    measured = figure(row.value, row.unit) or row.detail
    if row.low is not None:
        measured += f" ({figure(row.low)} to {figure(row.high)})"
    return f"| {row.what} | {measured} | {figure(row.must)} | {figure(row.aim)} |"


if __name__ == "__main__":
    README.write_text(update(README.read_text(), render(read_report())))
