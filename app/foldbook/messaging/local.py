"""The transport on one machine: the engine's own HTTP and notifications, and the venue's stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import NamedTuple

import aiohttp

from foldbook.errors import FoldbookError, Overloaded, StoreUnavailable, reason_of
from foldbook.eventstore.command_writing import line_of
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import NO_METADATA, Command, Metadata
from foldbook.eventstore.readers.listener import LOG_CHANNEL, Listener
from foldbook.market.feeds.told import Source
from foldbook.market.feeds.venue import VenueStream
from foldbook.messaging.answers import settle

WAITING_MAX = 10_000
"""Commands that wait; one more is refused with ``Overloaded``."""
WINDOW_MAX = 256
"""Commands in one request."""
ANSWER_TIMEOUT_S = 60.0
"""Without an answer for so long, nobody knows what became of a command."""


class _Waiting(NamedTuple):
    command: Command
    line: bytes
    metadata: Metadata
    future: asyncio.Future[CommandResult]


class LocalCommands:
    """Sends commands by ``POST /commands``: while one request is under way the next gathers, so their order is kept."""

    def __init__(self, url: str, key: str | None) -> None:
        """``key`` None: an engine that is open to all."""
        self._url = f"{url.rstrip('/')}/commands"
        self._headers = {"Content-Type": "application/x-ndjson"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalCommands:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_TIMEOUT_S, sock_read=ANSWER_TIMEOUT_S)
        )
        self._task = asyncio.create_task(self._work(), name="commands")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None and self._session is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        _fail(self._waiting, StoreUnavailable("the service ends"))
        await self._session.close()

    def submit(
        self, command: Command, *, metadata: Metadata = NO_METADATA, expected_sequence: int | None = None
    ) -> asyncio.Future[CommandResult]:
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} commands are waiting already")
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(command, line_of(command, metadata, expected_sequence), metadata, future))
        self._arrived.set()
        return future

    async def execute(
        self, command: Command, *, metadata: Metadata = NO_METADATA, expected_sequence: int | None = None
    ) -> CommandResult:
        return await self.submit(command, metadata=metadata, expected_sequence=expected_sequence)

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            window = self._window()
            try:
                await self._post(window)
            finally:
                _fail(window, StoreUnavailable("the engine did not answer", in_doubt=True))
            if not self._waiting:
                self._arrived.clear()

    def _window(self) -> deque[_Waiting]:
        """What waits, as far as it belongs to the same: that is said once, for the whole request."""
        window: deque[_Waiting] = deque()
        while self._waiting and len(window) < WINDOW_MAX:
            if window and _said(self._waiting[0].metadata) != _said(window[0].metadata):
                break
            window.append(self._waiting.popleft())
        return window

    async def _post(self, window: deque[_Waiting]) -> None:
        """What has been answered leaves the window."""
        assert self._session is not None
        body = b"\n".join(waiting.line for waiting in window)
        headers = self._headers | _said(window[0].metadata)
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                if response.status != 200:
                    text = await response.read()
                    while window:
                        _settle(window.popleft(), text)
                async for line in response.content:
                    if line.strip() and window:
                        _settle(window.popleft(), line)
        except aiohttp.ClientConnectorError as error:
            _fail(window, StoreUnavailable(f"the engine cannot be reached: {error}"))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _fail(window, StoreUnavailable(f"the engine did not answer: {reason_of(error)}", in_doubt=True))


def _said(metadata: Metadata) -> dict[str, str]:
    """What the headers say of a request."""
    said = {"X-Actor": metadata.on_behalf_of, "X-Correlation-Id": metadata.correlation_id}
    return {name: text for name, text in said.items() if text is not None}


def _settle(waiting: _Waiting, text: bytes) -> None:
    settle(waiting.future, text, waiting.command)


def _fail(waiting: deque[_Waiting], error: FoldbookError) -> None:
    while waiting:
        future = waiting.popleft().future
        if not future.done():
            future.set_exception(error)


class LocalTransport:
    """``url``: the engine's. ``dsn``: of the database whose log is listened to. ``venue_url``: whose market data it
    is."""

    def __init__(self, url: str, key: str | None, dsn: str, venue_url: str) -> None:
        self.commands = LocalCommands(url, key)
        self._listener = Listener(dsn)
        self._venue_url = venue_url
        self._stack = AsyncExitStack()

    def market(self, symbols: Sequence[str]) -> Source:
        return VenueStream(self._venue_url, symbols)

    def listen(self, account: str, hint: Callable[[], None]) -> None:
        self._listener.listen(LOG_CHANNEL, lambda _: hint())

    async def __aenter__(self) -> LocalTransport:
        await self._stack.enter_async_context(self.commands)
        await self._listener.start()
        self._stack.push_async_callback(self._listener.stop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()
