"""What one client can make the engine keep, or do: requests without an end, answers that nobody takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from foldbook.api.commands.bulk import REQUESTS_MAX
from foldbook.config import Settings
from foldbook.engine.rabbit import free_port
from foldbook.engine.server import FILES_KEPT, connections_max
from foldbook.wire.requests import HEAD_BYTES_MAX, HEADERS_MAX, PIPELINED_MAX, TARGET_BYTES_MAX
from tests.api.conftest import AT, Engine, serving, settings_for
from tests.api.test_connections import GET, answer, connected, post
from tests.api.test_one_meaning import CHUNKED, OF_JSON, head
from tests.services.processes import running
from tests.waiting import until

MIB = 1 << 20
GROWTH_MIB_MAX = 40
ORDERS = f"POST {AT}/orders HTTP/1.1"


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    async with serving(settings_for(database)) as running:
        yield running


@pytest.fixture
async def hasty(database: str) -> AsyncIterator[Engine]:
    settings = Settings(database_url=SecretStr(database), request_timeout_s=1, answer_timeout_s=1)
    async with serving(settings) as running:
        yield running


class Process:
    """An engine in a process of its own."""

    def __init__(self, port: int, pid: int) -> None:
        self.address = ("127.0.0.1", port)
        self._process = psutil.Process(pid)

    @property
    def memory_mib(self) -> float:
        return float(self._process.memory_info().rss) / MIB

    async def health(self) -> int:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            async with asyncio.timeout(30):
                writer.write(GET)
                return int((await reader.readline()).split()[1])
        finally:
            writer.close()


@pytest.fixture
def process(database: str, tmp_path: Path) -> Iterator[Process]:
    port = free_port()
    variables = {
        "DATABASE_URL": database,
        "FOLDBOOK_PORT": str(port),
        "FOLDBOOK_REQUEST_TIMEOUT_S": "2",
        "FOLDBOOK_ANSWER_TIMEOUT_S": "2",
    }
    with running(tmp_path, "serve", **variables) as started:
        yield Process(port, started.process.pid)


async def sent(address: tuple[str, int], first: bytes, piece: bytes, total_bytes: int) -> bytes:
    """What is answered to so much. The server may stop reading at any time."""
    reader, writer = await asyncio.open_connection(*address)
    answered = asyncio.create_task(reader.read())
    try:
        with suppress(ConnectionError):
            writer.write(first)
            for _ in range(total_bytes // len(piece)):
                writer.write(piece)
                await writer.drain()
                if answered.done():
                    break
        with suppress(ConnectionError):
            return await asyncio.wait_for(answered, 30)
        return b""
    finally:
        answered.cancel()
        writer.close()


LINE = head("GET /health/live HTTP/1.1")[:-2]
CHUNKS = head(ORDERS, OF_JSON, CHUNKED)
ENDLESS = {
    "a target": (b"GET /", b"x" * 65_536, 24, 414),
    "a header": (LINE + b"X-A: ", b"x" * 65_536, 60, 431),
    "a name of a header": (LINE, b"x" * 65_536, 60, 431),
    "headers": (LINE, b"X-A: b\r\n" * 8_192, 60, 431),
    "empty lines": (b"", b"\r\n" * 32_768, 24, 431),
    "an extension of a chunk": (CHUNKS + b"5;", b"x" * 65_536, 24, 400),
    "trailers": (CHUNKS + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n" * 8_192, 24, 400),
}


async def test_what_has_no_end_is_not_kept(process: Process) -> None:
    async def is_up() -> bool:
        with suppress(ConnectionError):
            return await process.health() == 200
        return False

    await until(is_up)
    before_mib = process.memory_mib
    answered = set()
    for what, (first, piece, mib, status) in ENDLESS.items():
        said = await sent(process.address, first, piece, mib * MIB)
        # The rest of what was sent may have reset the connection before the answer was read.
        if said:
            assert said.split()[1] == b"%d" % status, (what, said)
            answered.add(what)
        assert await process.health() == 200
    assert answered
    await _hold_idle_connections(process)
    await _read_nothing(process)
    assert process.memory_mib - before_mib < GROWTH_MIB_MAX


async def _hold_idle_connections(process: Process) -> None:
    async with AsyncExitStack() as stack:
        for number in range(1_100):
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection(*process.address)
                stack.callback(writer.close)
            if number % 100 == 0:
                assert await process.health() == 200
        assert await process.health() == 200


async def _read_nothing(process: Process) -> None:
    """Of 250 refusals, each of a body of 0.9 MB."""
    body = json.dumps({"x" * 900_000: 1}).encode()
    request = head(ORDERS, OF_JSON, f"Content-Length: {len(body)}") + body
    _, writer = await asyncio.open_connection(*process.address)
    try:
        for _ in range(250):
            writer.write(request)
            try:
                await asyncio.wait_for(writer.drain(), 1)
            except (TimeoutError, ConnectionError):
                break
    finally:
        writer.close()
    assert await process.health() == 200


@pytest.mark.parametrize("way", ["fast", "front"])
async def test_a_long_request_makes_no_long_answer(engine: Engine, way: str) -> None:
    await engine.open()
    for body in ({"x" * 900_000: 1}, {"side": "x" * 900_000}):
        text = json.dumps(body).encode()
        request = head(ORDERS, OF_JSON, f"Content-Length: {len(text)}") + text
        if way == "front":
            request = head(ORDERS, OF_JSON, CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
        async with connected(engine) as (reader, writer):
            writer.write(request)
            status, _, said = await answer(reader)
        assert status in (400, 422)
        assert len(said) < 2_000
    for path in ("/docs/" + "x" * 10_000, f"/fills?{'x' * 10_000}=1"):
        assert len((await engine.client.get(path)).content) < 2_000


async def test_a_request_may_have_so_much(engine: Engine) -> None:
    async with connected(engine) as (reader, writer):
        for target, status in ((TARGET_BYTES_MAX, 400), (TARGET_BYTES_MAX + 1, 414)):
            path = "/fills?x=".ljust(target, "x")
            writer.write(head(f"GET {path} HTTP/1.1"))
            assert (await answer(reader))[0] == status
    for headers, status in ((HEADERS_MAX - 1, 200), (HEADERS_MAX, 431)):
        async with connected(engine) as (reader, writer):
            writer.write(head("GET /health/live HTTP/1.1", *(f"X-{n}: a" for n in range(headers))))
            assert (await answer(reader))[0] == status
    for value, status in ((HEAD_BYTES_MAX - 100, 200), (HEAD_BYTES_MAX, 431)):
        async with connected(engine) as (reader, writer):
            writer.write(head("GET /health/live HTTP/1.1", "X-A: " + "a" * value))
            assert (await answer(reader))[0] == status
    async with connected(engine) as (reader, writer):
        large = head("GET /health/live HTTP/1.1", "X-A: " + "a" * (HEAD_BYTES_MAX + 40_000))
        writer.write(GET + large[:HEAD_BYTES_MAX])  # It begins in the read that ends another.
        assert (await answer(reader))[0] == 200
        writer.write(large[HEAD_BYTES_MAX:])
        assert (await answer(reader))[0] == 431


async def test_so_many_requests_may_wait_for_their_answers(engine: Engine) -> None:
    async with connected(engine) as (reader, writer):
        writer.write(GET * (PIPELINED_MAX + 100))
        answers = [await answer(reader) for _ in range(PIPELINED_MAX + 1)]
        assert [status for status, _, _ in answers] == [200] * PIPELINED_MAX + [400]
        assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_a_refusal_waits_for_the_answers_before_it(engine: Engine) -> None:
    await engine.open()
    async with connected(engine) as (reader, writer):
        writer.write(post("a") + GET + b"GET //x HTTP/1.1\r\nHost: localhost\r\n\r\n" + post("b"))
        assert [(await answer(reader))[0] for _ in range(3)] == [201, 200, 400]
        assert await asyncio.wait_for(reader.read(), 30) == b""
    assert (await engine.get("/events"))["head"] == 2


async def test_nothing_after_the_last_request_is_done(engine: Engine) -> None:
    await engine.open()
    async with connected(engine) as (reader, writer):
        writer.write(post("a", "Connection: close") + post("b"))
        assert (await answer(reader))[0] == 201
        assert await asyncio.wait_for(reader.read(), 30) == b""
    assert (await engine.get("/events"))["head"] == 2


async def test_an_upgrade_that_is_not_ours_is_a_request_like_others(engine: Engine) -> None:
    upgrade = head("GET /health/live HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c")
    async with connected(engine) as (reader, writer):
        writer.write(upgrade * 3 + GET)
        assert [(await answer(reader))[0] for _ in range(4)] == [200] * 4


async def test_empty_lines_do_not_keep_a_connection(hasty: Engine) -> None:
    async with connected(hasty) as (reader, writer):
        writer.write(GET)
        assert (await answer(reader))[0] == 200
        writer.write(b"\r\n")
        assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_takes_no_answer_is_hung_up_on(hasty: Engine) -> None:
    """The answers to it wait, and no request of it is done any more."""
    await hasty.open()
    async with connected(hasty) as (_, writer):
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(60):
                while True:
                    writer.write(head("GET /openapi.json HTTP/1.1"))
                    await writer.drain()
                    await asyncio.sleep(0.001)


async def test_bulk_requests_without_commands_give_their_places_back(hasty: Engine) -> None:
    async with AsyncExitStack() as stack:
        reading = []
        for piece in (b"\n", b" \n", b"{}\n", b"x") * (REQUESTS_MAX // 4):
            reader, writer = await stack.enter_async_context(connected(hasty))
            writer.write(head("POST /commands HTTP/1.1", "Content-Type: application/x-ndjson", CHUNKED))
            said = asyncio.create_task(reader.read())
            reading.append(said)
            stack.push_async_callback(_ended, asyncio.create_task(_dribble(writer, piece, said)))
        async with asyncio.timeout(60):
            for said in reading:
                assert b"request-timeout" in await said
    response = await hasty.client.post("/commands", content=b"", headers={"Content-Type": "application/x-ndjson"})
    assert (response.status_code, response.content) == (200, b"")


async def _dribble(writer: asyncio.StreamWriter, piece: bytes, said: asyncio.Task[bytes]) -> None:
    while not said.done():
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        await asyncio.sleep(0.1)


async def _ended(task: asyncio.Task[None]) -> None:
    with suppress(ConnectionError):
        await task


async def test_deeply_nested_lines_are_malformed_and_leave_nothing_in_the_log(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    nested = [opening * 5_000 + b"1" + closing * 5_000 for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"))]
    started = [b'{"type":"PlaceOrder","zz":%b}' % each for each in nested]
    lines = [*nested, *started] * 20
    response = await engine.client.post(
        "/commands", content=b"\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
    )
    answers = [json.loads(line) for line in response.content.splitlines()]
    assert [each["status"] for each in answers] == [400] * len(lines)
    for each in (*nested, b'{"position":%b}' % nested[0]):
        for path in (f"{AT}/orders", "/admin/projections/orders/skip", "/keys"):
            refused = await engine.client.post(path, content=each, headers={"Content-Type": "application/json"})
            assert refused.status_code == 400, refused.text
    assert caplog.records == []


def test_there_are_files_for_all_connections() -> None:
    assert connections_max(100) == 100
    assert connections_max(10**9) >= 1
    import resource

    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 100 + FILES_KEPT
