"""The market data of a backtest as moments, in the order in which they become known."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from foldbook.market.records import Bar, Datum

OPENS, KNOWN = 1, 0
"""A bar that opens, of which only the open is known; a datum, which is known. What is known comes first."""

Moment: TypeAlias = tuple[int, int, Datum]
"""When, in nanoseconds; which of the two; of what."""


def timeline(files: Iterable[Iterable[Datum]]) -> Iterator[Moment]:
    """The moments of all files by time. At one time, what is known comes before what opens, and the files keep their
    order."""
    streams = [_moments(file) for file in files]
    if len(streams) == 1:
        return streams[0]
    return heapq.merge(*streams, key=_place)


def _place(moment: Moment) -> tuple[int, int]:
    return moment[0], moment[1]


def _moments(file: Iterable[Datum]) -> Iterator[Moment]:
    for datum in file:
        if type(datum) is Bar:
            yield datum.open_time_ns, OPENS, datum
        yield datum.time_ns, KNOWN, datum
