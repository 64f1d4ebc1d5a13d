"""A venue, a database with its projector, and gateways that take each other's place: where the cells are tried."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import psutil
import psycopg

from foldbook.eventstore.commands.submission import CommandResult
from foldbook.trading.commands import BookCommand
from tests.brokers.gateway_world import WAIT_S, GatewayWorld
from tests.brokers.matrix.traps import Said, Start, Told, Trap
from tests.brokers.venue_process import VenueProcess
from tests.builders import open_account
from tests.readside.projecting import projecting

TERM_S = 1.0
SEND_S = 0.3
SETTLE_S = 0.2

_numbers = count(1)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class CountingVenue(VenueProcess):
    """A venue that tells which requests have reached it."""

    def start(self) -> None:
        arguments = ["venue", "--port", str(self.port), "--data-dir", str(self.folder), *self.options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.brokers.matrix.counting_venue", *arguments],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def requests(self, account: str) -> list[str]:
        """What was asked for the account, such as ``submit o-1:1`` and ``cancel o-1:1``."""
        asked: list[str] = self.client.get("/requests", params={"account": account}).json()
        return asked

    def positions(self, account: str) -> dict[str, str]:
        held = self.client.get("/positions", params={"account": account}).json()["positions"]
        return {each["symbol"]: each["quantity"] for each in held}


class CaughtGateway:
    """A gateway in a process of its own, as the test talks to it."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = psutil.Process(pid)
        self._reader = reader
        self._writer = writer

    async def tell(self, told: Told) -> Said:
        self._writer.write(msgspec.json.encode(told) + b"\n")
        return msgspec.json.decode(await self._reader.readline(), type=Said)

    async def works(self) -> None:
        """Wait until it does."""
        async with asyncio.timeout(WAIT_S):
            while not (await self.tell(Told())).is_working:
                await asyncio.sleep(0.02)

    async def is_gone(self, within_s: float) -> bool:
        """Wait for its end."""
        try:
            async with asyncio.timeout(within_s):
                await self._reader.read()
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        self._writer.close()
        return True

    async def is_stopped(self, within_s: float) -> bool:
        """Wait until it has stopped itself."""
        try:
            async with asyncio.timeout(within_s):
                while self.process.status() != psutil.STATUS_STOPPED:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True

    async def end(self) -> None:
        """Let it end in order: the next takes over at once."""
        self._writer.close()
        with suppress(psutil.NoSuchProcess):
            async with asyncio.timeout(WAIT_S):
                while self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
                    await asyncio.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class Nursery:
    """Starts gateways fast."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.brokers.matrix.nursery"],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    async def gateway(self, dsn: str, venue_url: str, trap: Trap | None) -> CaughtGateway:
        number = next(_numbers)
        control = str(self._folder / f"{number}.socket")
        start = Start(
            dsn=dsn,
            venue_url=venue_url,
            control=control,
            holder=f"gateway {number}",
            term_s=TERM_S,
            send_s=SEND_S,
            settle_s=SETTLE_S,
            trap=trap,
        )
        pid = int(await asyncio.to_thread(self._fork, msgspec.json.encode(start).decode()))
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    return CaughtGateway(pid, *await asyncio.open_unix_connection(control))
                except (FileNotFoundError, ConnectionError):
                    await asyncio.sleep(0.01)

    def _fork(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def end(self) -> None:
        """All of its gateways end with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


class Stand:
    """``world``: of the account that is looked at; the venue and the log are those of all accounts before it, too."""

    def __init__(self, dsn: str, venue: CountingVenue, nursery: Nursery) -> None:
        self.dsn = dsn
        self.venue = venue
        self.world = GatewayWorld(dsn, venue)
        self._nursery = nursery
        self.working: CaughtGateway

    async def start(self) -> None:
        await self.world.bus.start()
        self.working = await self.gateway()
        await self.working.works()

    async def stop(self) -> None:
        await self.working.end()
        await self.world.bus.stop()
        await self.world.store.close()

    async def gateway(self, trap: Trap | None = None) -> CaughtGateway:
        """Another one. It waits until nobody else works."""
        return await self._nursery.gateway(self.dsn, self.venue.url, trap)

    async def open_account(self) -> None:
        """A fresh one, in which a fresh symbol is traded."""
        number = next(_numbers)
        self.world.account = f"user-{number}/venue/simulated"
        self.world.symbol = f"SYMBOL{number}"
        await self.execute(open_account(self.world.account))

    async def execute(self, command: BookCommand) -> CommandResult:
        return await self.world.execute(command)

    async def settle(self) -> None:
        """Wait until the gateway has heard all of the account's events, and has nothing more to do."""
        async with asyncio.timeout(WAIT_S):
            while True:
                sequence = len(await self.world.events())
                said = await self.working.tell(Told(account=self.world.account))
                if said.is_working and said.is_idle and said.sequence == sequence == len(await self.world.events()):
                    return
                await asyncio.sleep(0.03)

    async def visible_doubts(self) -> set[str]:
        """The ids of the account's doubts, as the API lists them, once the projector has come as far as the log."""
        return await asyncio.to_thread(self._visible_doubts)

    def _visible_doubts(self) -> set[str]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            row = connection.execute("select brokers.query_doubts(%s, 100)", [self.world.account]).fetchone()
            assert row is not None
            found: Any = row[0] if isinstance(row[0], dict) else json.loads(row[0])
            return {doubt["id"] for doubt in found["doubts"]}


@asynccontextmanager
async def standing(dsn: str, *options: str) -> AsyncIterator[Stand]:
    """A stand with a venue of these options."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="foldbook-")))
        venue = CountingVenue(folder / "venue", *options)
        stack.callback(venue.stop)
        await asyncio.to_thread(venue.start)
        nursery = Nursery(folder)
        stack.callback(nursery.end)
        await stack.enter_async_context(projecting(dsn))
        stand = Stand(dsn, venue, nursery)
        await stand.start()
        stack.push_async_callback(stand.stop)
        yield stand
