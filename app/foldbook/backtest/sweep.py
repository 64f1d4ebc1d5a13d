"""The same backtest with many parameters, on all cores, and what that proves: the best of a thousand is no finding."""

from __future__ import annotations

import itertools
import math
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from decimal import Decimal
from multiprocessing import get_context
from typing import Any

import msgspec

from foldbook.backtest.result import Result
from foldbook.backtest.statistics import Statistics, statistics_of
from foldbook.backtest.summary import amount, percentage, ratio
from foldbook.errors import FoldbookError
from foldbook.trading.values import canonical

COMBINATIONS_MAX = 100_000
AHEAD = 4
"""Combinations that wait for each process, so that none is idle and few are held in memory."""

Parameters = dict[str, str]
Job = Callable[[Parameters], Result]
"""Runs one backtest with these parameters, beside those that it has. It travels to other processes: it must be a
function of a module, or a ``functools.partial`` of one with arguments that can be pickled."""

ToldProgress = Callable[[int, int], None]
"""Told how many combinations are done, and of how many."""

LESS_IS_BETTER = frozenset({"turnover", "exposure_pct", "fees"})
COLUMNS = (*Statistics.__struct_fields__, "final_equity", "fees", "round_trips")
"""What a sweep can be ranked by."""


class SweepError(FoldbookError, code="sweep", status=422, title="The sweep cannot be run"):
    """A sweep cannot be run; the text says what to do."""


