"""Files replayed on a clock: in real time, faster, or as fast as they are taken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from heapq import merge
from typing import NamedTuple, TypeAlias

from foldbook.market.feeds.clock import Clock
from foldbook.market.feeds.told import Opened, Told
from foldbook.market.records import Bar, Datum, Quote, Trade

_S = 1_000_000_000

Open: TypeAlias = Callable[[], Iterable[Iterable[Datum]]]
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
        for time_ns, told in self._laps():
            if began_ns is None:
                began_ns, first_ns = self._clock.now_ns(), time_ns
            speed = self._pace.speed
            if speed is None:
                due_ns = max(self._clock.now_ns(), latest_ns)
            else:
                due_ns = began_ns + round((time_ns - first_ns) / speed)
                await self._clock.sleep_until(due_ns)
            if self._pace.is_moved:
                yield _moved(told, due_ns, latest_ns, speed)
            else:
                yield told if told.time_ns == time_ns else _at(told, time_ns)
            latest_ns = due_ns

    def _laps(self) -> Iterator[tuple[int, Datum | Opened]]:
        """The moments of every lap, each lap after the one before. What is told still has the time of the file."""
        shift_ns = 0
        while True:
            first_ns: int | None = None
            last_ns = before_ns = 0
            for time_ns, _, told in self._lap():
                if first_ns is None:
                    first_ns = before_ns = last_ns = time_ns
                if time_ns > last_ns:
                    before_ns, last_ns = last_ns, time_ns
                yield time_ns + shift_ns, told
            if not self._pace.loops or first_ns is None:
                return
            # From the last moment to the first of the next lap it is as long as it was to the last.
            shift_ns += last_ns - first_ns + (last_ns - before_ns or _S)

    def _lap(self) -> Iterator[_Moment]:
        streams = [self._moments(file) for file in self._open()]
        return streams[0] if len(streams) == 1 else merge(*streams, key=_place)

    def _moments(self, file: Iterable[Datum]) -> Iterator[_Moment]:
        for datum in file:
            if self._symbols and datum.symbol not in self._symbols:
                continue
            if isinstance(datum, Bar):
                yield datum.open_time_ns, _OPENS, Opened(datum.symbol, datum.open_time_ns, datum.open)
            yield datum.time_ns, _KNOWN, datum


_KNOWN, _OPENS = 0, 1
_Moment: TypeAlias = tuple[int, int, Datum | Opened]
"""When; what is known comes before what opens; what."""


def _place(moment: _Moment) -> tuple[int, int]:
    return moment[0], moment[1]


def _moved(told: Datum | Opened, time_ns: int, latest_ns: int, speed: float | None) -> Datum | Opened:
    """The same, as if it had happened now. A bar is as much shorter as the replay is faster."""
    if isinstance(told, Bar):
        interval_ns = min(told.interval_ns, time_ns - latest_ns) if speed is None else round(told.interval_ns / speed)
        return _at(told, time_ns, interval_ns)
    return _at(told, time_ns)


def _at(told: Datum | Opened, time_ns: int, interval_ns: int | None = None) -> Datum | Opened:
    if isinstance(told, Bar):
        interval_ns = told.interval_ns if interval_ns is None else interval_ns
        return Bar(told.symbol, time_ns, told.open, told.high, told.low, told.close, told.volume, interval_ns)
    if isinstance(told, Opened):
        return told._replace(time_ns=time_ns)
    if isinstance(told, Quote):
        return Quote(told.symbol, time_ns, told.bid, told.ask, told.bid_size, told.ask_size)
    return Trade(told.symbol, time_ns, told.price, told.size, told.aggressor)
