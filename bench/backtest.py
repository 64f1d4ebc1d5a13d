"""How fast a backtest is: on ticks, with orders, against two other packages, into PostgreSQL, in a sweep; its memory.

Every turn is a process of its own, whose time begins when it has imported everything. All of them take turns, but the
run for the memory, which is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg

from bench.arena import run_child, tell
from bench.backtest_data import write_bars, write_quotes
from bench.backtest_load import Backtested, BacktestLoad
from bench.peer_backtests import BACKTESTING_PY, NAUTILUS, Package, Peer, PeerUnavailable
from bench.rounds import Contestant, Stage
from bench.table import Row, Slice
from bench.targets import (
    BACKTEST_MEMORY,
    BACKTEST_ORDERS,
    BACKTEST_ORDERS_BY_THE_CLOCK,
    BACKTEST_TO_POSTGRES,
    BY_BACKTEST_PEER,
    SWEEP,
    TICKS,
    TICKS_BY_THE_CLOCK,
)
from foldbook.backtest.sweep import cores

IDLE, QUOTES, BARS = "backtest, idle", "backtest, orders on quotes", "backtest, orders on bars"
POSTGRES = "backtest, PostgreSQL"
ONE, ALL = "sweep, one process", "sweep, all cores"
PEERS = (BACKTESTING_PY, NAUTILUS)
SWEEP_ROUNDS = 3


@dataclass
class Backtest:
    """One backtest a turn; ``counted`` is the field of ``Backtested`` that is counted."""

    load: BacktestLoad
    counted: str

    def run(self, _seconds: float) -> Slice:
        done = run_child("bench.backtest_load", self.load, Backtested)
        return Slice(count=getattr(done, self.counted), seconds=done.seconds, cpu_share=done.cpu_s / done.seconds)


@dataclass
class ToPostgres:
    """One backtest a turn, whose log goes into a database, each time as another account. Commands are counted there."""

    dsn: str
    file: Path
    _numbers: count[int] = field(default_factory=count)

    def run(self, _seconds: float) -> Slice:
        account = f"bench-{next(self._numbers)}/venue/backtest"
        load = BacktestLoad(strategy="OnQuotes", file=str(self.file), account=account, dsn=self.dsn)
        done = run_child("bench.backtest_load", load, Backtested)
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute("select count(*) from eventstore.commands where aggregate_id = %s", [account])
            (commands,) = found.fetchone() or (0,)
        return Slice(count=commands, seconds=done.seconds, cpu_share=done.cpu_s / done.seconds)


@dataclass
class Sweep:
    """A sweep of ``jobs`` backtests a turn."""

    file: Path
    jobs: int
    processes: int | None

    def run(self, _seconds: float) -> Slice:
        load = BacktestLoad(strategy="OnBars", file=str(self.file), jobs=self.jobs, processes=self.processes)
        return Slice(count=self.jobs, seconds=run_child("bench.backtest_load", load, Backtested).seconds)


def measure_backtest(stage: Stage) -> list[Row]:
    sizes, folder = stage.sizes, stage.place.folder
    ticks = write_quotes(folder / "ticks.csv", sizes.backtest_ticks)
    quotes = write_quotes(folder / "quotes.csv", sizes.backtest_orders)
    bars = write_bars(folder / "bars.csv", sizes.backtest_bars)
    contestants: dict[str, Contestant] = {
        IDLE: Backtest(BacktestLoad(strategy="Idle", file=str(ticks)), "moments"),
        QUOTES: Backtest(BacktestLoad(strategy="OnQuotes", file=str(quotes)), "orders"),
        BARS: Backtest(BacktestLoad(strategy="OnBars", file=str(bars)), "fills"),
        POSTGRES: ToPostgres(stage.place.create_database(), quotes),
    }
    missing: dict[Package, str] = {}
    for package in PEERS:
        try:
            contestants[str(package)] = Peer(package, bars)
        except PeerUnavailable as error:
            missing[package] = str(error)
    turns = stage.take_turns(contestants)
    return [
        *_rates(turns),
        *(_by_peer(turns, package, missing.get(package)) for package in PEERS),
        BACKTEST_TO_POSTGRES.row(
            "backtest into PostgreSQL",
            [turn.rate for turn in turns[POSTGRES]],
            f"{sizes.backtest_orders:,} orders, by the clock",
        ),
        _sweep(stage, bars),
        _memory(stage),
    ]


def _rates(turns: dict[str, list[Slice]]) -> list[Row]:
    rows = []
    for name, what, by_cpu, by_the_clock in (
        (IDLE, "backtest of an idle strategy on quotes", TICKS, TICKS_BY_THE_CLOCK),
        (QUOTES, "orders of a backtest on quotes, placed and filled", BACKTEST_ORDERS, BACKTEST_ORDERS_BY_THE_CLOCK),
    ):
        rows.append(by_cpu.row(what, [_cpu_rate(turn) for turn in turns[name]], "of CPU time, one core"))
        rows.append(by_the_clock.row(f"{what}, by the clock", [turn.rate for turn in turns[name]]))
    return rows


def _cpu_rate(turn: Slice) -> float:
    assert turn.cpu_share is not None
    return turn.rate / turn.cpu_share


def _by_peer(turns: dict[str, list[Slice]], package: Package, why: str | None) -> Row:
    what = f"filled orders of a backtest on bars ÷ {package}"
    if why is not None:
        return BY_BACKTEST_PEER.not_measured(what, why)
    ours, its = ([turn.rate for turn in turns[name]] for name in (BARS, str(package)))
    return BY_BACKTEST_PEER.quotient(what, ours, its, f"{min(ours):,.0f}/s or more ÷ {max(its):,.0f}/s or less")


def _sweep(stage: Stage, bars: Path) -> Row:
    """One process with n times the work would take n times as long: the share of that which all cores save."""
    jobs = stage.sizes.backtest_jobs * cores()
    turns = stage.take_turns(
        {ONE: Sweep(bars, jobs, 1), ALL: Sweep(bars, jobs, None)}, rounds=min(stage.sizes.rounds, SWEEP_ROUNDS)
    )
    one = [turn.seconds for turn in turns[ONE]]
    all_cores = [turn.seconds * cores() for turn in turns[ALL]]
    return SWEEP.quotient(
        f"sweep of {jobs} backtests: use made of {cores()} cores", one, all_cores, "starting the processes included"
    )


def _memory(stage: Stage) -> Row:
    ticks = stage.sizes.backtest_memory_ticks
    tell(f"a backtest on {ticks:,} quotes")
    file = write_quotes(stage.place.folder / "many-ticks.csv", ticks)
    try:
        done = run_child("bench.backtest_load", BacktestLoad(strategy="Idle", file=str(file)), Backtested)
    finally:
        file.unlink()
    detail = f"in {done.seconds:.0f} s; all of the process, Python and imports included"
    return BACKTEST_MEMORY.row(f"memory of a backtest on {ticks:,} quotes, at its peak", [done.peak_mib], detail)
