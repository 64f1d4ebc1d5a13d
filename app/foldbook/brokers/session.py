"""The connection to one broker: its stream of reports, the polls beside it, and a reconciliation at each connect.

A stream drops, repeats and reorders reports. What it drops is found by asking for the fills: in a rhythm, after each
connect, and before anything is concluded from an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from foldbook.brokers.desk import Desk, Recording
from foldbook.brokers.port import BrokerUnavailable, Completeness, Report
from foldbook.brokers.reconciling import Reconciliation
from foldbook.brokers.work import AccountWork
from foldbook.eventstore.backoff import Backoff

RECONCILED_AT_ONCE_MAX = 8
RECONCILE_EVERY_S = 60.0
CONNECT_PAUSE_S_MIN = 0.1
CONNECT_PAUSE_S_MAX = 5.0
PAGES_MAX = 10_000
"""Pages of fills that one poll reads."""

ALL = "*"

logger = logging.getLogger(__name__)

MoveCursor = Callable[[str, str], None]
"""Keeps how far the fills of a source were read."""


class Session:
    """``name``: the kind of broker, or the account that has a broker of its own. ``cursors``: by source, as they were
    kept."""

    def __init__(self, name: str, desk: Desk, cursors: dict[str, str], move_cursor: MoveCursor) -> None:
        self.name = name
        self.desk = desk
        self.works: dict[str, AccountWork] = {}
        self.is_connected = False
        self.problem: str | None = "not connected yet"
        self._cursors = cursors
        self._move_cursor = move_cursor
        self._turns: dict[str, asyncio.Lock] = {}
        self._polls: dict[str, int] = {}
        self._reconciling = asyncio.Semaphore(RECONCILED_AT_ONCE_MAX)
        self._connection = 0
        """Which connection it is: what was begun in an earlier one makes nobody ready."""

    @property
    def is_idle(self) -> bool:
        return self.is_connected and all(work.is_ready and work.is_idle for work in self.works.values())

    def add(self, work: AccountWork) -> None:
        """Work an account from now on."""
        self.works[work.account] = work
        work.begin()
        if self.is_connected:
            self.desk.run(self._make_ready(work, self._connection), f"reconcile {work.account}")

    async def run(self) -> None:
        """Stay connected."""
        self.desk.run(self._poll_in_rhythm(), f"poll {self.name}")
        self.desk.run(self._reconcile_in_rhythm(), f"reconcile {self.name}")
        backoff = Backoff(CONNECT_PAUSE_S_MIN, CONNECT_PAUSE_S_MAX)
        while True:
            try:
                async with self.desk.broker.reports() as reports:
                    backoff.reset()
                    self._connected()
                    async for report in reports:
                        await self.desk.room()
                        self.route(report)
                problem = "the stream of reports has ended"
            except BrokerUnavailable as error:
                problem = error.detail
            self._disconnected(problem)
            await asyncio.sleep(backoff.next_s())

    def route(self, report: Report) -> Recording | None:
        """Give a report to its account; None: it is known, or of an account that is not worked here."""
        work = self.works.get(report.account)
        return None if work is None else work.report(report)

    # -- connections ---------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        logger.info("connected to broker %s", self.name)
        self._connection += 1
        self.is_connected, self.problem = True, None
        self.desk.knows_broker = True
        for work in self.works.values():
            self.desk.run(self._make_ready(work, self._connection), f"reconcile {work.account}")

    def _disconnected(self, problem: str) -> None:
        if self.is_connected or self.problem != problem:
            logger.warning("broker %s: %s", self.name, problem)
        self._connection += 1
        self.is_connected, self.problem = False, problem
        for work in self.works.values():
            work.make_unready(problem)

    async def _make_ready(self, work: AccountWork, connection: int) -> None:
        """Reconcile until it succeeds, or the connection is lost."""
        backoff = Backoff(CONNECT_PAUSE_S_MIN, CONNECT_PAUSE_S_MAX)
        while connection == self._connection:
            try:
                await self.reconcile(work)
            except BrokerUnavailable as error:
                work.make_unready(error.detail)
                await asyncio.sleep(backoff.next_s())
                continue
            if connection == self._connection:
                work.make_ready()
            return

    async def reconcile(self, work: AccountWork) -> Reconciliation:
        """Raises ``BrokerUnavailable``."""
        async with self._reconciling:
            return await work.reconciling.run()

    # -- fills ---------------------------------------------------------------------------------------------------

    async def poll(self, account: str) -> None:
        """Ask for the fills of an account that are new, and return when they are recorded.

        Raises ``BrokerUnavailable``.
        """
        source = ALL if self.desk.broker.capabilities.serves_many else account
        # Who comes while a poll is under way needs one that begins later; all who wait share that one.
        turn = self._turns.setdefault(source, asyncio.Lock())
        wanted = self._polls.get(source, 0) + (2 if turn.locked() else 1)
        async with turn:
            if self._polls.get(source, 0) < wanted:
                await self._read_fills(source)
                self._polls[source] = self._polls.get(source, 0) + 1

    async def _read_fills(self, source: str) -> None:
        key = self.name if source == ALL else source
        for _ in range(PAGES_MAX):
            fills = await self.desk.broker.fills_since(None if source == ALL else source, self._cursors.get(key))
            if fills.completeness is Completeness.UNSUPPORTED:
                return
            recordings = [self.route(report) for report in fills.reports]
            by_account: dict[str, list[Recording | None]] = {}
            for report, recording in zip(fills.reports, recordings, strict=True):
                by_account.setdefault(report.account, []).append(recording)
            for account, recorded in by_account.items():
                work = self.works.get(account)
                if work is not None:
                    await work.caught_up(*recorded)
            if fills.cursor is not None and fills.cursor != self._cursors.get(key):
                self._cursors[key] = fills.cursor
                self._move_cursor(key, fills.cursor)
            if not fills.has_more:
                return

    async def _poll_in_rhythm(self) -> None:
        while True:
            await asyncio.sleep(self.desk.broker.capabilities.polls_s)
            if not self.is_connected:
                continue
            if self.desk.broker.capabilities.serves_many:
                await self._try(self.poll(ALL))
                continue
            for work in list(self.works.values()):
                if work.may_be_filled:
                    await self._try(self.poll(work.account))

    async def _reconcile_in_rhythm(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_EVERY_S)
            for work in list(self.works.values()):
                if self.is_connected and work.is_ready and work.is_active:
                    await self._try(self.reconcile(work))

    async def _try(self, question: Awaitable[object]) -> None:
        """What was not answered now is asked again in the rhythm."""
        with suppress(BrokerUnavailable):
            await question
