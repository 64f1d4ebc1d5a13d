"""README's table of measured figures is what the program makes of the committed results."""

from __future__ import annotations

import msgspec
import pytest

from bench.readme import BEGIN, END, README, read_report, render, update
from bench.table import Row


def test_readme_shows_the_committed_results() -> None:
    readme = README.read_text()
    assert readme == update(readme, render(read_report())), "run python -m bench.readme"


def test_only_what_stands_between_the_markers_changes() -> None:
    assert update(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"


def test_a_readme_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="markers"):
        update(f"a\n{END}\n", "new")


def test_a_row_shows_figure_range_and_targets_or_why_there_is_none() -> None:
    rows = [
        Row(what="bus ÷ pgbench", value=0.8123, low=0.7, high=0.9, must=0.65, aim=1.0),
        Row(what="latency", value=30.0, unit="ms", must=12, is_cost=True),
        Row(what="÷ Axon", value=None, must=1, detail="not measured: java not found on this machine"),
    ]
    table = render(msgspec.structs.replace(read_report(), rows=rows))
    assert "| bus ÷ pgbench | 0.812 (0.7 to 0.9) | 0.65 | 1 |" in table
    assert "| latency | 30 ms | 12 |  |" in table
    assert "| ÷ Axon | not measured: java not found on this machine | 1 |  |" in table
    assert "Below its must: latency." in table
