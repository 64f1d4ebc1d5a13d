"""A session at the simulated venue: one connection for all orders, many requests under way, answers matched by id.

What is asked while a frame is being sent goes out in the next one, together, a line each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, TypeAlias

import aiohttp
import msgspec

from foldbook.brokers.port import BrokerUnavailable

Socket: TypeAlias = aiohttp.ClientWebSocketResponse


class VenueAnswer(msgspec.Struct, frozen=True):
    """The order, or the problem, as JSON; the other one is empty."""

    id: int
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(VenueAnswer).decode


class VenueSession:
    """Connects when something is asked and there is no connection, or none any more."""

    def __init__(self, connect: Callable[[], Awaitable[Socket]]) -> None:
        self._connect = connect
        self._connecting = asyncio.Lock()
        self._connection: Connection | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, method: str, params: Mapping[str, Any]) -> VenueAnswer:
        """The venue's answer. Raises ``BrokerUnavailable``, and what connecting raises, if there is none: nobody knows
        what became of the request.

        Who does not wait any longer takes back what was not sent yet.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._connected()
        return await connection.ask(method, params)

    async def _connected(self) -> Connection:
        async with self._connecting:
            connection = self._connection
            if connection is None or not connection.is_open:
                connection = self._connection = Connection(await self._connect())
                running = asyncio.create_task(connection.run(), name="the session at the venue")
                self._running.add(running)
                running.add_done_callback(self._running.discard)
            return connection

    async def close(self) -> None:
        for running in self._running:
            running.cancel()
        if self._running:
            await asyncio.wait(self._running)


class Connection:
    """One of a session's connections, until it is lost. What was not answered by then never is."""

    def __init__(self, socket: Socket) -> None:
        self.is_open = True
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[VenueAnswer]] = {}
        self._unsent: list[tuple[asyncio.Future[VenueAnswer], bytes]] = []
        self._has_some = asyncio.Event()

    async def ask(self, method: str, params: Mapping[str, Any]) -> VenueAnswer:
        number = next(self._numbers)
        given = {name: value for name, value in params.items() if value is not None}
        answer: asyncio.Future[VenueAnswer] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._unsent.append((answer, _encode({"id": number, "method": method, "params": given})))
        self._has_some.set()
        try:
            return await answer
        finally:
            del self._answers[number]

    async def run(self) -> None:
        """Send and receive until the connection ends, or tells what makes no sense."""
        tasks = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        reason = "the connection was closed"
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            reason = next((str(error) for task in done if (error := task.exception()) is not None), reason)
        finally:
            self.is_open = False
            for task in tasks:
                task.cancel()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(BrokerUnavailable(reason))
            await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            for line in message.data.split("\n"):
                answer = _decode(line)
                waiting = self._answers.get(answer.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)

    async def _write(self) -> None:
        while True:
            await self._has_some.wait()
            self._has_some.clear()
            unsent, self._unsent = self._unsent, []
            await self.send([line for answer, line in unsent if not answer.done()])

    async def send(self, lines: list[bytes]) -> None:
        """In one frame."""
        if lines:
            await self._socket.send_str(b"\n".join(lines).decode())
