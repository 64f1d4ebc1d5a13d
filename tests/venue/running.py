"""A venue in a process of its own, and a client of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from foldbook.engine.rabbit import free_port
from foldbook.resources import ROOT

START_S = 60
STOP_S = 30
FRAME_S = 20
ACCOUNT = "alice/binance/simulated"


class RunningVenue:
    """``process`` serves on ``port``."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        program = [sys.executable, "-m", "foldbook.cli", "venue", "--port", str(self.port)]
        self.command = [*program, "--data-dir", str(folder), "--until-stdin-closes", *options]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "app")])}
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it serves."""
        process = self.process = subprocess.Popen(self.command, env=self.environment, cwd=ROOT, stdin=subprocess.PIPE)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise AssertionError(f"the venue ended with {process.returncode}")
            try:
                httpx.get(f"{self.url}/health").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        process.kill()
        raise AssertionError("the venue did not start")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def end(self, number: signal.Signals) -> None:
        """End the process, and wait until it has ended."""
        self.process.send_signal(number)
        self.process.wait(STOP_S)
        assert self.process.stdin is not None
        self.process.stdin.close()

    def restart(self, number: signal.Signals) -> None:
        self.end(number)
        self.start()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=30)

    @asynccontextmanager
    async def stream(self, path: str = "/reports") -> AsyncIterator[Stream]:
        """A stream that is in force: its HELLO has come."""
        async with connect(f"ws://127.0.0.1:{self.port}{path}") as connection:
            stream = Stream(connection)
            assert (await stream.next())["kind"] == "HELLO"
            yield stream

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Orders over WebSocket."""
        async with connect(f"ws://127.0.0.1:{self.port}/orders") as connection:
            yield Session(connection)


class Session:
    """Requests, and their answers."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._lines: list[str] = []

    async def send(self, *requests: dict[str, Any] | str) -> None:
        """All of them in one frame."""
        lines = [each if isinstance(each, str) else msgspec.json.encode(each).decode() for each in requests]
        await self.connection.send("\n".join(lines))

    async def line(self) -> str:
        """The next answer, as it was sent."""
        while not self._lines:
            async with asyncio.timeout(FRAME_S):
                self._lines = str(await self.connection.recv()).split("\n")
        return self._lines.pop(0)

    async def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = msgspec.json.decode(await self.line())
        return answer

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A request, and its answer."""
        await self.send({"id": 0, "method": method, "params": params})
        answer = await self.answer()
        assert answer["id"] == 0
        return answer


class Stream:
    """Frames, one after the other."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(FRAME_S):
            frame: dict[str, Any] = msgspec.json.decode(await self.connection.recv())
        return frame

    async def told(self, count: int) -> list[tuple[str, ...]]:
        """Client order id and kind of the next reports, and of a trade its quantity."""
        frames = [await self.next() for _ in range(count)]
        return [
            (frame.get("client_order_id", "-"), frame.get("exec_type", frame["kind"]), *_quantity(frame))
            for frame in frames
        ]


def _quantity(frame: dict[str, Any]) -> tuple[str, ...]:
    return (frame["last_qty"],) if "last_qty" in frame else ()


@contextmanager
def running(folder: Path, *options: str) -> Iterator[RunningVenue]:
    venue = RunningVenue(folder, *options)
    try:
        yield venue
    finally:
        if venue.process.poll() is None:
            venue.end(signal.SIGTERM)


def order(order_id: str, side: str = "BUY", quantity: str = "10", **fields: Any) -> dict[str, Any]:
    """The body of a market order; of a limit order if it has a ``limit_price``."""
    return {
        "account": ACCOUNT,
        "client_order_id": order_id,
        "symbol": "X",
        "side": side,
        "order_type": "LIMIT" if "limit_price" in fields else "MARKET",
        "quantity": quantity,
        **fields,
    }


def quote(bid: str, ask: str, **fields: Any) -> dict[str, Any]:
    return {"symbol": "X", "bid": bid, "ask": ask, **fields}


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that was answered."""
    document: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, document["type"]) == (status, f"urn:foldbook:problem:{code}"), document
    assert document["status"] == status and document["title"] and document["detail"]
    return document
