"""``foldbook backtest``: a strategy on market data, with the real decider, gateway and venue."""

from __future__ import annotations

import re
import sys
import time
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from foldbook.backtest.report import html
from foldbook.backtest.result import Result
from foldbook.backtest.run import Job, Prices, run, times_of
from foldbook.backtest.summary import document, table
from foldbook.backtest.sweep import (
    Outcome,
    caution,
    combinations,
    parse_sweep,
    ranked,
    run_sweep,
    run_walk_forward,
    table_rows,
    walk_forward,
)
from foldbook.cli.exits import Exit
from foldbook.cli.options import costs_of, file_of, number_of, pair_of
from foldbook.cli.terminal import WIDTH_WITHOUT_TERMINAL, Json, print_json, print_rows, read_settings
from foldbook.engine.console import tell
from foldbook.market.records import ns_of
from foldbook.venue.orders import Path as BarPath

LISTED_MAX = 20
"""Combinations of a sweep that are listed."""

_LATENCY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ns|us|ms|s)")
_LATENCY_UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


def backtest(
    strategy: Annotated[str, typer.Argument(help="FILE.py:CLASS or package.module:CLASS")],
    data: Annotated[
        list[str], typer.Option(help="FILE[:SYMBOL]; may be repeated. docs/market-data.md has the formats.")
    ],
    account: Annotated[str | None, typer.Option(help="By default backtest/CLASS/backtest.")] = None,
    cash: Annotated[str, typer.Option(help="What the account begins with.")] = "10000",
    fee: Annotated[str | None, typer.Option(help="taker=0.001,maker=0.0005: fractions of the money.")] = None,
    commission: Annotated[str | None, typer.Option(help="One fee for both.")] = None,
    spread: Annotated[str, typer.Option(help="How much worse than the price of a bar or trade, as a fraction.")] = "0",
    slippage: Annotated[str, typer.Option(help="How much worse than the price, as a fraction.")] = "0",
    latency: Annotated[str, typer.Option(help="To the venue, and back: 5ms, 250us, 1s.")] = "0ms",
    path: Annotated[BarPath, typer.Option(help="How the price moves within a bar.")] = BarPath.ADVERSE,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the strategy; may be repeated.")] = None,
    close_at_end: Annotated[
        bool, typer.Option("--close-at-end", help="Close what is held at the open of the last bar, or the last price.")
    ] = False,
    store: Annotated[str, typer.Option(help="memory, or postgres: the account stays in the log.")] = "memory",
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Count bad rows instead of ending.")] = False,
    sweep: Annotated[list[str] | None, typer.Option(help="NAME=5..20, 5..20..5 or 5,10,20; may be repeated.")] = None,
    rank: Annotated[str, typer.Option(help="What a sweep is ranked by.")] = "sharpe",
    walk: Annotated[
        int | None, typer.Option("--walk-forward", help="Choose and test on so many parts of the data.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page of HTML.")] = None,
    as_json: Json = False,
) -> None:
    """Run a strategy on market data.

    The decider, the gateway's decisions and the venue's matching are the real ones; only the clock is that of the data.
    The same run gives the same stream of events, whose hash is printed.
    """
    if store not in ("memory", "postgres"):
        raise typer.BadParameter("is memory or postgres", param_hint="--store")
    parameters = dict(pair_of("--param", text) for text in param or ())
    settings = read_settings() if store == "postgres" else None
    job = Job(
        strategy=strategy,
        data=tuple(file_of(text) for text in data),
        account=account or f"backtest/{strategy.rpartition(':')[2] or 'strategy'}/backtest",
        cash=number_of("--cash", cash),
        costs=costs_of(fee, spread, slippage, commission),
        path=path,
        latency_ns=_latency(latency),
        closes_at_end=close_at_end,
        skip_bad_rows=skip_bad_rows,
        database=None if settings is None else (settings.dsn, settings.shards),
    )
    if sweep:
        _sweep(job, parameters, sweep, rank, walk, as_json=as_json)
        return
    if walk is not None:
        raise typer.BadParameter("needs --sweep: there is nothing to choose from", param_hint="--walk-forward")
    with _Bar() as bar:
        prices: Prices = {}
        result = run(job, parameters, bar.read, prices)
    if report is not None:
        report.write_text(html(result, prices))
    if as_json:
        print_json(document(result))
    else:
        _show(result)
        if report is not None:
            print(f"report        {report}")
    if result.error is not None:
        tell(f"the strategy was stopped: {result.error}")
        raise typer.Exit(Exit.FAILED)


