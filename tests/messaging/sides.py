"""The two ways to an engine, as real processes: its API on this machine, and RabbitMQ with the intake and the relay."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
from aio_pika.exceptions import ChannelNotFoundEntity

from foldbook.engine.rabbit import free_port
from foldbook.market.feeds.told import Sink
from foldbook.market.feeds.venue import VenueSink
from foldbook.messaging.amqp import AmqpTransport
from foldbook.messaging.amqp_market import AmqpSink
from foldbook.messaging.connection import RabbitUnavailable, connected
from foldbook.messaging.local import LocalTransport
from foldbook.messaging.topology import commands_queue
from foldbook.messaging.transport import Transport
from tests.services.processes import CHECKOUT, Process, venue
from tests.waiting import block_until


class Side(Protocol):
    """``takes``: the process that takes commands, which a test may stop and start."""

    name: str
    dsn: str
    operator: str

    def transport(self, key: str | None, **options: Any) -> Transport: ...

    def out(self) -> AbstractAsyncContextManager[Sink]: ...

    def start(self) -> None: ...

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None: ...

    def issue(self, *arguments: str) -> str: ...


class _Processes:
    def __init__(self, folder: Path, dsn: str, **variables: str) -> None:
        self._folder = folder
        self.variables = {"DATABASE_URL": dsn, "FOLDBOOK_DATA_DIR": str(folder), "FOLDBOOK_ACCESS": "keys"}
        self.variables |= variables
        self.dsn = dsn
        self._takes: Process | None = None
        self.operator = self.issue("operator", "--role", "operator")

    def process(self, *arguments: str) -> Process:
        return Process(self._folder, *arguments, **self.variables)

    def issue(self, *arguments: str) -> str:
        """A new key."""
        return self._run("keys", "issue", *arguments)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "foldbook.cli", *arguments],
            cwd=CHECKOUT,
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._takes is not None:
            self._takes.stop(how)
            self._takes = None


class LocalSide(_Processes):
    name = "local"

    def __init__(self, folder: Path, dsn: str, venue_url: str) -> None:
        self._port = free_port()
        super().__init__(folder, dsn, FOLDBOOK_PORT=str(self._port))
        self.venue_url = venue_url
        self._url = f"http://127.0.0.1:{self._port}"

    def transport(self, key: str | None, **_: Any) -> Transport:
        return LocalTransport(self._url, key, self.dsn, self.venue_url)

    def out(self) -> VenueSink:
        return VenueSink(self.venue_url)

    def start(self) -> None:
        process = self._takes = self.process("serve")

        def is_ready() -> bool:
            assert process.process.poll() is None, process.said
            headers = {"Authorization": f"Bearer {self.operator}", "Content-Type": "application/x-ndjson"}
            try:
                return httpx.post(f"{self._url}/commands", headers=headers, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        block_until(is_ready)


class AmqpSide(_Processes):
    name = "amqp"

    def __init__(self, folder: Path, dsn: str, amqp_url: str) -> None:
        super().__init__(folder, dsn, FOLDBOOK_AMQP_URL=amqp_url)
        self._url = amqp_url

    def transport(self, key: str | None, **options: Any) -> Transport:
        return AmqpTransport(self._url, key, 1, "simulated", **options)

    def out(self) -> AmqpSink:
        return AmqpSink(self._url, "simulated", repeat_s=0.2)

    def start(self) -> None:
        process = self._takes = self.process("intake")

        def takes() -> bool:
            assert process.process.poll() is None, process.said
            with ThreadPoolExecutor(1) as thread:  # callable from a test that runs in an event loop
                return thread.submit(asyncio.run, _consumers(self._url, commands_queue(0))).result() > 0

        block_until(takes)


async def _consumers(url: str, queue: str) -> int:
    """Of a queue; 0 if there is none."""
    try:
        async with connected(url, "test") as connection, connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.consumer_count or 0
    except (RabbitUnavailable, ChannelNotFoundEntity):
        return 0


@contextmanager
def local_side(folder: Path, dsn: str) -> Iterator[LocalSide]:
    with venue(folder) as venue_url:
        side = LocalSide(folder, dsn, venue_url)
        try:
            side.start()
            yield side
        finally:
            side.stop(signal.SIGKILL)


@contextmanager
def amqp_side(folder: Path, dsn: str, amqp_url: str) -> Iterator[AmqpSide]:
    side = AmqpSide(folder, dsn, amqp_url)
    relay = side.process("relay")
    try:
        side.start()
        yield side
    finally:
        side.stop(signal.SIGKILL)
        relay.stop(signal.SIGKILL)
