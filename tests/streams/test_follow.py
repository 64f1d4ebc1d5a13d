"""The client of the stream, and the log on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from foldbook.cli.events import line_of
from foldbook.client.follow import StreamError, StreamEvent, follow
from foldbook.client.server_sent import Message, Parser
from tests.api.conftest import ACCOUNT, Engine
from tests.streams.conftest import streams_of

WAIT_S = 60


def url_of(engine: Engine) -> str:
    return "http://{}:{}".format(*engine.address)


async def events_of(stream: AsyncIterator[StreamEvent], count: int) -> list[StreamEvent]:
    async with asyncio.timeout(WAIT_S):
        return [await anext(stream) for _ in range(count)]


async def test_it_goes_on_where_it_was_when_the_stream_is_ended(engine: Engine) -> None:
    await engine.open()
    caught_up: list[str] = []
    async with aclosing(follow(url_of(engine), caught_up=caught_up.append)) as stream:
        assert [event.id for event in await events_of(stream, 1)] == ["0:1"]
        for n in range(3):
            await engine.place(f"o-{n}")
            (event,) = await events_of(stream, 1)
            assert (event.id, event.type, event.decoded()["subject"]) == (f"0:{n + 2}", "OrderCreated", f"o-{n}")
            for end in list(streams_of(engine).open._ends):
                end()
    assert caught_up[0] == "0:1"
    assert len(caught_up) > 1, "on each connection that lasted so long"


async def test_it_follows_an_account_and_a_type_from_a_checkpoint(engine: Engine) -> None:
    await engine.open()
    await engine.open("bob/x/live")
    for n in range(2):
        await engine.place(f"o-{n}")
        await engine.place(f"o-{n}", "bob/x/live")
    stream = follow(url_of(engine), after="0:3", account=ACCOUNT, type="OrderCreated")
    async with aclosing(stream):
        assert [event.id for event in await events_of(stream, 1)] == ["0:5"]


async def test_what_would_be_refused_again_is_an_error(engine: Engine) -> None:
    for after, account in (("0:7", None), (None, "nobody"), ("x", None)):
        async with aclosing(follow(url_of(engine), after=after, account=account)) as stream:
            with pytest.raises(StreamError, match=r"40\d: "):
                await events_of(stream, 1)


async def test_another_log_at_the_same_address_is_an_error() -> None:
    """It would otherwise go on in it as if it were the first."""
    logs = iter((b'{"log_id":"one"}', b'{"log_id":"two"}'))
    async with (
        fake_engine(lambda: b"id: 0:1\nevent: log\ndata: " + next(logs) + b"\n\n") as url,
        aclosing(follow(url)) as stream,
    ):
        with pytest.raises(StreamError, match="another one"):
            await events_of(stream, 1)


async def test_an_event_that_comes_twice_is_an_error() -> None:
    async with fake_engine(lambda: b"id: 0:1\nevent: A\ndata: {}\n\n") as url, aclosing(follow(url)) as stream:
        assert (await events_of(stream, 1))[0].id == "0:1"
        with pytest.raises(StreamError, match="told 0:1 after 0:1"):
            await events_of(stream, 1)


@asynccontextmanager
async def fake_engine(body: object) -> AsyncIterator[str]:
    """Answers each request with what ``body`` makes, and closes the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body())  # type: ignore[operator]
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_messages_are_read_in_pieces_of_any_size() -> None:
    text = b": hello\r\nretry: 5\nid: 0:1\nevent: A\ndata: 1\ndata:2\n\n\nid: 0:2\n\ndata: 3\n\nid: 0:9\nda"
    wanted = [Message("0:1", "A", b"1\n2"), Message("0:1", "", b""), Message("0:2", "", b""), Message("0:2", "", b"3")]
    for size in (1, 2, 3, 7, len(text)):
        parser = Parser()
        found = [one for at in range(0, len(text), size) for one in parser.feed(text[at : at + size])]
        assert found == wanted, size


def test_a_line_says_whose_event_it_is_and_what_it_says() -> None:
    document = {
        "recorded_at": "2026-01-02T03:04:05.678901Z",
        "aggregate_id": ACCOUNT,
        "subject": "o-1",
        "payload": {"symbol": "BTC", "side": "BUY", "last_qty": "1", "last_px": "100", "strategy_id": "s"},
    }
    event = StreamEvent(shard=0, position=3, type="OrderFilled", document=json.dumps(document).encode())
    assert line_of(event) == (
        "0:3  2026-01-02T03:04:05.678901Z  alice/binance/simulated  OrderFilled  "
        "o-1 side=BUY symbol=BTC last_qty=1 last_px=100"
    )


@pytest.mark.parametrize("options", [(), ("--json",)])
async def test_the_log_on_a_terminal(engine: Engine, options: tuple[str, ...]) -> None:
    await engine.open()
    host, port = engine.address
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "foldbook.cli", "events", "follow", "--after", "0:0", *options),
        env=os.environ | {"FOLDBOOK_HOST": host, "FOLDBOOK_PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            opened = (await process.stdout.readline()).decode()
            await engine.place("o-1")
            placed = (await process.stdout.readline()).decode()
        if options:
            assert (json.loads(opened)["position"], json.loads(placed)["payload"]["order_id"]) == (1, "o-1")
        else:
            assert opened.startswith("0:1  ")
            assert "  OrderCreated  o-1 side=BUY quantity=2 symbol=BTC-USDT" in placed
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_a_stream_that_cannot_be_followed_is_one_line(engine: Engine) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "foldbook.cli", "events", "follow", "--url", url_of(engine), "--account", "nobody"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, errors = await process.communicate()
    assert (process.returncode, told) == (1, b"")
    assert errors.startswith(b"foldbook: 404: ")
