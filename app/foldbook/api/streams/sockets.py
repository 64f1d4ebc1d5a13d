"""The client's end of a stream: how to notice that it is gone, and how to hang up on it."""

from __future__ import annotations

import asyncio

from foldbook.api.gate import Receive, Scope

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


def hang_up_soon(scope: Scope) -> None:
    """Close the connection after ``GOODBYE_S``, whether or not the client has taken what was sent by then: a closed
    connection otherwise stays until it has. The server says which connection it is."""
    transport = scope.get("state", {}).get("transport")
    if transport is not None:
        asyncio.get_running_loop().call_later(GOODBYE_S, transport.abort)
