"""The client's end of a stream: how to notice that it is gone, and how to hang up on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from foldbook.api.gate import Message, Receive, Scope, Send
from foldbook.wire.connections import CONNECTION

STALLED_S = 10.0
"""How long a client may take nothing of what is sent to it."""
GOODBYE_S = 1.0
"""How long a client has to take the end of its stream."""


async def serve_until_gone(sending: asyncio.Task[None], receive: Receive) -> bool:
    """Return when ``sending`` has ended, or True when the client is gone. Then no task is left. Raises what ``sending``
    raised."""
    leaving = asyncio.create_task(_until_gone(receive))
    tasks = (sending, leaving)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return leaving.done()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if not sending.cancelled():
            sending.result()


async def _until_gone(receive: Receive) -> None:
    """What a client sends is not read; that it leaves is."""
    while not (await receive())["type"].endswith(".disconnect"):
        pass


@contextmanager
def watched(send: Send, stalled_s: float) -> Iterator[Send]:
    """Sends; the current task is cancelled if the client takes nothing for so long."""
    task = asyncio.current_task()
    assert task is not None, "it is cancelled"
    watch = _Watch(task, send, stalled_s)
    try:
        yield watch.send
    finally:
        watch.end()


class _Watch:
    """One timer serves for many messages: a timeout of their own would cost a tenth of what sending costs."""

    def __init__(self, task: asyncio.Task[Any], send: Send, stalled_s: float) -> None:
        self._task = task
        self._send = send
        self._stalled_s = stalled_s
        self._loop = asyncio.get_running_loop()
        self._since_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, message: Message) -> None:
        self._since_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(self._since_s + self._stalled_s, self._look)
        await self._send(message)
        self._since_s = None

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._since_s is None:
            return
        due_s = self._since_s + self._stalled_s
        if self._loop.time() < due_s:
            self._timer = self._loop.call_at(due_s, self._look)
        else:
            self._task.cancel()


def hang_up_soon(scope: Scope) -> None:
    """Close the connection after ``GOODBYE_S``, whether or not the client has taken what was sent by then: a closed
    connection otherwise stays until it has. The server says which connection it is."""
    if (connection := scope.get(CONNECTION)) is not None:
        asyncio.get_running_loop().call_later(GOODBYE_S, connection.transport.abort)
