"""A sweep tries what it was told, on all cores, and ranks it."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import msgspec
import pytest

from foldbook.backtest.result import Result
from foldbook.backtest.statistics import statistics_of
from foldbook.backtest.sweep import (
    COLUMNS,
    LESS_IS_BETTER,
    Outcome,
    Parameters,
    Split,
    Sweep,
    SweepError,
    caution,
    combinations,
    parse_sweep,
    ranked,
    run_sweep,
    run_walk_forward,
    table_rows,
    walk_forward,
)
from tests.backtest.results import DAY, START, equity, fill, result


def job(parameters: Parameters, refused: str = "") -> Result:
    """Earns ``fast`` and loses ``slow``. Raises for ``fast`` = ``refused``."""
    fast, slow = (int(parameters.get(name, 0)) for name in ("fast", "slow"))
    if parameters.get("fast") == refused:
        raise UncommonError(fast, "is refused")
    final = 1000 + fast - slow
    return result([fill("BUY", "1", "1", fee="2")], equity(1000, final), parameters=parameters)


class UncommonError(Exception):
    """Cannot be pickled and read again: it is made from two arguments, and keeps one."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{number} {text}")


def dying(parameters: Parameters) -> Result:
    os.kill(os.getpid(), signal.SIGKILL)
    return job(parameters)


def stopped(parameters: Parameters) -> Result:
    return msgspec.structs.replace(job(parameters), error="ValueError: no")


# -- what is tried -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fast=5..8", ["5", "6", "7", "8"]),
        ("fast=5..20..5", ["5", "10", "15", "20"]),
        ("fast=5..19..5", ["5", "10", "15"]),
        ("fast=-1..1", ["-1", "0", "1"]),
        ("fast=0.1..0.3..0.1", ["0.1", "0.2", "0.3"]),
        ("fast=1..2..0.5", ["1", "1.5", "2"]),
        ("fast=7..7", ["7"]),
        ("fast=5,10,20", ["5", "10", "20"]),
        ("fast=yes,no", ["yes", "no"]),
        ("fast=1..3,10,2", ["1", "2", "3", "10"]),
        ("fast=a=b", ["a=b"]),
    ],
)
def test_values_are_listed_or_stepped_through(text: str, values: list[str]) -> None:
    assert parse_sweep(text) == Sweep("fast", values)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fast", "write it as"),
        ("=5", "write it as"),
        ("fast=", "write it as"),
        ("fa st=5", "write it as"),
        ("fast=5,,6", "empty value"),
        ("fast=a..b", "in numbers"),
        ("fast=5..", "in numbers"),
        ("fast=1..2..3..4", "in numbers"),
        ("fast=nan..5", "in numbers"),
        ("fast=-inf..inf", "more than 100,000 values"),
        ("fast=20..5", "must go up"),
        ("fast=5..20..0", "must go up"),
        ("fast=5..20..-5", "must go up"),
        ("fast=1..100001", "more than 100,000 values"),
        ("fast=0..1..1e-30", "more than 100,000 values"),
    ],
)
def test_a_sweep_that_cannot_be_read_is_refused(text: str, told: str) -> None:
    with pytest.raises(SweepError, match=told) as caught:
        parse_sweep(text)
    assert caught.value.detail.startswith(f"--sweep {text}: ")


def test_every_combination_is_tried() -> None:
    assert combinations([Sweep("fast", ["1", "2"]), Sweep("slow", ["3", "4"])]) == [
        {"fast": "1", "slow": "3"},
        {"fast": "1", "slow": "4"},
        {"fast": "2", "slow": "3"},
        {"fast": "2", "slow": "4"},
    ]
    assert combinations([]) == [{}]


def test_too_many_combinations_are_refused() -> None:
    many = [parse_sweep(f"{name}=1..100") for name in "abc"]
    with pytest.raises(SweepError, match="1,000,000 combinations are more than 100,000"):
        combinations(many)
    assert len(combinations(many[:2])) == 10_000


def test_a_parameter_is_swept_once() -> None:
    with pytest.raises(SweepError, match="swept twice: fast, slow, fast"):
        combinations([Sweep(name, ["1"]) for name in ("fast", "slow", "fast")])


# -- trying it -----------------------------------------------------------------------------------------------------

TRIED = combinations([parse_sweep("fast=1..9"), parse_sweep("slow=0,5")])


def test_outcomes_come_in_the_order_of_the_combinations() -> None:
    told: list[tuple[int, int]] = []
    outcomes = run_sweep(job, TRIED, processes=1, progress=lambda done, total: told.append((done, total)))
    assert [each.parameters for each in outcomes] == TRIED
    assert [str(each.final_equity) for each in outcomes[:4]] == ["1001", "996", "1002", "997"]
    assert told == [(number, 18) for number in range(1, 19)]


def test_several_processes_find_what_one_finds() -> None:
    told: list[tuple[int, int]] = []
    outcomes = run_sweep(job, TRIED, processes=2, progress=lambda done, total: told.append((done, total)))
    assert outcomes == run_sweep(job, TRIED, processes=1)
    assert told == [(number, 18) for number in range(1, 19)]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_that_raises_ends_the_sweep(processes: int) -> None:
    with pytest.raises(SweepError, match=r"^fast=3 slow=0: UncommonError: 3 is refused$"):
        run_sweep(partial(job, refused="3"), TRIED[:5], processes)


def test_an_error_of_ours_is_told_without_its_class() -> None:
    def refusing(parameters: Parameters) -> Result:
        raise SweepError("no data")

    with pytest.raises(SweepError, match=r"^fast=1 slow=0: no data$"):
        run_sweep(refusing, TRIED, processes=1)


def test_a_process_that_dies_ends_the_sweep() -> None:
    with pytest.raises(SweepError, match="use fewer processes"):
        run_sweep(dying, TRIED, processes=2)


