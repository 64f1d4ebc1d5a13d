"""The simulated venue as a source of market data, and as a place to send it to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType

import aiohttp

from foldbook.errors import reason_of
from foldbook.eventstore.backoff import Backoff
from foldbook.market.errors import MarketDataError
from foldbook.market.feeds import wire
from foldbook.market.feeds.backlog import Backlog
from foldbook.market.feeds.told import Lost, Opened, Told
from foldbook.market.records import Datum

BATCH_MAX = 1_000
"""Data in one request."""
WAITING_MAX = 10_000
"""Data that wait for the venue."""

BACKOFF_S_MIN, BACKOFF_S_MAX = 0.05, 5.0
HEARTBEAT_S = 10.0
REQUEST_TIMEOUT_S = 10.0
TOLD_EVERY_S = 10.0
"""How often a loss that goes on is told."""

_UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)

logger = logging.getLogger(__name__)


class VenueStream:
    """The venue's stream of market data. It connects again and again, and tells each time that something was lost."""

    def __init__(self, url: str, symbols: Sequence[str] = ()) -> None:
        """``symbols``: those to be told; none: all."""
        self._url = f"{url.rstrip('/')}/market"
        self._parameters = {"symbols": ",".join(symbols)} if symbols else {}

    async def stream(self) -> AsyncGenerator[Told, None]:
        backoff = Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
        is_lost = False
        async with aiohttp.ClientSession() as session:
            while True:
                why = "the venue closed the stream"
                try:
                    async with session.ws_connect(
                        self._url, params=self._parameters, heartbeat=HEARTBEAT_S, max_msg_size=1 << 20
                    ) as frames:
                        async for message in frames:
                            if message.type is not aiohttp.WSMsgType.TEXT:
                                break
                            if is_lost:
                                logger.info("the venue's stream is there again")
                            is_lost = False
                            backoff.reset()
                            told = wire.decode(message.data)
                            if told is not None:
                                yield told
                except (*_UNREACHABLE, MarketDataError) as error:
                    why = reason_of(error)
                if not is_lost:
                    logger.warning("the venue's stream is lost and tried again: %s", why)
                    is_lost = True
                    yield Lost(None, why)
                await asyncio.sleep(backoff.next_s())


class VenueSink:
    """Tells the venue market data, in order, in batches: while one is on its way, the next one gathers.

    Who does not wait for ``room`` loses data while the venue does not keep up: the latest quote wins, and what was
    dropped is counted and told. A batch that may have arrived is not sent again: a trade that is told twice would fill
    twice.
    """

    def __init__(self, url: str, waiting_max: int = WAITING_MAX) -> None:
        self._url = url.rstrip("/")
        self._backlog = Backlog(waiting_max)
        self._backoff = Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_lost = False
        self._told_at_s: dict[str, float] = {}
        self.sent = 0
        self.dropped = 0
        """Never sent, because the venue did not keep up."""
        self.failed = 0
        """Refused, or sent without an answer."""

    async def __aenter__(self) -> VenueSink:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))
        self._task = asyncio.create_task(self._work(), name="venue-sink")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None and self._session is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._session.close()

    def put(self, told: Datum | Opened) -> None:
        assert self._task is not None
        if self._task.done():
            self._task.result()  # raises what has ended it
        if isinstance(told, Opened):
            return  # The venue is told bars when they are complete.
        self._idle.clear()
        self._backlog.put(told)

    async def room(self) -> None:
        await self._backlog.room()

    async def drain(self) -> None:
        """Until everything that was put has been answered."""
        await self._idle.wait()

    async def _work(self) -> None:
        while True:
            if not len(self._backlog):
                self._idle.set()
            await self._backlog.wait()
            await self._deliver(self._batch())
            self._tell_dropped()

    def _batch(self) -> list[Datum]:
        """What is there, as far as it is of one kind."""
        batch: list[Datum] = []
        while len(batch) < BATCH_MAX and (datum := self._backlog.first()) is not None:
            assert isinstance(datum, Datum), "only data is put"
            if batch and type(datum) is not type(batch[0]):
                break
            self._backlog.take()
            batch.append(datum)
        return batch

    async def _deliver(self, batch: list[Datum]) -> None:
        while True:
            try:
                why = await self._put(batch)
            except aiohttp.ClientConnectorError as error:
                self._lost(error)  # It has not arrived: it can be sent again.
                await asyncio.sleep(self._backoff.next_s())
            except _UNREACHABLE as error:
                self._lost(error)
                self.failed += len(batch)
                await asyncio.sleep(self._backoff.next_s())
                return
            else:
                break
        if why is None:
            self._arrived(len(batch))
        elif len(batch) > 1:
            # One that is wrong has all refused: look for it, and send the others.
            half = len(batch) // 2
            await self._deliver(batch[:half])
            await self._deliver(batch[half:])
        else:
            self.failed += 1
            if self._is_due("refused"):
                logger.error("the venue refuses market data, %d so far, as %r: %s", self.failed, batch[0], why)

    async def _put(self, batch: list[Datum]) -> str | None:
        """None: the venue has taken it; else why it has not. Raises one of ``_UNREACHABLE``."""
        assert self._session is not None
        url = f"{self._url}{wire.PATHS[type(batch[0])]}"
        headers = {"Content-Type": "application/json"}
        async with self._session.put(url, data=wire.encode(batch), headers=headers) as response:
            text = await response.text()
            if response.status >= 500:
                raise aiohttp.ClientError(f"status {response.status}: {text[:200]}")
            return None if response.status < 400 else text[:500]

    def _arrived(self, count: int) -> None:
        self.sent += count
        self._backoff.reset()
        if self._is_lost:
            logger.info("the venue takes market data again")
        self._is_lost = False

    def _lost(self, error: Exception) -> None:
        if not self._is_lost:
            logger.warning("the venue does not take market data, and is tried again: %s", reason_of(error))
        self._is_lost = True

    def _tell_dropped(self) -> None:
        dropped = self._backlog.take_dropped()
        self.dropped += dropped
        if dropped and self._is_due("dropped"):
            logger.warning("the venue does not keep up: %d data dropped so far, the latest quotes won", self.dropped)

    def _is_due(self, what: str) -> bool:
        """Is it time to tell that again?"""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._told_at_s.get(what, -TOLD_EVERY_S) + TOLD_EVERY_S:
            return False
        self._told_at_s[what] = now_s
        return True
