"""A separate process that drives the command bus: ``python -m bench.bus_load <BusLoad as JSON>`` prints a Slice.

The bus and its callers share one process and one uvloop, as the API and the bus do. Each caller is a task that makes a
command, awaits its result, and makes the next; making it is part of the time. With ``rate`` set, commands are submitted
at that pace instead, whether or not earlier ones were answered. That ends at once when the bus's queue is full, and the
Slice says so.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import uvloop
from uuid_utils.compat import uuid7

from bench.clock import Stopwatch
from bench.load import accounts, crowd, lives, open_account, orders
from bench.table import Slice
from foldbook.errors import Overloaded, Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import BookCommand

ACCOUNTS = 100
WARM_UP_S = 0.4
TICK_S = 0.001
OPEN_ORDERS = 1_000


class BusLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. Accounts with ``account_prefix`` may exist already; without it they are new. ``rate``: commands/s."""

    dsn: str
    seconds: float
    callers: int = 256
    is_mixed: bool = False
    account_prefix: str = ""
    rate: float | None = None


class Driver:
    """Callers, and a count of the commands that they completed."""

    def __init__(self, bus: CommandBus, load: BusLoad) -> None:
        self._bus = bus
        self._load = load
        self._tag = uuid7().hex[-8:]
        self._names = accounts(load.account_prefix or f"bus{self._tag}", ACCOUNTS)
        self._is_over = False
        self._is_refused = False
        self._done = 0

    async def run(self) -> Slice:
        await asyncio.gather(*(self._open(name) for name in self._names))
        if self._load.rate is None:
            make = lives if self._load.is_mixed else orders
            tasks = [
                asyncio.create_task(self._call(make(self._names, f"{self._tag}-{caller}", caller)))
                for caller in range(self._load.callers)
            ]
        else:
            tasks = [asyncio.create_task(self._pace(crowd(self._names, self._tag, OPEN_ORDERS), self._load.rate))]
        await asyncio.sleep(WARM_UP_S)
        measured = await self._watch(asyncio.gather(*tasks))
        self._is_over = True
        await asyncio.gather(*tasks)
        return msgspec.structs.replace(measured, is_refused=self._is_refused)

    async def _open(self, name: str) -> None:
        with suppress(Refusal):  # already-exists: this makes the bus load its state
            await self._bus.execute(open_account(name))

    async def _call(self, commands: Iterator[BookCommand]) -> None:
        execute = self._bus.execute
        while not self._is_over:
            await execute(next(commands))
            self._done += 1

    async def _pace(self, commands: Iterator[BookCommand], rate: float) -> None:
        started, submitted = time.perf_counter(), 0
        pending: set[asyncio.Future[CommandResult]] = set()
        while not self._is_over:
            due = int((time.perf_counter() - started) * rate)
            for _ in range(due - submitted):
                try:
                    future = self._bus.submit(next(commands))
                except Overloaded:
                    self._is_over = self._is_refused = True
                    break
                pending.add(future)
                future.add_done_callback(pending.discard)
                future.add_done_callback(self._count)
            submitted = due
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*pending)

    def _count(self, future: asyncio.Future[CommandResult]) -> None:
        future.result()
        self._done += 1

    async def _watch(self, work: asyncio.Future[list[None]]) -> Slice:
        """Count for the load's seconds; a failing caller ends it."""
        stopwatch, first = Stopwatch(), self._done
        done, _ = await asyncio.wait([work], timeout=self._load.seconds)
        for future in done:
            future.result()
        return stopwatch.slice(self._done - first)


async def drive(load: BusLoad) -> Slice:
    store = PostgresStore(load.dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    try:
        return await Driver(bus, load).run()
    finally:
        await bus.stop()
        await store.close()


if __name__ == "__main__":
    task = msgspec.json.decode(sys.argv[1], type=BusLoad)
    print(msgspec.json.encode(uvloop.run(drive(task))).decode())
