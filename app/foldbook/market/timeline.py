"""Files of market data as moments, in the order in which they become known."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

from foldbook.market.records import Bar, Datum

OPENS, KNOWN = 1, 0
"""A bar that opens, of which only the open is known; a datum, which is known. What is known comes first."""

Moment: TypeAlias = tuple[int, int, Datum]
"""When, in nanoseconds; which of the two; of what."""

_BEFORE_ALL = -(10**30)


class Rows(Protocol):
    """A file of data in the order of time, a bar at its close."""

    @property
    def reach_ns(self) -> int:
        """How long before its close a bar opens at most; 0 if no bar opens before the one before it in the file
        closes, as in a file of one symbol."""
        ...

    def __iter__(self) -> Iterator[Datum]: ...


File: TypeAlias = Rows | Sequence[Datum]


def timeline(files: Iterable[File]) -> Iterator[Moment]:
    """The moments of all files by time. At one time, what is known comes before what opens, and the files keep their
    order; within a file, what is known has the order of its rows, and what opens that of the symbols.

    A bar that opened before the last one of its symbol in its file closed is not told to open.
    """
    streams = [_moments(file) for file in files]
    if len(streams) == 1:
        return streams[0]
    return heapq.merge(*streams, key=_place)


def _place(moment: Moment) -> tuple[int, int]:
    return moment[0], moment[1]


def _moments(file: File) -> Iterator[Moment]:
    if isinstance(file, Sequence):
        reach_ns = max((datum.interval_ns for datum in file if isinstance(datum, Bar)), default=0)
    else:
        reach_ns = file.reach_ns
    return _sorted(file, reach_ns) if reach_ns else _in_order(file)


def _in_order(file: Iterable[Datum]) -> Iterator[Moment]:
    closed_ns = _BEFORE_ALL
    for datum in file:
        if type(datum) is Bar:
            opens_ns = datum.open_time_ns
            if opens_ns >= closed_ns:
                yield opens_ns, OPENS, datum
            closed_ns = datum.time_ns
        yield datum.time_ns, KNOWN, datum


def _sorted(file: Iterable[Datum], reach_ns: int) -> Iterator[Moment]:
    """Reads ahead as far as a bar reaches back."""
    waiting: list[tuple[int, int, str, int, Moment]] = []
    closed_ns: dict[str, int] = {}
    for number, datum in enumerate(file):
        time_ns, symbol = datum.time_ns, datum.symbol
        while waiting and waiting[0][0] < time_ns - reach_ns:
            yield heapq.heappop(waiting)[-1]
        place = KNOWN, ""
        if type(datum) is Bar:
            opens_ns = datum.open_time_ns
            if opens_ns >= closed_ns.get(symbol, _BEFORE_ALL):
                heapq.heappush(waiting, (opens_ns, OPENS, symbol, 2 * number, (opens_ns, OPENS, datum)))
                if opens_ns == time_ns:
                    place = OPENS, symbol  # how long it lasted is not known; it opens before it closes all the same
            closed_ns[symbol] = time_ns
        heapq.heappush(waiting, (time_ns, *place, 2 * number + 1, (time_ns, KNOWN, datum)))
    while waiting:
        yield heapq.heappop(waiting)[-1]
