"""Files replayed on a clock: in real time, faster, or as fast as they are taken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from foldbook.market.feeds.clock import Clock
from foldbook.market.feeds.told import Opened, Told
from foldbook.market.records import Bar, Datum, Quote, Trade
from foldbook.market.timeline import OPENS, File, timeline

_S = 1_000_000_000

Open: TypeAlias = Callable[[], Iterable[File]]
"""Opens the files anew, for each lap."""


class Pace(NamedTuple):
    """How files are replayed.

    ``speed``: 1 is real time, 10 ten times as fast, None as fast as the data is taken. ``is_moved``: the times of the
    data are those of the replay, so that the data is of now; else they stay as they are, and go on rising from lap to
    lap.
    """

    speed: float | None = 1.0
    loops: bool = False
    is_moved: bool = True


class Replay:
    """Several files as one stream, in the order of time. A bar is told when it opens, and again when it is complete."""

    def __init__(self, open_files: Open, pace: Pace, clock: Clock, symbols: frozenset[str] = frozenset()) -> None:
        """``symbols``: those that are told; none: all."""
        if pace.speed is not None and not pace.speed > 0:
            raise ValueError(f"speed must be greater than 0, not {pace.speed}")
        self._open = open_files
        self._pace = pace
        self._clock = clock
        self._symbols = symbols

    async def stream(self) -> AsyncGenerator[Told, None]:
        began_ns: int | None = None
        first_ns = 0
        latest_ns = 0
        opened: dict[tuple[str, int], int] = {}
        """When bars were told to open, as fast as they are taken."""
        speed = self._pace.speed
        for time_ns, told in self._laps():
            if began_ns is None:
                began_ns, first_ns = self._clock.now_ns(), time_ns
            if speed is None:
                due_ns = max(self._clock.now_ns(), latest_ns + 1)
            else:
                due_ns = began_ns + round((time_ns - first_ns) / speed)
                await self._clock.sleep_until(due_ns)
            if not self._pace.is_moved:
                yield told if told.time_ns == time_ns else _at(told, time_ns)
            elif isinstance(told, Bar):
                # It is as much shorter as the replay is faster, so that it opens when it was told to.
                opens_ns = time_ns - told.interval_ns
                if speed is None:
                    opens_due_ns = opened.pop((told.symbol, opens_ns), due_ns - told.interval_ns)
                else:
                    opens_due_ns = began_ns + round((opens_ns - first_ns) / speed)
                yield _at(told, due_ns, due_ns - opens_due_ns)
            else:
                if speed is None and isinstance(told, Opened):
                    opened[told.symbol, time_ns] = due_ns
                yield _at(told, due_ns)
            latest_ns = due_ns

    def _laps(self) -> Iterator[tuple[int, Datum | Opened]]:
        """The moments of every lap, each lap after the one before. What is told still has the time of the file."""
        shift_ns = 0
        while True:
            first_ns: int | None = None
            last_ns = before_ns = 0
            for time_ns, kind, datum in timeline(self._open()):
                if self._symbols and datum.symbol not in self._symbols:
                    continue
                if first_ns is None:
                    first_ns = before_ns = last_ns = time_ns
                if time_ns > last_ns:
                    before_ns, last_ns = last_ns, time_ns
                if kind == OPENS:
                    assert isinstance(datum, Bar)
                    yield time_ns + shift_ns, Opened(datum.symbol, time_ns, datum.open)
                else:
                    yield time_ns + shift_ns, datum
            if not self._pace.loops or first_ns is None:
                return
            # From the last moment to the first of the next lap it is as long as it was to the last.
            shift_ns += last_ns - first_ns + (last_ns - before_ns or _S)


def _at(told: Datum | Opened, time_ns: int, interval_ns: int | None = None) -> Datum | Opened:
    if isinstance(told, Bar):
        interval_ns = told.interval_ns if interval_ns is None else interval_ns
        return Bar(told.symbol, time_ns, told.open, told.high, told.low, told.close, told.volume, interval_ns)
    if isinstance(told, Opened):
        return told._replace(time_ns=time_ns)
    if isinstance(told, Quote):
        return Quote(told.symbol, time_ns, told.bid, told.ask, told.bid_size, told.ask_size)
    return Trade(told.symbol, time_ns, told.price, told.size, told.aggressor)
