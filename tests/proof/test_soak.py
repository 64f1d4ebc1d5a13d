"""What ``make soak`` makes of its stages."""

from __future__ import annotations

import time

import pytest

from tests.soak import Clock, Stage, endure_all, table


def holds(clock: Clock) -> None:
    while clock.goes_on:
        clock.done += 1


def breaks(clock: Clock) -> None:
    clock.done, clock.seen = 1, "7 commits"
    raise ValueError("a hole")


def takes_its_time(clock: Clock) -> None:
    clock.done = 1
    assert clock.deadline - time.monotonic() <= 1000 / 3, "its share of what is left by then"


def test_a_failure_is_reported_and_stops_no_other_stage(capsys: pytest.CaptureFixture[str]) -> None:
    stages = [Stage("first", 2, 1, breaks), Stage("second", 3, 1, takes_its_time), Stage("third", 4, 2, holds)]
    rows = endure_all(stages, time.monotonic() + 1000)
    assert [(row.cells()[1], row.cells()[-1]) for row in rows] == [
        ("1/2", "FAILED: ValueError"),
        ("1/3", "held, as long as it had time"),
        ("4/4", "held"),
    ]
    assert "ValueError: a hole" in capsys.readouterr().err
    header, rule, first, *_ = table([("what", "times"), *(row.cells()[:2] for row in rows)]).splitlines()
    assert (header, rule, first) == ("| what   | times |", "| ------ | ----- |", "| first  | 1/2   |")
