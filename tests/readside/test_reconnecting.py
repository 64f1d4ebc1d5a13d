"""The loop that keeps a reader connected: it logs a loss once, survives every error, and stops on request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.readers.reconnecting import Reconnecting
from tests.waiting import until

SOON_S = 5.0


class Connection:
    """As much of a connection as the loop itself uses."""

    def __init__(self) -> None:
        self.is_terminated = False

    def terminate(self) -> None:
        self.is_terminated = True


class Server:
    """Connects, except where it was told to fail: each attempt takes the next of ``errors``, None lets it through."""

    def __init__(self, *errors: BaseException | None) -> None:
        self._errors = list(errors)
        self.connections: list[Connection] = []

    async def connect(self, _dsn: str) -> Any:
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        self.connections.append(Connection())
        return self.connections[-1]


def looping(
    server: Server, work: Callable[[Reconnecting], Awaitable[None]], backoff: Backoff | None = None
) -> Reconnecting:
    """A loop whose work is given the loop."""
    loop: Reconnecting = Reconnecting(
        "the reader", "", lambda _: work(loop), connect=server.connect, backoff=backoff or Backoff(0.001, 0.004)
    )
    return loop


async def work_until_stopped(loop: Reconnecting) -> None:
    loop.is_well()
    await loop.stopping.wait()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.endswith("reconnecting")]


async def test_a_loss_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    refused = ConnectionRefusedError("refused")
    server = Server(None, refused, refused, TimeoutError(), asyncpg.CannotConnectNowError("starting up"), None)
    times = 0

    async def lose_the_first(loop: Reconnecting) -> None:
        nonlocal times
        times += 1
        loop.is_well()
        if times == 1:
            raise asyncpg.ConnectionDoesNotExistError("it went away")
        await loop.stopping.wait()

    loop = looping(server, lose_the_first)
    await loop.start()
    await until(lambda: times == 2)
    await loop.stop()
    lost, back = messages(caplog)
    assert lost == "the reader lost its connection to the database and keeps trying: it went away"
    assert back.startswith("the reader is connected again, after ")
    assert all(connection.is_terminated for connection in server.connections)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        asyncio.CancelledError(),
        ConnectionResetError(),
        asyncpg.AdminShutdownError("shutdown"),
        None,
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_happens_it_goes_on(error: BaseException | None, caplog: pytest.LogCaptureFixture) -> None:
    """``None``: the work returned although nobody asked it to stop."""
    server = Server(*[] if error is None else [error])
    times = 0

    async def fail_three_times(loop: Reconnecting) -> None:
        nonlocal times
        times += 1
        if times > 3:
            await work_until_stopped(loop)
        elif error is not None:
            raise error

    loop = looping(server, fail_three_times)
    await loop.start()
    await until(lambda: times == 4)
    await loop.stop()
    is_bug = isinstance(error, ValueError | asyncio.CancelledError)
    assert [record.levelname for record in caplog.records if record.name.endswith("reconnecting")] == [
        "ERROR" if is_bug else "WARNING"
    ]


async def test_it_stops_while_it_cannot_connect() -> None:
    class Silent(Server):
        async def connect(self, _dsn: str) -> Any:
            await asyncio.Event().wait()

    loop = looping(Silent(), work_until_stopped)
    await loop.start()
    await asyncio.sleep(0)
    await stops_at_once(loop)


async def test_it_stops_while_it_waits_for_the_next_attempt() -> None:
    server = Server(*10 * [OSError("gone")])
    waits: list[float] = []

    def never_soon() -> float:
        waits.append(60.0)
        return 1.0

    loop = looping(server, work_until_stopped, Backoff(60.0, 60.0, jitter=never_soon))
    await loop.start()
    await until(lambda: bool(waits))
    await stops_at_once(loop)


async def test_work_that_swallows_its_cancellation_is_stopped_all_the_same() -> None:
    swallowed = 0
    begun = False

    async def swallow(loop: Reconnecting) -> None:
        nonlocal swallowed, begun
        loop.is_well()
        begun = True
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    loop = looping(Server(), swallow)
    await loop.start()
    await until(lambda: begun)
    await loop.stop()
    assert swallowed == 2


async def test_work_has_its_time_to_end() -> None:
    ended = False

    async def end_well(loop: Reconnecting) -> None:
        nonlocal ended
        loop.is_well()
        await loop.stopping.wait()
        await asyncio.sleep(0.02)
        ended = True

    server = Server()
    loop = looping(server, end_well)
    await loop.start()
    await until(lambda: bool(server.connections))
    await loop.stop(grace_s=SOON_S)
    assert ended and server.connections[0].is_terminated


async def stops_at_once(loop: Reconnecting) -> None:
    began_s = time.monotonic()
    await loop.stop(grace_s=60.0)
    assert time.monotonic() - began_s < SOON_S


def test_pauses_grow_up_to_a_bound_and_begin_again() -> None:
    backoff = Backoff(0.1, 1.0, growth=3.0, jitter=lambda: 1.0)
    assert [round(backoff.next_s(), 3) for _ in range(4)] == [0.1, 0.3, 0.9, 1.0]
    backoff.reset()
    assert backoff.next_s() == 0.1


def test_jitter_takes_away_up_to_half_of_a_pause() -> None:
    assert Backoff(0.1, 1.0, jitter=lambda: 0.0).next_s() == 0.05
    pauses = {Backoff(0.1, 1.0).next_s() for _ in range(100)}
    assert len(pauses) > 50
    assert min(pauses) >= 0.05 and max(pauses) <= 0.1
