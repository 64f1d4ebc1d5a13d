"""A separate process that posts orders: ``python -m bench.http_load <HttpLoad as JSON>`` prints a Slice.

It speaks keep-alive HTTP/1.1 on raw sockets, one request at a time on each connection, without pipelining. A request
is a prepared frame with the order id put in, and only the status line and the length of a response are read, so that
the client takes little of the machine. Its share of a core is reported.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import cast

import msgspec
import uvloop

from bench.clock import Stopwatch
from bench.load import PRICES, STRATEGIES, SYMBOLS
from bench.table import Slice

ACCOUNTS = 100
WARM_UP_S = 0.5
TICK_S = 0.001
ID_DIGITS = 10

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class HttpLoad(msgspec.Struct, frozen=True, kw_only=True):
    port: int
    connections: int
    seconds: float
    key: str | None = None
    accounts: int = ACCOUNTS
    account_prefix: str = ""
    """Accounts that begin with it may exist already; without it they are new."""
    rate: float | None = None
    """Orders/s, as far as there are idle connections; without it each connection always has a request under way."""


@dataclass
class Run:
    """What the connections share."""

    frames: list[tuple[bytes, bytes]]
    """What goes before and after the order id's digits, one for each account."""
    failed: asyncio.Future[None]
    closed: asyncio.Future[None]
    sent: int = 0
    done: int = 0
    is_over: bool = False
    open_connections: int = 0
    is_paced: bool = False
    idle: deque[Connection] = field(default_factory=deque)


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._run.open_connections += 1
        self.go_on()

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data if self._answer else data
        head = answer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(answer, 0, head + 2)
        if not answer.startswith(b"HTTP/1.1 201 ") or length is None:
            self._fail(f"an order got the response {answer[:1000]!r}")
        elif len(answer) >= head + 4 + int(length[1]):
            self._answer = b""
            self._run.done += 1
            self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.open_connections -= 1
        if self._run.is_over:
            if self._run.open_connections == 0:
                self._run.closed.set_result(None)
        else:
            self._fail(f"the server closed a connection: {exc}")

    def go_on(self) -> None:
        if self._run.is_over:
            self._transport.close()
        elif self._run.is_paced:
            self._run.idle.append(self)
        else:
            self.send()

    def send(self) -> None:
        run = self._run
        run.sent += 1
        before, after = run.frames[run.sent % len(run.frames)]
        self._transport.write(b"%b%0*d%b" % (before, ID_DIGITS, run.sent, after))

    def _fail(self, why: str) -> None:
        if not self._run.failed.done():
            self._run.failed.set_exception(RuntimeError(why))


async def post_orders(load: HttpLoad) -> Slice:
    loop = asyncio.get_running_loop()
    tag = os.urandom(4).hex()
    names = [f"{load.account_prefix or f'http{tag}'}-{i}" for i in range(load.accounts)]
    _open_accounts(load, names)
    frames = [_frame(name, tag, number, load) for number, name in enumerate(names)]
    run = Run(frames, failed=loop.create_future(), closed=loop.create_future(), is_paced=load.rate is not None)
    for _ in range(load.connections):
        await loop.create_connection(lambda: Connection(run), "127.0.0.1", load.port)
    pacing = asyncio.create_task(_pace(run, load.rate)) if load.rate is not None else None
    await _wait(run, WARM_UP_S)
    first, stopwatch = run.done, Stopwatch()
    await _wait(run, load.seconds)
    measured = stopwatch.slice(run.done - first)
    run.is_over = True
    if pacing is not None:
        await pacing
    await asyncio.wait([run.closed, run.failed], return_when=asyncio.FIRST_COMPLETED)
    return measured


async def _wait(run: Run, seconds: float) -> None:
    done, _ = await asyncio.wait([run.failed], timeout=seconds)
    for future in done:
        future.result()


async def _pace(run: Run, rate: float) -> None:
    """Send what is due, on the connection that has been idle the longest: in the end the server would close it."""
    began_s, first = time.perf_counter(), run.sent
    while not run.is_over:
        due = int((time.perf_counter() - began_s) * rate) - (run.sent - first)
        for _ in range(min(due, len(run.idle))):
            run.idle.popleft().send()
        await asyncio.sleep(TICK_S)
    for connection in run.idle:
        connection.go_on()


def _authorization(load: HttpLoad) -> dict[str, str]:
    return {} if load.key is None else {"Authorization": f"Bearer {load.key}"}


def _open_accounts(load: HttpLoad, names: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=30)
    for name in names:
        body = msgspec.json.encode({"user": name, "exchange": "binance", "broker": "simulated"})
        connection.request("POST", "/accounts", body, {"Content-Type": "application/json", **_authorization(load)})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status not in (201, 409):
            raise RuntimeError(f"POST /accounts was answered by {answer.status} {said!r}")
    connection.close()


def _frame(user: str, tag: str, number: int, load: HttpLoad) -> tuple[bytes, bytes]:
    order = {
        "order_id": f"o-{tag}-{'#' * ID_DIGITS}",
        "strategy_id": STRATEGIES[number % 3],
        "symbol": SYMBOLS[number % 7],
        "side": "BUY",
        "order_type": "LIMIT",
        "quantity": "2",
        "limit_price": str(PRICES[number % 50]),
        "time_in_force": "GTC",
    }
    body = msgspec.json.encode(order)
    authorization = "".join(f"{name}: {value}\r\n" for name, value in _authorization(load).items())
    head = (
        f"POST /accounts/{user}/binance/simulated/orders HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n"
        f"{authorization}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    before, after = (head.encode() + body).split(b"#" * ID_DIGITS)
    return before, after


if __name__ == "__main__":
    task = msgspec.json.decode(sys.argv[1], type=HttpLoad)
    print(msgspec.json.encode(uvloop.run(post_orders(task))).decode())
