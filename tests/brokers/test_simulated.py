"""The adapter of the simulated venue, where the contract of the port says nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foldbook.brokers.simulated import SimulatedBroker, _Health
from tests.brokers.gateway_world import now


class Greeting:
    """A stream that greets when the test says so, and tells nothing."""

    def __init__(self) -> None:
        self.is_read = asyncio.Event()
        self.hello = asyncio.Event()

    async def receive(self) -> None:
        self.is_read.set()
        await self.hello.wait()

    def __aiter__(self) -> Greeting:
        return self

    async def __anext__(self) -> Any:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("ticks", range(5))
async def test_who_is_canceled_while_the_venue_greets_ends(monkeypatch: pytest.MonkeyPatch, ticks: int) -> None:
    """asyncio.wait_for of Python 3.11 forgets a cancel that comes together with what it waits for."""
    socket = Greeting()

    async def ask(*_: object) -> _Health:
        return _Health(deduplicates=True, replaces=True)

    async def connect(_: str) -> Any:
        return socket

    broker = SimulatedBroker("http://venue", now)
    monkeypatch.setattr(broker, "_ask", ask)
    monkeypatch.setattr(broker, "_connect", connect)

    async def listen() -> None:
        async with broker.reports() as reports:
            async for _ in reports:
                pass

    listening = asyncio.create_task(listen())
    await socket.is_read.wait()
    socket.hello.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    listening.cancel()
    done, _ = await asyncio.wait((listening,), timeout=20)
    assert done and listening.cancelled()
    await broker.close()
