"""One backtest, or one sweep, in a process of its own: ``python -m bench.backtest_load`` with its task as JSON."""

from __future__ import annotations

import sys
import time
from decimal import Decimal
from functools import partial

import msgspec

from bench.memory import peak_mib
from foldbook.backtest.run import Job, run
from foldbook.backtest.statistics import statistics_of
from foldbook.backtest.sweep import run_sweep
from foldbook.venue.orders import Costs

STRATEGIES = "bench.backtest_strategies"


class BacktestLoad(msgspec.Struct, frozen=True, kw_only=True):
    """``strategy``: a class of ``backtest_strategies``. ``dsn``: where the log is to be written; None: nowhere.
    ``jobs``: so many of it, on as many ``processes``, or on all cores; None: one backtest and no sweep."""

    strategy: str
    file: str
    account: str = "bench/venue/backtest"
    dsn: str | None = None
    jobs: int | None = None
    processes: int | None = None


class Backtested(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, in how much time, by the clock and by this process; its memory at its peak.

    The time begins before the file is opened and ends when the statistics of the result are there.
    """

    moments: int = 0
    orders: int = 0
    fills: int = 0
    seconds: float
    cpu_s: float
    peak_mib: float


def _job(load: BacktestLoad) -> Job:
    return Job(
        strategy=f"{STRATEGIES}:{load.strategy}",
        data=((load.file, "BTC-USD"),),
        account=load.account,
        cash=Decimal(1_000_000),
        costs=Costs(taker=Decimal("0.001")),
        database=None if load.dsn is None else (load.dsn, 1),
    )


def measure(load: BacktestLoad) -> Backtested:
    job = _job(load)
    began, began_cpu = time.perf_counter(), time.process_time()
    if load.jobs is not None:
        run_sweep(partial(run, job), [{"number": str(number)} for number in range(load.jobs)], load.processes)
        return _taken(began, began_cpu)
    result = run(job, {})
    statistics_of(result)
    taken = _taken(began, began_cpu)
    if result.error is not None:
        raise RuntimeError(result.error)
    return msgspec.structs.replace(taken, moments=result.bars, orders=result.orders, fills=len(result.fills))


def _taken(began: float, began_cpu: float) -> Backtested:
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    return Backtested(seconds=seconds, cpu_s=cpu_s, peak_mib=peak_mib())


if __name__ == "__main__":
    print(msgspec.json.encode(measure(msgspec.json.decode(sys.argv[1], type=BacktestLoad))).decode())
