"""The arithmetic of the benchmark's table. What it measures is not tested: it depends on the machine."""

from __future__ import annotations

import msgspec
import pytest

from bench.table import Report, Row, Slice, Verdict, format_table
from bench.targets import Target


def test_a_ratio_is_of_medians_and_its_range_of_rounds() -> None:
    row = Target(must=1).quotient("", [10.0, 30.0, 20.0], [10.0, 10.0, 5.0])
    assert (row.value, row.low, row.high) == (2.0, 1.0, 4.0)


def test_rounds_that_do_not_pair_up_make_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Target().quotient("", [1.0, 2.0], [1.0])


def test_a_rate_is_per_second() -> None:
    assert Slice(count=300, seconds=1.5).rate == 200


@pytest.mark.parametrize(
    ("value", "is_cost", "verdict"),
    [
        (1.0, False, Verdict.AIM),
        (0.99, False, Verdict.MUST),
        (0.65, False, Verdict.MUST),
        (0.64, False, Verdict.MISSED),
        (5.0, True, Verdict.AIM),
        (10.0, True, Verdict.MUST),
        (10.1, True, Verdict.MISSED),
    ],
)
def test_a_figure_is_judged_by_its_targets(value: float, is_cost: bool, verdict: Verdict) -> None:
    must, aim = (10.0, 5.0) if is_cost else (0.65, 1.0)
    assert Row(what="", value=value, must=must, aim=aim, is_cost=is_cost).verdict is verdict


def test_what_has_no_target_is_only_shown() -> None:
    assert Row(what="", value=0.0).verdict is Verdict.SHOWN


def test_a_row_keeps_its_target() -> None:
    row = Target(must=10, aim=5, unit="ms", is_cost=True).row("latency", [9.0, 4.0, 5.0])
    assert (row.value, row.low, row.high, row.verdict) == (5.0, 4.0, 9.0, Verdict.AIM)
    assert (row.must, row.aim, row.unit) == (10, 5, "ms")


def test_what_was_not_measured_says_why() -> None:
    row = Target(must=1, aim=2).not_measured("ours ÷ Axon", "java not found on this machine")
    assert row.verdict is Verdict.NOT_MEASURED
    assert "not measured: java not found on this machine" in format_table([row])


def test_the_table_lines_up() -> None:
    table = format_table(
        [
            Row(what="bus ÷ pgbench", value=0.8123, low=0.7, high=0.9, must=0.65, aim=1.0),
            Row(what="rebuild", value=210_000.4, unit="events/s", must=150_000),
        ]
    )
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "| 0.812 " in lines[2] and "| 0.7 - 0.9 " in lines[2] and "| reaches the must |" in lines[2]
    assert "| 210,000 events/s |" in lines[3] and "| 150,000 |" in lines[3] and "| reaches the must |" in lines[3]


def test_the_report_says_the_verdict_and_no_more_digits_than_mean_something() -> None:
    report = Report(
        started_at="2026-01-02T03:04:05+00:00",
        seconds=1.23456789,
        machine={},
        settings={},
        sizes={"rounds": 5},
        rows=[Row(what="bus", value=0.123456789, must=0.1)],
        slices={"bus": [1234.5678]},
    )
    written = msgspec.json.decode(report.to_json())
    assert written["rows"][0]["verdict"] == "reaches the must"
    assert written["rows"][0]["value"] == 0.12346
    assert written["slices"] == {"bus": [1234.6]}
