"""As much of a venue as a feed speaks with, on a port of this machine, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import WSMsgType, web


class SmallVenue:
    """``told`` has what it was told, each with its path. ``gate``: while it is not set, nothing is answered."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.requests = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.refused_symbols: set[str] = set()
        self.failures = 0
        """So many requests are answered with 500."""
        self.streams: set[web.WebSocketResponse] = set()
        self.queries: list[str] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        for path in ("/quotes", "/trades", "/bars"):
            app.router.add_put(path, self._take)
        app.router.add_get("/market", self._stream)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        self.gate.set()
        for stream in list(self.streams):
            await stream.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def send(self, frame: object) -> None:
        """To every stream."""
        for stream in list(self.streams):
            await stream.send_str(frame if isinstance(frame, str) else msgspec.json.encode(frame).decode())

    async def _take(self, request: web.Request) -> web.Response:
        self.requests += 1
        data = msgspec.json.decode(await request.read())
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            return web.Response(status=500)
        if any(datum["symbol"] in self.refused_symbols for datum in data):
            return web.json_response({"detail": "no such symbol"}, status=422)
        self.told += ((request.path, datum) for datum in data)
        return web.json_response({"count": len(data)})

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        self.queries.append(request.query_string)
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        await stream.send_str('{"kind": "HELLO", "time": "2026-01-02T12:00:00Z"}')
        self.streams.add(stream)
        try:
            async for message in stream:
                assert message.type is WSMsgType.TEXT
        finally:
            self.streams.discard(stream)
        return stream


@asynccontextmanager
async def small_venue() -> AsyncIterator[SmallVenue]:
    venue = SmallVenue()
    await venue.start()
    try:
        yield venue
    finally:
        await venue.stop()