class Sweep(msgspec.Struct, frozen=True):
    """A parameter and the values to try."""

    name: str
    values: Sequence[str]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one backtest of a sweep. ``error``: why the strategy was stopped, None if it was not."""

    parameters: Parameters
    statistics: Statistics
    final_equity: Decimal
    fees: Decimal
    round_trips: int
    error: str | None

    def column(self, name: str) -> Decimal | float | int | None:
        """The value of one of ``COLUMNS``; None if it is not defined."""
        holder = self.statistics if name in Statistics.__struct_fields__ else self
        value: Decimal | float | int | None = getattr(holder, name)
        return value


# -- what is tried -------------------------------------------------------------------------------------------------


def parse_sweep(text: str) -> Sweep:
    """``fast=5,10,20`` are these values, ``fast=5..20`` every whole step from 5 to 20, both included, and
    ``fast=5..20..5`` steps of 5; ranges and values may be mixed. Raises ``SweepError``."""
    name, equals, tried = text.partition("=")
    if not (equals and name.isidentifier() and tried):
        raise SweepError(f"--sweep {text}: write it as fast=5,10,20 or fast=5..20 or fast=5..20..5")
    values: dict[str, None] = {}
    for part in tried.split(","):
        values.update(dict.fromkeys(_stepped(text, part) if ".." in part else [part]))
    if "" in values:
        raise SweepError(f"--sweep {text}: there is an empty value; remove the comma")
    return Sweep(name, list(values))


def _stepped(text: str, part: str) -> list[str]:
    bounds = part.split("..")
    try:
        first, last, step = (Decimal(bound) for bound in (bounds if len(bounds) != 2 else [*bounds, "1"]))
        if step <= 0 or last < first:
            raise SweepError(f"--sweep {text}: {part} must go up, from a number to a larger one, in steps above 0")
        if (last - first) / step >= COMBINATIONS_MAX:
            raise SweepError(f"--sweep {text}: {part} has more than {COMBINATIONS_MAX:,} values; take larger steps")
        return [format(canonical(first + number * step), "f") for number in range(int((last - first) // step) + 1)]
    except (ArithmeticError, ValueError):
        raise SweepError(f"--sweep {text}: {part} must be first..last or first..last..step, in numbers") from None


def combinations(sweeps: Sequence[Sweep]) -> list[Parameters]:
    """Every combination of the values, the last parameter changing fastest. At most 100,000; more, or a parameter that
    is given twice, raises ``SweepError``."""
    names = [sweep.name for sweep in sweeps]
    if len(set(names)) < len(names):
        raise SweepError(f"a parameter is swept twice: {', '.join(names)}; give all of its values in one --sweep")
    if (count := math.prod(len(sweep.values) for sweep in sweeps)) > COMBINATIONS_MAX:
        raise SweepError(f"{count:,} combinations are more than {COMBINATIONS_MAX:,}; try fewer values")
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(each.values for each in sweeps))]


# -- trying it -----------------------------------------------------------------------------------------------------


def run_sweep(
    job: Job, tried: Sequence[Parameters], processes: int | None = None, progress: ToldProgress | None = None
) -> list[Outcome]:
    """Run ``job`` with each of ``tried``; the outcomes are in that order, whichever was done first.

    ``processes``: as many as there are cores if it is None; with 1, everything runs in this process. The first job that
    raises ends the sweep with ``SweepError``, which names its parameters. A strategy that raises is an outcome with an
    ``error``.
    """
    if processes is None:
        processes = min(cores(), len(tried))
    if processes <= 1:
        return list(_counted((_answer(_attempt(job, each), each) for each in tried), len(tried), progress))
    try:
        pickled = pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SweepError(f"the job cannot be sent to other processes: {error}; use one process") from error
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_receive_job, initargs=(pickled,))
    try:
        found = dict(_counted(_in_parallel(pool, tried, processes * AHEAD), len(tried), progress))
    except BrokenProcessPool as error:
        raise SweepError("a process of the sweep died; if memory is short, use fewer processes") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return [found[number] for number in range(len(tried))]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_parallel(pool: ProcessPoolExecutor, tried: Sequence[Parameters], ahead: int) -> Iterator[tuple[int, Outcome]]:
    waiting = iter(enumerate(tried))
    running: dict[Future[Outcome | str], int] = {}
    while True:
        for number, parameters in itertools.islice(waiting, ahead - len(running)):
            running[pool.submit(_attempt_received, parameters)] = number
        if not running:
            return
        for done in wait(running, return_when=FIRST_COMPLETED).done:
            number = running.pop(done)
            yield number, _answer(done.result(), tried[number])


def _counted(found: Iterable[Any], total: int, progress: ToldProgress | None) -> Iterator[Any]:
    for done, each in enumerate(found, 1):
        if progress is not None:
            progress(done, total)
        yield each


_received: list[Job] = []
"""The job of this process, which was sent once instead of with every combination."""


def _receive_job(pickled: bytes) -> None:
    # Ctrl-C reaches every process of the terminal: this one ends without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _received[:] = [pickle.loads(pickled)]  # noqa: S301 - it comes from the parent process


def _attempt_received(parameters: Parameters) -> Outcome | str:
    return _attempt(_received[0], parameters)


def _attempt(job: Job, parameters: Parameters) -> Outcome | str:
    """The outcome, or what was raised, as text: not every exception survives the way to another process."""
    try:
        result = job(parameters)
    except Exception as error:
        return str(error) if isinstance(error, FoldbookError) else f"{type(error).__name__}: {error}"
    return Outcome(
        parameters=parameters,
        statistics=statistics_of(result),
        final_equity=result.final_equity,
        fees=result.fees,
        round_trips=len(result.round_trips),
        error=result.error,
    )


def _answer(answer: Outcome | str, parameters: Parameters) -> Outcome:
    if isinstance(answer, str):
        raise SweepError(f"{_written(parameters)}: {answer}")
    return answer


def _written(parameters: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in parameters.items())


# -- what came of it -----------------------------------------------------------------------------------------------


def ranked(outcomes: Iterable[Outcome], column: str) -> list[Outcome]:
    """The best first: the highest ``column``, or the lowest of one of which less is better. Strategies that were
    stopped, and then those whose ``column`` is not defined, are last. Equal ones keep their order. An unknown column
    raises ``SweepError``."""
    if column not in COLUMNS:
        raise SweepError(f"unknown column {column}; the known ones are {', '.join(COLUMNS)}")
    sign = 1 if column in LESS_IS_BETTER else -1

    def key(outcome: Outcome) -> tuple[bool, bool, Decimal | float | int]:
        value = outcome.column(column)
        return value is None, outcome.error is not None, 0 if value is None else sign * value

    return sorted(outcomes, key=key)


def table_rows(outcomes: Iterable[Outcome]) -> list[dict[str, str]]:
    """The outcomes for people, in their order: a column for each parameter, and the figures that matter."""
    return [
        {
            **each.parameters,
            "return": percentage(each.statistics.return_pct),
            "max drawdown": percentage(each.statistics.max_drawdown_pct),
            "Sharpe": ratio(each.statistics.sharpe),
            "Sortino": ratio(each.statistics.sortino),
            "win rate": percentage(each.statistics.win_rate_pct),
            "round trips": f"{each.round_trips:,}",
            "fees": amount(each.fees),
            "final equity": amount(each.final_equity),
            "error": each.error or "",
        }
        for each in outcomes
    ]


def caution(tried: int) -> str:
    """What to say below a ranking."""
    return (
        f"{tried:,} combinations tried. The best of many is good by luck, too: "
        "test it on data that had no part in choosing it, with --walk-forward."
    )


# -- walk forward --------------------------------------------------------------------------------------------------


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters are chosen on the data from ``train_from`` to ``train_to``, and tested on what follows, from
    ``test_from`` to ``test_to``. All four belong to their part."""

    train_from: datetime
    train_to: datetime
    test_from: datetime
    test_to: datetime


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a walk forward: the best of ``tried`` combinations on the training data, and what the same parameters
    gave on the data after it."""

    split: Split
    tried: int
    trained: Outcome
    tested: Outcome


def walk_forward(n: int, times: Sequence[datetime]) -> list[Split]:
    """Cut the data into n + 1 parts with equally many different times: each but the first is tested, and all before it
    are trained on. ``times`` are those of the data, in order. Raises ``SweepError`` if they are too few."""
    distinct = [time for time, _ in itertools.groupby(times)]
    if n < 1 or len(distinct) < 2 * (n + 1):
        raise SweepError(f"{len(distinct)} times cannot be split for {n} tests; each of {n + 1} parts needs at least 2")
    starts = [part * len(distinct) // (n + 1) for part in range(n + 2)]
    return [
        Split(
            train_from=distinct[0],
            train_to=distinct[start - 1],
            test_from=distinct[start],
            test_to=distinct[end - 1],
        )
        for start, end in itertools.pairwise(starts[1:])
    ]


def run_walk_forward(
    job_between: Callable[[datetime, datetime], Job],
    tried: Sequence[Parameters],
    splits: Sequence[Split],
    column: str,
    processes: int | None = None,
    progress: ToldProgress | None = None,
) -> list[Step]:
    """For each split, sweep its training data, and run the best by ``column`` on the data after it.

    ``job_between(first, last)`` is the job on the data from ``first`` to ``last``, both included. ``progress`` counts
    the combinations of all splits.
    """
    steps: list[Step] = []
    for split in splits:

        def told(done: int, _: int, before: int = len(steps) * len(tried)) -> None:
            if progress is not None:
                progress(before + done, len(splits) * len(tried))

        outcomes = run_sweep(job_between(split.train_from, split.train_to), tried, processes, told)
        best = ranked(outcomes, column)[0]
        job = job_between(split.test_from, split.test_to)
        (tested,) = run_sweep(job, [best.parameters], processes=1)
        steps.append(Step(split=split, tried=len(tried), trained=best, tested=tested))
    return steps
