"""Drives a runner as things happen: market data, events of the log, timers.

Events of the log come first, then timers, then data: what is known of an order is told before the next price. Market
data waits in a bounded queue, in which the latest quote wins: a strategy that is slow is told late, not ever later.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress

from foldbook.market.feeds.backlog import Backlog
from foldbook.market.feeds.told import Lost, Opened, Source
from foldbook.market.records import Datum
from foldbook.services.strategy.account import Starts
from foldbook.services.strategy.runner import EVENTS_MAX, Runner

WAITING_MAX = 100
"""Data that wait for the strategy."""
UNTOLD_MAX = 10 * EVENTS_MAX
"""Events that wait for it; more are not read."""
POLL_INTERVAL_S = 0.5
TOLD_EVERY_S = 10.0
"""How often it is told that data was skipped."""
HINT_PAUSE_S = 0.005
"""Between two looks at the log, however many notifications there are."""
_YIELDS = 3
"""A datum takes so many steps of the event loop from its socket into the queue."""

logger = logging.getLogger(__name__)


class StrategyService:
    """Call ``hint`` when the log may have something new. A hint that is lost is made up for by a poll."""

    def __init__(
        self,
        runner: Runner,
        source: Source,
        *,
        poll_interval_s: float = POLL_INTERVAL_S,
        waiting_max: int = WAITING_MAX,
        waits: bool = False,
    ) -> None:
        """``waits``: take data only as fast as the strategy is told it, so that none is skipped."""
        self._runner = runner
        self._source = source
        self._poll_interval_s = poll_interval_s
        self._backlog = Backlog(waiting_max)
        self._waits = waits
        self._is_hinted = True
        self._woken = asyncio.Event()
        self._read_at_s = 0.0
        self._told_at_s = 0.0
        self._source_task: asyncio.Task[None] | None = None
        self.skipped = 0
        """Data that the strategy was never told, because it was slow."""
        self._skipped_told = 0
        self._is_stopping = False

    def hint(self, _payload: str | None = None) -> None:
        self._is_hinted = True
        self._woken.set()

    def stop(self) -> None:
        """Have ``run`` return; the strategy is told."""
        self._is_stopping = True
        self._woken.set()

    async def run(self, starts: Starts) -> None:
        """Start the strategy and run it until it is stopped, it raises, or the source ends and everything was told.

        If the data are its clock, it starts at the first datum. Raises what the source raises.
        """
        self._source_task = asyncio.create_task(self._read_market(), name="market data")
        try:
            first = await self._first() if self._runner.is_data_clock else None
            if not self._is_stopping and not (first is None and self._runner.is_data_clock):
                await self._runner.start(starts, 0 if first is None else first.time_ns)
            while self._runner.is_running and not self._is_stopping:
                self._woken.clear()
                did = await self._step()
                if not did and not await self._wait():
                    break
            await self._runner.stop()
        finally:
            self._source_task.cancel()
            await asyncio.wait([self._source_task])
            self._tell_skipped(is_last=True)
        if not self._source_task.cancelled():
            self._source_task.result()

    async def _first(self) -> Datum | Opened | None:
        """The first datum, as soon as it is there; None: there will be none."""
        assert self._source_task is not None
        while (first := self._backlog.first()) is None and not self._source_task.done() and not self._is_stopping:
            self._woken.clear()
            await self._woken.wait()
        assert not isinstance(first, Lost), "what was lost is logged when it is read"
        return first

    async def _step(self) -> bool:
        """Do what there is to do. False: there is nothing."""
        now_s = asyncio.get_running_loop().time()
        if (self._is_hinted or now_s >= self._read_at_s + self._poll_interval_s) and self._runner.untold < UNTOLD_MAX:
            self._is_hinted = False
            self._read_at_s = now_s
            self._is_hinted |= await self._runner.read_page()
        if await self._runner.tell_next():
            return True
        if not self._runner.is_data_clock:
            await self._runner.advance()
        for _ in range(_YIELDS):
            await asyncio.sleep(0)
        told = self._backlog.take()
        self.skipped += self._backlog.take_dropped()
        self._tell_skipped()
        if told is not None:
            assert not isinstance(told, Lost), "what was lost is logged when it is read"
            await self._runner.tell(told)
        return told is not None

    async def _wait(self) -> bool:
        """Until there may be something to do. False: the source has ended, and there will be nothing more."""
        assert self._source_task is not None
        if self._source_task.done() and not len(self._backlog):
            return False
        pause_s = self._poll_interval_s
        due_s = self._runner.timer_due_s()
        if due_s is not None:
            pause_s = min(pause_s, due_s)
        if self._is_hinted:
            await asyncio.sleep(HINT_PAUSE_S)
        elif not len(self._backlog):
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):  # wait_for of Python 3.11 may forget that it was canceled
                    await self._woken.wait()
        return True

    async def _read_market(self) -> None:
        try:
            async with aclosing(self._source.stream()) as stream:
                async for told in stream:
                    if isinstance(told, Lost):
                        how_many = "an unknown number of" if told.count is None else told.count
                        logger.warning("%s market data lost: %s", how_many, told.why)
                        continue
                    if self._waits:
                        await self._backlog.room()
                    self._backlog.put(told)
                    self._woken.set()
        finally:
            asyncio.get_running_loop().call_soon(self._woken.set)  # when this task is done

    def _tell_skipped(self, *, is_last: bool = False) -> None:
        now_s = asyncio.get_running_loop().time()
        if self.skipped > self._skipped_told and (is_last or now_s >= self._told_at_s + TOLD_EVERY_S):
            self._told_at_s, self._skipped_told = now_s, self.skipped
            logger.warning("the strategy is slow: %d data skipped so far, the latest quotes won", self.skipped)