def _show(result: Result) -> None:
    Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL).print(table(result))
    for info in result.data:
        for note in info.notes:
            tell(f"{info.path}: {note}")
        if info.bad_rows:
            tell(f"{info.path}: {info.bad_rows} bad rows were skipped")


# -- sweeps ------------------------------------------------------------------------------------------------------


def _sweep(
    job: Job, parameters: dict[str, str], texts: list[str], rank: str, walk: int | None, *, as_json: bool
) -> None:
    if job.database is not None:
        raise typer.BadParameter("a sweep stays in memory", param_hint="--store")
    tried = combinations([parse_sweep(text) for text in texts])
    with _Bar() as bar:
        if walk is None:
            outcomes = ranked(run_sweep(partial(run_with, job, parameters), tried, progress=bar.counted), rank)
        else:
            _walk(job, parameters, tried, rank, walk, bar, as_json=as_json)
            return
    if as_json:
        print_json({"tried": len(tried), "rank": rank, "outcomes": [_plain(outcome) for outcome in outcomes]})
        return
    listed = table_rows(outcomes[:LISTED_MAX])
    print_rows(listed, list(listed[0]))
    print(caution(len(tried)))


def run_with(job: Job, fixed: dict[str, str], parameters: dict[str, str]) -> Result:
    """One run of a sweep: the parameters that are tried, beside those that are fixed."""
    return run(job, {**fixed, **parameters})


def _walk(
    job: Job, parameters: dict[str, str], tried: list[dict[str, str]], rank: str, n: int, bar: _Bar, *, as_json: bool
) -> None:
    def between(first: datetime, last: datetime) -> partial[Result]:
        part = Job(**{**{name: getattr(job, name) for name in job.__struct_fields__}, "span_ns": _span(first, last)})
        return partial(run_with, part, parameters)

    splits = walk_forward(n, times_of(job))
    steps = run_walk_forward(between, tried, splits, rank, progress=bar.counted)
    bar.stop()
    if as_json:
        print_json(
            [
                {
                    "train": [str(step.split.train_from), str(step.split.train_to)],
                    "test": [str(step.split.test_from), str(step.split.test_to)],
                    "tried": step.tried,
                    "trained": _plain(step.trained),
                    "tested": _plain(step.tested),
                }
                for step in steps
            ]
        )
        return
    rows = []
    for step in steps:
        (trained,), (tested,) = table_rows([step.trained]), table_rows([step.tested])
        rows.append({"tested from": f"{step.split.test_from:%Y-%m-%d}", "to": f"{step.split.test_to:%Y-%m-%d}"} | {
            **step.trained.parameters, "chosen at": trained["return"], "then": tested["return"],
            "max drawdown": tested["max drawdown"], "Sharpe": tested["Sharpe"],
        })  # fmt: skip
    print_rows(rows, list(rows[0]))
    print(caution(len(tried) * len(splits)))


def _span(first: datetime, last: datetime) -> tuple[int, int]:
    return ns_of(first), ns_of(last) + 1_000


def _plain(outcome: Outcome) -> dict[str, object]:
    figures = outcome.statistics
    return {
        "parameters": outcome.parameters,
        "final_equity": f"{outcome.final_equity:f}",
        "fees": f"{outcome.fees:f}",
        "round_trips": outcome.round_trips,
        "error": outcome.error,
        **{
            name: None if (value := getattr(figures, name)) is None else float(value)
            for name in figures.__struct_fields__
        },
    }


# -- options -----------------------------------------------------------------------------------------------------


def _latency(text: str) -> int:
    match = _LATENCY.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not like 5ms, 250us or 1s", param_hint="--latency")
    number, unit = match.groups()
    return int(Decimal(number) * _LATENCY_UNITS_NS[unit])


# -- progress ----------------------------------------------------------------------------------------------------


class _Bar:
    """How far it is, on standard error: a bar on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[what]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )

    def __enter__(self) -> _Bar:
        if self._bar.console.is_terminal:
            self._bar.start()
            self._task = self._bar.add_task("backtest", total=1.0, what="")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._bar.stop()

    def read(self, moments: int, read: float) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=read, what=f"{moments:,} moments")

    def counted(self, done: int, total: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done / total, what=f"{done:,} of {total:,} combinations")
