"""A separate process that posts NDJSON: ``python -m bench.bulk_load <BulkLoad as JSON>`` prints a Slice.

Each connection posts one request after another, and a line counts when its result has arrived. With ``commands`` set,
that many commands are posted, those that open the accounts included, and orders live their whole lives; otherwise new
orders are posted for ``seconds``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from itertools import chain, count, islice
from typing import cast

import httptools
import msgspec
import uvloop

from bench.clock import Stopwatch
from bench.load import accounts, crowd, open_account, place_order
from bench.table import Slice
from foldbook.trading.commands import BookCommand

ACCOUNTS = 100
LINES = 2_000
WARM_UP_S = 0.5
OPEN_ORDERS = 5_000
DIGITS = 10


class BulkLoad(msgspec.Struct, frozen=True, kw_only=True):
    port: int
    connections: int
    seconds: float = 0.0
    commands: int | None = None
    accounts: int = ACCOUNTS


class Run:
    """What the connections share."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.done = 0
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_over = False

    async def post(self, bodies: Iterator[bytes]) -> None:
        """Post each body over one connection; returns when the last is answered or the run is over."""
        loop = asyncio.get_running_loop()
        connection = Connection(self, bodies, loop.create_future())
        await loop.create_connection(lambda: connection, "127.0.0.1", self.port)
        await asyncio.wait([connection.finished, self.failed], return_when=asyncio.FIRST_COMPLETED)
        if self.failed.done():
            self.failed.result()

    def fail(self, why: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(RuntimeError(why))


class Connection(asyncio.Protocol):
    """One connection; httptools calls the ``on_`` methods."""

    def __init__(self, run: Run, bodies: Iterator[bytes], finished: asyncio.Future[None]) -> None:
        self._run = run
        self._bodies = bodies
        self._parser = httptools.HttpResponseParser(self)
        self.finished = finished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self._run.fail(f"the server closed a connection: {exc}")

    def on_body(self, body: bytes) -> None:
        if self._parser.get_status_code() != 200 or b"urn:foldbook:problem" in body:
            self._run.fail(f"a request was answered by {self._parser.get_status_code()} {body[:1000]!r}")
        self._run.done += body.count(b"\n")

    def on_message_complete(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # Not from within the parser that is at work.
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        body = None if self._run.is_over else next(self._bodies, None)
        if body is None:
            if not self.finished.done():
                self.finished.set_result(None)
            self._transport.close()
            return
        head = (
            f"POST /commands HTTP/1.1\r\nHost: 127.0.0.1:{self._run.port}\r\n"
            f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)


async def post_orders(load: BulkLoad) -> Slice:
    """New orders for so many seconds."""
    run, tag = Run(load.port), os.urandom(4).hex()
    names = accounts(f"bulk{tag}", load.accounts)
    await run.post(_in_bodies(open_account(name) for name in names))
    before = run.done
    posts = asyncio.gather(*(run.post(_orders(names, f"{tag}-{i}")) for i in range(load.connections)))
    await asyncio.wait([posts], timeout=WARM_UP_S)
    first, stopwatch = run.done, Stopwatch()
    await asyncio.wait([posts], timeout=load.seconds)
    measured = stopwatch.slice(run.done - first)
    run.is_over = True
    await posts
    assert run.done > before
    return measured


async def post_lives(load: BulkLoad, commands: int) -> Slice:
    """So many commands; each account's all come over one connection, in their order."""
    run, tag, stopwatch = Run(load.port), os.urandom(4).hex(), Stopwatch()
    names = accounts(f"bulk{tag}", load.accounts)
    per_connection = commands // load.connections
    await asyncio.gather(
        *(
            run.post(_in_bodies(islice(_lives(names[i :: load.connections], f"{tag}-{i}"), per_connection)))
            for i in range(load.connections)
        )
    )
    if run.done != per_connection * load.connections:
        raise RuntimeError(f"{per_connection * load.connections} commands were posted and {run.done} answered")
    return stopwatch.slice(run.done)


def _lives(names: list[str], tag: str) -> Iterator[BookCommand]:
    return chain((open_account(name) for name in names), crowd(names, tag, OPEN_ORDERS))


def _in_bodies(commands: Iterator[BookCommand]) -> Iterator[bytes]:
    while lines := [_line(command) for command in islice(commands, LINES)]:
        yield b"\n".join(lines)


def _line(command: BookCommand) -> bytes:
    fields = {name: getattr(command, name) for name in command.__struct_fields__ if name != "received_at"}
    given = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode({"type": type(command).__name__, **given})


def _orders(names: list[str], tag: str) -> Iterator[bytes]:
    """Bodies of new orders, made from prepared lines, so that making them takes little of the machine."""
    frames = []
    for number, name in enumerate(names):
        order = msgspec.json.decode(_line(place_order(name, f"o-{tag}-{'#' * DIGITS}", number)))
        del order["command_id"]
        frames.append(msgspec.json.encode(order).split(b"#" * DIGITS))
    for n in count():
        numbers = range(n * LINES, (n + 1) * LINES)
        yield b"\n".join([b"%b%0*d%b" % (f[0], DIGITS, i, f[1]) for i in numbers if (f := frames[i % len(frames)])])


if __name__ == "__main__":
    task = msgspec.json.decode(sys.argv[1], type=BulkLoad)
    work = post_orders(task) if task.commands is None else post_lives(task, task.commands)
    print(msgspec.json.encode(uvloop.run(work)).decode())
