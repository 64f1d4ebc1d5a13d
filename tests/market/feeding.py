"""A clock that a test moves, and sources and sinks for feeds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

from foldbook.market.feeds.told import Opened, Told
from foldbook.market.records import Datum

S = 1_000_000_000
NOON_NS = 1_767_355_200 * S


class FakeClock:
    """Its time passes only while somebody sleeps."""

    def __init__(self, now_ns: int = NOON_NS) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def pass_time(self, length_ns: int) -> None:
        self._now_ns += length_ns

    async def sleep_until(self, time_ns: int) -> None:
        self._now_ns = max(self._now_ns, time_ns)


class Listed:
    """A source that gives what it was made of."""

    def __init__(self, told: Iterable[Told]) -> None:
        self._all = list(told)

    async def stream(self) -> AsyncGenerator[Told, None]:
        for told in self._all:
            yield told


class Kept:
    """A sink that keeps everything, and has room for so many."""

    def __init__(self) -> None:
        self.data: list[Datum | Opened] = []
        self.waited = 0

    def put(self, told: Datum | Opened) -> None:
        self.data.append(told)

    async def room(self) -> None:
        self.waited += 1
