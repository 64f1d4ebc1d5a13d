"""One backtest from beginning to end: what is asked for, and the result."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import immutables
import msgspec

from foldbook.backtest.loop import Loop
from foldbook.backtest.result import DataInfo, Result
from foldbook.backtest.statistics import round_trips
from foldbook.backtest.stream import LogWriter, StreamHash
from foldbook.backtest.world import Settings
from foldbook.errors import FoldbookError
from foldbook.eventstore.store import shard_of
from foldbook.market.files import DataFile, open_data
from foldbook.market.records import Datum, time_of
from foldbook.market.timeline import Moment, timeline
from foldbook.strategies.loading import load_strategy, with_parameters
from foldbook.trading.instrument import instrument_of
from foldbook.trading.values import is_account
from foldbook.venue.orders import Costs, Path

CURRENCY = "USD"
"""Of symbols that are not plainly a pair."""

PROGRESS_EVERY = 5_000
"""Moments between two words about the progress."""

YOUNG_MAX = 50_000
"""Young objects at which Python looks for cycles among them. Its own 700 are fewer than a batch of a file has: each
batch would be looked at several times, in vain, for hardly anything here is in a cycle."""


class BacktestError(FoldbookError, code="backtest", status=422, title="The backtest cannot be run"):
    """What was asked for cannot be run."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a backtest is asked to do; it can be sent to another process.

    ``data``: files, each with its symbol, or None for the file's own. ``database``: where the log is, and its number of
    shards; None: the events stay in memory. ``span_ns``: the part of the data to use, from and before.
    """

    strategy: str
    data: tuple[tuple[str, str | None], ...]
    account: str
    cash: Decimal
    costs: Costs
    path: Path = Path.ADVERSE
    latency_ns: int = 0
    closes_at_end: bool = False
    skip_bad_rows: bool = False
    database: tuple[str, int] | None = None
    span_ns: tuple[int, int] | None = None


class Progress(Protocol):
    """Told now and then how far the run is."""

    def __call__(self, moments: int, read: float) -> None:
        """``read``: the part of the files that was read, from 0 to 1."""


class _Tracked:
    """A file of data, and the times of its first and last datum."""

    def __init__(self, file: DataFile, span_ns: tuple[int, int] | None) -> None:
        self.file = file
        self.reach_ns = file.reach_ns
        self._span_ns = span_ns
        self.first_ns: int | None = None
        self.last_ns = 0

    def __iter__(self) -> Iterator[Datum]:
        data: Iterator[Datum] = iter(self.file)
        if self._span_ns is not None:
            begins_ns, ends_ns = self._span_ns
            data = (datum for datum in data if begins_ns <= datum.time_ns < ends_ns)
        datum = next(data, None)
        if datum is None:
            return
        self.first_ns = datum.time_ns
        try:
            yield datum
            for datum in data:
                yield datum
        finally:
            self.last_ns = datum.time_ns

    def info(self) -> DataInfo:
        file = self.file
        return DataInfo(
            path=str(file.path),
            symbol=", ".join(file.symbols),
            rows=file.rows,
            bad_rows=file.bad_rows,
            sha256=file.sha256,
            first=None if self.first_ns is None else time_of(self.first_ns),
            last=None if self.first_ns is None else time_of(self.last_ns),
            notes=tuple(file.notes),
        )


Prices = dict[str, Sequence[tuple[datetime, Decimal]]]
"""The prices of each symbol, in time order."""


def run(
    job: Job, parameters: Mapping[str, str], progress: Progress | None = None, prices: Prices | None = None
) -> Result:
    """``prices``: where to put the prices of the run, for a chart.

    Raises ``FoldbookError`` for what cannot be run: the strategy, its parameters, the data, the account.
    """
    if not is_account(job.account) or not job.account.endswith("/backtest"):
        raise BacktestError(f"{job.account} is not an account of a backtest: write user/exchange/backtest")
    strategy = with_parameters(load_strategy(job.strategy), dict(parameters))
    name = type(strategy).__name__
    files = [
        _Tracked(open_data(path, symbol, skip_bad_rows=job.skip_bad_rows), job.span_ns) for path, symbol in job.data
    ]
    symbols = tuple(dict.fromkeys(symbol for tracked in files for symbol in tracked.file.symbols))
    settings = Settings(
        account=job.account,
        strategy_id=name,
        symbols=symbols,
        cash=job.cash,
        currency=_currency_of(symbols),
        costs=job.costs,
        path=job.path,
        latency_ns=job.latency_ns,
        closes_at_end=job.closes_at_end,
    )
    hashed = StreamHash()
    moments = timeline(files)
    if progress is not None:
        moments = _told(moments, files, progress)
    with _cycles_sought_seldom():
        if job.database is None:
            loop = Loop(settings, strategy, hashed)
            loop.run(moments)
        else:
            dsn, shards = job.database
            with closing(LogWriter(dsn, shard_of(job.account, shards), job.account, hashed)) as writer:
                loop = Loop(settings, strategy, writer)
                loop.run(moments)
    if prices is not None:
        prices.update(loop.prices)
    data = tuple(tracked.info() for tracked in files)
    return Result(
        strategy=name,
        account=job.account,
        store="memory" if job.database is None else "postgres",
        parameters=strategy.parameter_values(),
        data=data,
        data_hash=hashlib.sha256("".join(info.sha256 for info in data).encode()).hexdigest(),
        stream_hash=hashed.hexdigest(),
        orders=loop.orders_placed,
        denied=loop.denied,
        start_cash=job.cash,
        cash=loop.cash,
        final_equity=loop.equity,
        fees=loop.fees,
        fills=loop.fills,
        round_trips=round_trips(loop.fills),
        equity=loop.equity_points,
        bars=loop.moments,
        exposed_bars=loop.exposed,
        error=loop.error,
    )


@contextmanager
def _cycles_sought_seldom() -> Iterator[None]:
    """What makes cycles nevertheless, such as a strategy, still has them collected, only later."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], YOUNG_MAX) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def times_of(job: Job) -> list[datetime]:
    """The times of all data, in order."""
    files = [open_data(path, symbol, skip_bad_rows=job.skip_bad_rows) for path, symbol in job.data]
    return sorted(datum.time for file in files for datum in file)


def _currency_of(symbols: tuple[str, ...]) -> str:
    nothing: immutables.Map[str, object] = immutables.Map()
    settles = {symbol: instrument_of(nothing, symbol).quote_currency or CURRENCY for symbol in symbols}  # type: ignore[arg-type]
    currencies = set(settles.values())
    if len(currencies) > 1:
        listed = ", ".join(f"{symbol} in {currency}" for symbol, currency in settles.items())
        raise BacktestError(f"a backtest needs one currency, but the symbols settle in several: {listed}")
    return currencies.pop()


def _told(moments: Iterator[Moment], files: list[_Tracked], progress: Progress) -> Iterator[Moment]:
    for count, moment in enumerate(moments):
        if count % PROGRESS_EVERY == 0:
            progress(count, sum(tracked.file.progress for tracked in files) / len(files))
        yield moment
