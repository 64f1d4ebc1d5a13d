"""Market data for all who listen: one source, connected while somebody does.

Each listener takes what it wants at its own pace. What waits for it is bounded: the latest quotes win, and it is told
how many data it has missed. A source that is away is told too, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from foldbook.errors import reason_of
from foldbook.eventstore.backoff import Backoff
from foldbook.market.feeds import wire
from foldbook.market.feeds.backlog import BoundedQueue
from foldbook.market.feeds.told import Lost, Source, Told
from foldbook.market.records import Quote

WAITING_MAX = 1_000
"""Frames that wait for one listener."""
QUOTES_MAX = 10_000
"""Symbols whose last quote is known."""
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.1, 5.0

logger = logging.getLogger(__name__)


class MarketFrame(NamedTuple):
    """A datum, encoded once for all. ``quoted``: whose quote it is, if it is one."""

    text: str
    quoted: str | None = None


class Listener(BoundedQueue[MarketFrame]):
    """What waits for one client. ``symbols`` None: all."""

    def __init__(self, symbols: frozenset[str] | None, waiting_max: int) -> None:
        super().__init__(waiting_max)
        self.symbols = symbols

    async def next(self) -> str:
        """The next frame, as soon as there is one; first of all, how many were dropped."""
        if dropped := self.take_dropped():
            return _text(Lost(dropped, "the client is too slow"))
        while (frame := self.take()) is None:
            await self.wait()
        return frame.text

    def _quoted(self, told: MarketFrame) -> str | None:
        return told.quoted


class MarketHub:
    """``source_of`` makes the source, anew each time that it is needed."""

    def __init__(self, source_of: Callable[[], Source], *, waiting_max: int = WAITING_MAX) -> None:
        self._source_of = source_of
        self._waiting_max = waiting_max
        self._listeners: set[Listener] = set()
        self._of_symbol: defaultdict[str, set[Listener]] = defaultdict(set)
        self._of_all: set[Listener] = set()
        self._quotes: dict[str, MarketFrame] = {}
        self._is_away = False
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def is_connected(self) -> bool:
        """Whether the source is in use."""
        return self._task is not None

    @contextmanager
    def listening(self, symbols: frozenset[str] | None) -> Iterator[Listener]:
        """A listener, which begins with HELLO and the last quotes."""
        listener = Listener(symbols, self._waiting_max)
        self._greet(listener)
        self._listeners.add(listener)
        for group in self._groups(listener):
            group.add(listener)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="market data")
        try:
            yield listener
        finally:
            self._forget(listener)

    async def stop(self) -> None:
        """Return when the source is disconnected. Nobody may listen any more."""
        self._disconnect()
        if self._ending:
            await asyncio.wait(self._ending)

    def _greet(self, listener: Listener) -> None:
        listener.put(MarketFrame(wire.hello_frame(datetime.now(UTC)).decode()))
        if self._is_away:
            listener.put(MarketFrame(_text(Lost(None, "the source is away"))))
        wanted = self._quotes if listener.symbols is None else self._quotes.keys() & listener.symbols
        for symbol in wanted:
            listener.put(self._quotes[symbol])

    def _groups(self, listener: Listener) -> list[set[Listener]]:
        if listener.symbols is None:
            return [self._of_all]
        return [self._of_symbol[symbol] for symbol in listener.symbols]

    def _forget(self, listener: Listener) -> None:
        self._listeners.remove(listener)
        for group in self._groups(listener):
            group.discard(listener)
        for symbol in listener.symbols or ():
            if not self._of_symbol[symbol]:
                del self._of_symbol[symbol]
        if not self._listeners:
            self._disconnect()

    def _disconnect(self) -> None:
        if (task := self._task) is not None:
            self._task = None
            self._quotes.clear()  # They are old when somebody listens again.
            self._is_away = False
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()

    async def _run(self) -> None:
        backoff = Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
        while True:
            why = "it ended"
            try:
                async with aclosing(self._source_of().stream()) as stream:
                    async for told in stream:
                        self._hear(told)
                        if not isinstance(told, Lost):
                            backoff.reset()
            except Exception as error:
                why = reason_of(error)
            logger.warning("the source of market data is away, and is tried again: %s", why)
            self._hear(Lost(None, why))
            await asyncio.sleep(backoff.next_s())

    def _hear(self, told: Told) -> None:
        if isinstance(told, Lost):
            if told.count is None:
                # The last quotes may be old ones by now.
                self._quotes.clear()
                self._is_away = True
            self._tell(self._listeners, MarketFrame(_text(told)))
            return
        self._is_away = False
        is_quote = isinstance(told, Quote)
        concerned = (self._of_symbol.get(told.symbol, ()), self._of_all)
        if not (is_quote or any(concerned)):
            return
        frame = MarketFrame(_text(told), told.symbol if is_quote else None)
        if is_quote and (told.symbol in self._quotes or len(self._quotes) < QUOTES_MAX):
            self._quotes[told.symbol] = frame
        for group in concerned:
            self._tell(group, frame)

    def _tell(self, listeners: Iterable[Listener], frame: MarketFrame) -> None:
        for listener in listeners:
            listener.put(frame)


def _text(told: Told) -> str:
    return wire.frame_of(told, datetime.now(UTC)).decode()
