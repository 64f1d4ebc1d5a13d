"""A separate process of clients of ``/stream/events``: ``python -m bench.streams_clients <Clients as JSON>``.

It prints ``ready`` when all have caught up, and a ``Seen`` when its standard input ends. Each connection is a raw
socket; of what comes, only ends of events and the times of recording are looked at. An event is seen when this process
has read it.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from datetime import datetime
from functools import partial
from statistics import quantiles
from typing import cast

import msgspec
import uvloop

from bench.clock import Stopwatch

CONNECT_AT_ONCE = 50
WAIT_S = 60.0

_RECORDED = re.compile(rb'"recorded_at":"([^"]+)"')
_DATA = b"\ndata: "
_CAUGHT_UP = b"\nevent: caught-up\n"


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """``accounts``: one client for each. None of them: ``everything`` clients, which follow all."""

    port: int
    accounts: list[str] = []
    everything: int = 0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How long after its recording an event was seen. Of a piece with many events, the first and the last count."""

    events: int
    connections: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_share: float


class Clock:
    """Times of recording, as seconds since 1970. The text down to the second repeats, so it is read once."""

    def __init__(self) -> None:
        self._second = b""
        self._seconds = 0.0

    def seconds_of(self, text: bytes) -> float:
        if text[:19] != self._second:
            self._second = text[:19]
            self._seconds = datetime.fromisoformat(f"{text[:19].decode()}+00:00").timestamp()
        return self._seconds + float(text[19:-1])


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, swarm: Swarm, query: str) -> None:
        self._swarm = swarm
        self._query = query
        self.caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        request = f"GET /stream/events{self._query} HTTP/1.1\r\nHost: 127.0.0.1:{self._swarm.port}\r\n\r\n"
        cast(asyncio.Transport, transport).write(request.encode())

    def data_received(self, data: bytes) -> None:
        if not self.caught_up.done():
            if _CAUGHT_UP in data:
                self.caught_up.set_result(None)
            return
        self._swarm.see(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._swarm.lost += 1
        if not self.caught_up.done():
            self.caught_up.set_exception(RuntimeError(f"the server closed a stream: {exc}"))


class Swarm:
    """All clients, and what they saw."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.events = 0
        self.lost = 0
        self.latencies_ms: list[float] = []
        self._clock = Clock()

    def see(self, data: bytes) -> None:
        now = time.time()
        self.events += data.count(_DATA)
        times = [match[1] for match in (_RECORDED.search(data), _last(data)) if match is not None]
        for text in times[:1] if times[:1] == times[1:] else times:
            self.latencies_ms.append((now - self._clock.seconds_of(text)) * 1e3)


def _last(data: bytes) -> re.Match[bytes] | None:
    at = data.rfind(b'"recorded_at":"')
    return None if at < 0 else _RECORDED.match(data, at)


async def listen(task: Clients) -> Seen:
    loop = asyncio.get_running_loop()
    swarm = Swarm(task.port)
    queries = [f"?after=now&account={account}" for account in task.accounts] or ["?after=now"] * task.everything
    async with asyncio.timeout(WAIT_S):
        for first in range(0, len(queries), CONNECT_AT_ONCE):
            made = [
                loop.create_connection(partial(Connection, swarm, query), "127.0.0.1", task.port)
                for query in queries[first : first + CONNECT_AT_ONCE]
            ]
            await asyncio.gather(*(connection.caught_up for _, connection in await asyncio.gather(*made)))
    print("ready", flush=True)
    stopwatch = Stopwatch()
    await loop.run_in_executor(None, sys.stdin.read)
    if swarm.lost:
        raise RuntimeError(f"{swarm.lost} streams were closed by the server")
    percentiles = quantiles(swarm.latencies_ms, n=100)
    return Seen(
        events=swarm.events,
        connections=len(queries),
        p50_ms=percentiles[49],
        p99_ms=percentiles[98],
        max_ms=max(swarm.latencies_ms),
        cpu_share=stopwatch.slice(0).cpu_share or 0.0,
    )


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(listen(msgspec.json.decode(sys.argv[1], type=Clients)))).decode())