def test_a_job_that_cannot_travel_is_refused() -> None:
    with pytest.raises(SweepError, match="cannot be sent to other processes"):
        run_sweep(lambda parameters: job(parameters | {"slow": "1"}), TRIED, processes=2)


def test_a_strategy_that_was_stopped_is_an_outcome() -> None:
    (outcome,) = run_sweep(stopped, [{"fast": "1"}])
    assert outcome.error == "ValueError: no"


def test_nothing_to_try_is_nothing() -> None:
    assert run_sweep(job, []) == []


# -- what came of it -----------------------------------------------------------------------------------------------


def outcome(name: str, *values: int, fees: int = 0, error: str | None = None) -> Outcome:
    found = result(points=equity(*values))
    return Outcome(
        parameters={"name": name},
        statistics=statistics_of(found),
        final_equity=found.final_equity,
        fees=Decimal(fees),
        round_trips=len(values),
        error=error,
    )


OUTCOMES = [
    outcome("plain", 1000, 900, 1010, fees=3),
    outcome("stopped", 1000, 1500, 2000, fees=2, error="ValueError: no"),
    outcome("calm", 1000, fees=1),
    outcome("best", 1000, 990, 1100, fees=4),
    outcome("like best", 1000, 990, 1100, fees=4),
]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("return_pct", ["best", "like best", "plain", "calm", "stopped"]),
        ("final_equity", ["best", "like best", "plain", "calm", "stopped"]),
        ("max_drawdown_pct", ["calm", "best", "like best", "plain", "stopped"]),
        ("sharpe", ["best", "like best", "plain", "stopped", "calm"]),
        ("fees", ["calm", "plain", "best", "like best", "stopped"]),
        ("round_trips", ["plain", "best", "like best", "calm", "stopped"]),
    ],
)
def test_the_best_is_first(column: str, expected: list[str]) -> None:
    assert [each.parameters["name"] for each in ranked(OUTCOMES, column)] == expected


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_ranks(column: str) -> None:
    assert sorted(each.parameters["name"] for each in ranked(OUTCOMES, column)) == sorted(
        each.parameters["name"] for each in OUTCOMES
    )


def test_what_should_be_little_is_a_column() -> None:
    assert set(COLUMNS) >= LESS_IS_BETTER


def test_an_unknown_column_is_told_the_known_ones() -> None:
    with pytest.raises(SweepError, match=r"^unknown column luck; the known ones are pnl, .*, round_trips$"):
        ranked(OUTCOMES, "luck")


def test_rows_have_the_parameters_and_the_figures() -> None:
    (row,) = table_rows(OUTCOMES[1:2])
    assert row == {
        "name": "stopped",
        "return": "100.00 %",
        "max drawdown": "0.00 %",
        "Sharpe": row["Sharpe"],
        "Sortino": "-",
        "win rate": "-",
        "round trips": "3",
        "fees": "2.00",
        "final equity": "2,000.00",
        "error": "ValueError: no",
    }


def test_a_ranking_says_how_many_were_tried() -> None:
    assert caution(1250).startswith("1,250 combinations tried.")


# -- walk forward --------------------------------------------------------------------------------------------------


def split(*days: int) -> Split:
    train_from, train_to, test_from, test_to = (START + day * DAY for day in days)
    return Split(train_from=train_from, train_to=train_to, test_from=test_from, test_to=test_to)


def days_of(count: int) -> list[datetime]:
    return [START + day * DAY for day in range(count)]


def test_each_part_is_tested_with_all_before_it() -> None:
    assert walk_forward(3, days_of(8)) == [split(0, 1, 2, 3), split(0, 3, 4, 5), split(0, 5, 6, 7)]


def test_parts_are_nearly_equal() -> None:
    assert walk_forward(2, days_of(10)) == [split(0, 2, 3, 5), split(0, 5, 6, 9)]


def test_a_time_is_in_one_part() -> None:
    assert walk_forward(1, [time for time in days_of(4) for _ in range(3)]) == [split(0, 1, 2, 3)]


@pytest.mark.parametrize(("n", "count"), [(0, 100), (1, 3), (3, 7), (1, 0)])
def test_too_little_data_cannot_be_split(n: int, count: int) -> None:
    with pytest.raises(SweepError, match="cannot be split"):
        walk_forward(n, days_of(count))


def job_between(first: datetime, last: datetime) -> partial[Result]:
    return partial(windowed, first=first, last=last)


def windowed(parameters: Parameters, first: datetime, last: datetime) -> Result:
    """Earns ``fast`` a day; from the third day on, ``fast`` = 9 loses."""
    days = (last - first) / timedelta(days=1)
    earned = int(parameters["fast"]) * int(days)
    if parameters["fast"] == "9" and last >= START + 2 * DAY:
        earned = -earned
    return result(points=equity(1000, 1000 + earned), parameters=parameters)


def test_the_best_of_the_training_data_is_tested_on_what_follows() -> None:
    told: list[tuple[int, int]] = []
    tried = combinations([parse_sweep("fast=7..9")])
    steps = run_walk_forward(
        job_between,
        tried,
        walk_forward(2, days_of(6)),
        "return_pct",
        processes=1,
        progress=lambda done, total: told.append((done, total)),
    )
    # 9 is the best while it has not lost; on the first part after it, it does.
    assert [(step.trained.parameters["fast"], step.tested.parameters["fast"], step.tried) for step in steps] == [
        ("9", "9", 3),
        ("8", "8", 3),
    ]
    assert [str(step.trained.final_equity) for step in steps] == ["1009", "1024"]
    assert [str(step.tested.final_equity) for step in steps] == ["991", "1008"]
    assert told == [(number, 6) for number in range(1, 7)]
