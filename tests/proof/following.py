"""Streams of events, read while everything around them is killed at random moments.

One ``foldbook serve`` is killed with ``kill -9`` and started again, its listener and the readers of its streams lose
their connections to the database, and clients are cancelled wherever they are and go on from their checkpoints.
Meanwhile events are appended. Each client must get each event once, in the order of the log.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

import httpx
import psycopg

from foldbook.client.follow import follow
from foldbook.engine.rabbit import free_port
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place
from tests.waiting import block_until

ACCOUNTS = [f"u{n}/x/simulated" for n in range(10)]
AT_ONCE = 50
PAUSE_S = (0.1, 0.8)
"""Between two kills."""
PATIENCE_S = 120
SERVER = "the server"
BACKENDS = {"the listener's backend": ["listen%", "select 1"], "the readers' backends": ["%read_events%"]}
"""By the last query of each."""

_END = """
select count(pg_terminate_backend(pid))
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and query ilike any (%s)
"""


class Served:
    """``foldbook serve`` on a port that stays the same."""

    def __init__(self, dsn: str) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._environment = os.environ | {
            "DATABASE_URL": dsn,
            "FOLDBOOK_PORT": str(self._port),
            "FOLDBOOK_LOG_LEVEL": "error",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = [sys.executable, "-m", "foldbook.cli", "serve", "--until-stdin-closes"]
        process = self._process = subprocess.Popen(program, env=self._environment, stdin=subprocess.PIPE)

        def is_live() -> bool:
            assert process.poll() is None, "the server ended"
            try:
                return httpx.get(f"{self.url}/health/live", trust_env=False).is_success
            except httpx.TransportError:
                return False

        block_until(is_live)

    def kill(self) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()


@contextmanager
def served(dsn: str) -> Iterator[Served]:
    server = Served(dsn)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Reader:
    """A client that is cancelled again and again. ``seen``: the positions that it got, in that order."""

    def __init__(self, url: str, account: str | None, lives_s: float) -> None:
        self._url = url
        self._account = account
        self._lives_s = lives_s
        self.checkpoint: str | None = None
        self.seen: list[int] = []
        self.lives = 0

    async def run(self) -> None:
        """Until it is cancelled from outside."""
        while True:
            self.lives += 1
            try:
                async with asyncio.timeout(random.uniform(0, 2 * self._lives_s)):
                    await self._follow()
            except TimeoutError:
                continue

    async def _follow(self) -> None:
        async with aclosing(follow(self._url, after=self.checkpoint, account=self._account)) as stream:
            async for event in stream:
                self.seen.append(event.position)
                self.checkpoint = event.id


async def follow_under_kills(dsn: str, events: int, per_s: float) -> str:
    """Append so many events; returns what was done. Raises ``AssertionError`` for one that is missing or twice."""
    with served(dsn) as server:
        readers = [Reader(server.url, None, 1e9), Reader(server.url, None, 0.3), Reader(server.url, ACCOUNTS[3], 0.5)]
        reading = [asyncio.create_task(reader.run()) for reader in readers]
        is_over = asyncio.Event()
        killing = asyncio.create_task(_kill(server, dsn, is_over))
        try:
            await _append(dsn, events, per_s)
            wanted = _positions(dsn, None), _positions(dsn, None), _positions(dsn, ACCOUNTS[3])
            is_over.set()
            killed = await killing
            async with asyncio.timeout(PATIENCE_S):
                while any(len(reader.seen) < len(want) for reader, want in zip(readers, wanted, strict=True)):
                    await asyncio.sleep(0.05)
        finally:
            is_over.set()
            for task in reading:
                task.cancel()
            await asyncio.wait([killing, *reading])
        for task in reading:
            assert task.cancelled(), task.exception()
    for reader, want in zip(readers, wanted, strict=True):
        assert reader.seen == want
    assert wanted[0] == list(range(1, len(wanted[0]) + 1))
    lives = sum(reader.lives for reader in readers)
    return f"{len(wanted[0])} events, {killed} kills, {lives} lives of clients"


async def _append(dsn: str, events: int, per_s: float) -> None:
    store = PostgresStore(dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    try:
        for account in ACCOUNTS:
            await bus.execute(open_account(account))
        for first in range(0, events - len(ACCOUNTS), AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, events - len(ACCOUNTS)))
            await asyncio.gather(*(bus.execute(place(f"o-{n}", account=ACCOUNTS[n * 7 % 10])) for n in numbers))
            await asyncio.sleep(AT_ONCE / per_s)
    finally:
        await bus.stop()
        await store.close()


async def _kill(server: Served, dsn: str, is_over: asyncio.Event) -> int:
    """Each in turn, in any order. Returns how many it were."""
    killed = 0
    while not is_over.is_set():
        for what in random.sample((SERVER, *BACKENDS), 1 + len(BACKENDS)):
            await asyncio.sleep(random.uniform(*PAUSE_S))
            if what == SERVER:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            else:
                await asyncio.to_thread(_end, dsn, BACKENDS[what])
            killed += 1
    return killed


def _end(dsn: str, queries: list[str]) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_END, [queries])


def _positions(dsn: str, account: str | None) -> list[int]:
    with psycopg.connect(dsn) as connection:
        query = "select position from eventstore.events where aggregate_id = coalesce(%s, aggregate_id) order by 1"
        return [position for (position,) in connection.execute(query, [account]).fetchall()]
