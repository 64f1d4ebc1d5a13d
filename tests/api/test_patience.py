"""How long a client may take for its next command, on a clock that jumps to whatever comes next."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

from foldbook.access.principal import ANYONE
from foldbook.api.commands.bulk import MEDIA_TYPE, PATH, BulkCommands
from foldbook.api.gate import PRINCIPAL
from foldbook.engine.domains import DOMAINS, commands_of
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.wire.connections import Connections
from tests.api.conftest import ACCOUNT
from tests.api.test_bulk import place
from tests.api.test_connection_limits import a_socket

PATIENCE_S = 30.0
SCOPE = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", PRINCIPAL: ANYONE}
HEADERS = [(b"host", b"localhost"), (b"content-type", MEDIA_TYPE.encode())]


class _Jump(selectors.DefaultSelector):
    """Waits for nothing: the time is later instead."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout is not None:
            self.now_s += max(timeout, 0)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


class _Bus:
    """Each command takes ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def submit(self, *_: object, **__: object) -> asyncio.Future[CommandResult]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[CommandResult] = loop.create_future()
        result = CommandResult(
            aggregate_id=ACCOUNT, shard=0, position=1, sequence=1, events=("OrderCreated",), command_id=uuid4()
        )
        loop.call_later(self._seconds, future.set_result, result)
        return future


Pieces = Callable[[asyncio.Queue[dict[str, Any]]], AsyncIterator[bytes]]


def exchange(command_s: float, pieces: Pieces, window_max: int = 100) -> tuple[list[int], float]:
    """The status of each answer (201: of a command), and how long the request took, in seconds."""

    async def run() -> tuple[list[int], float]:
        answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        coming: asyncio.Queue[bytes | None] = asyncio.Queue()
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            piece = await coming.get()
            return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

        async def client() -> None:
            async for piece in pieces(answers):
                coming.put_nowait(piece)
            coming.put_nowait(None)

        async def send(message: dict[str, Any]) -> None:
            for line in message.get("body", b"").splitlines():
                answer = json.loads(line)
                statuses.append(answer.get("status", 201))
                answers.put_nowait(answer)

        bulk = BulkCommands(
            commands_of(DOMAINS),
            _Bus(command_s),  # type: ignore[arg-type]
            lambda *_: None,
            check_live=lambda _: None,
            window_max=window_max,
            body_bytes_max=1 << 20,
            progress_timeout_s=PATIENCE_S,
        )
        sending = asyncio.create_task(client())
        await bulk({**SCOPE, "headers": HEADERS}, receive, send)
        sending.cancel()
        return statuses, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(run())


def test_a_client_that_waits_for_its_answers_is_given_the_time_they_take() -> None:
    async def pieces(answers: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[bytes]:
        for number in range(5):
            yield place(f"o-{number}")
            await answers.get()
            await asyncio.sleep(PATIENCE_S - 1)

    assert exchange(10 * PATIENCE_S, pieces) == ([201] * 5, 5 * (11 * PATIENCE_S - 1))


def test_lines_that_wait_until_there_is_room_use_up_none_of_it() -> None:
    async def pieces(_: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[bytes]:
        yield place("o-1") + b"{}\n" * 5
        await asyncio.sleep(3 * PATIENCE_S)
        yield b"{}\n"
        await asyncio.sleep(PATIENCE_S / 2 - 1)
        yield b"{}\n"

    assert exchange(2.5 * PATIENCE_S, pieces, window_max=1) == ([201] + [400] * 7, 3.5 * PATIENCE_S - 1)


def test_what_is_no_command_wins_none() -> None:
    async def pieces(_: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[bytes]:
        yield place("o-1")
        for number in range(1_000):
            await asyncio.sleep(1)
            yield b"{}\n" if number % 2 else b" \n"

    statuses, seconds = exchange(0.5, pieces)
    assert (statuses[0], set(statuses[1:-1]), statuses[-1]) == (201, {400}, 408)
    assert seconds == PATIENCE_S + 0.5


def test_a_client_that_says_nothing_is_told_so() -> None:
    async def pieces(_: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[bytes]:
        await asyncio.sleep(10 * PATIENCE_S)
        yield b""

    assert exchange(1, pieces) == ([408], PATIENCE_S)


def test_a_connection_that_we_do_not_read_is_not_late() -> None:
    async def run() -> list[bool]:
        connections = Connections(4, PATIENCE_S, PATIENCE_S)
        held_up, other = a_socket(0, None, is_idle=False), a_socket(0, None, is_idle=False)
        seen = []
        for each in (held_up, other):
            each.due_from_s = 0.0
            connections.add(each)
        held_up.is_held_up = True
        await asyncio.sleep(2 * PATIENCE_S)
        seen += [held_up.is_ended, other.is_ended]
        held_up.is_held_up = False
        await asyncio.sleep(PATIENCE_S - 1)
        seen.append(held_up.is_ended)
        await asyncio.sleep(3)
        seen.append(held_up.is_ended)
        for each in (held_up, other):
            connections.remove(each)
        return seen

    with asyncio.Runner(loop_factory=_Loop) as runner:
        assert runner.run(run()) == [False, True, False, True]
