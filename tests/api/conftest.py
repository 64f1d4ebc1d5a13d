"""A whole engine for each test: a server on its own port, a projector, a client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from pydantic import SecretStr

from foldbook.config import Settings
from foldbook.engine.domains import DOMAINS, Domain
from foldbook.engine.server import create_server
from foldbook.engine.wiring import projection_runner
from foldbook.wire.connections import Connections
from tests.conftest import Postgres

USER, EXCHANGE, BROKER = "alice", "binance", "simulated"
ACCOUNT = f"{USER}/{EXCHANGE}/{BROKER}"
AT = f"/accounts/{ACCOUNT}"


@dataclass
class Engine:
    """``client`` knows the server's address."""

    settings: Settings
    server: uvicorn.Server
    client: httpx.AsyncClient

    @property
    def address(self) -> tuple[str, int]:
        return (self.client.base_url.host, self.client.base_url.port or 80)

    @property
    def connections(self) -> Connections:
        found: Connections = self.server.config.ws_protocol_class.args[0]  # type: ignore[union-attr]
        return found

    async def open(self, account: str = ACCOUNT) -> dict[str, Any]:
        user, exchange, broker = account.split("/")
        return await self.post("/accounts", {"user": user, "exchange": exchange, "broker": broker})

    async def place(self, order_id: str = "o-1", account: str = ACCOUNT, **fields: Any) -> dict[str, Any]:
        return await self.post(f"/accounts/{account}/orders", order(order_id, **fields))

    async def trade(self, exec_id: str, qty: str, px: str, order_id: str = "o-1", **fields: Any) -> dict[str, Any]:
        return await self.report("TRADE", order_id, exec_id=exec_id, last_qty=qty, last_px=px, **fields)

    async def report(
        self, exec_type: str, order_id: str = "o-1", account: str = ACCOUNT, **fields: Any
    ) -> dict[str, Any]:
        body = {"order_id": order_id, "exec_type": exec_type, **fields}
        return await self.post(f"/accounts/{account}/execution-reports", body)

    async def post(self, path: str, body: object = None, **headers: str) -> dict[str, Any]:
        """The answer to a command that must succeed."""
        return await self._command("POST", path, body, headers)

    async def put(self, path: str, body: object = None, **headers: str) -> dict[str, Any]:
        return await self._command("PUT", path, body, headers)

    async def _command(self, method: str, path: str, body: object, headers: dict[str, str]) -> dict[str, Any]:
        response = await self.client.request(method, path, json=body, headers=headers)
        assert response.status_code in (200, 201), response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a question that is to succeed. ``parameters`` join those in ``path``."""
        response = await self.client.get(httpx.URL(path).copy_merge_params(parameters))
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


def order(order_id: str = "o-1", **fields: Any) -> dict[str, Any]:
    """The body of a limit order to buy 2 at 100; a field given as None is left out."""
    body = {
        "order_id": order_id,
        "strategy_id": "trend",
        "symbol": "BTC-USDT",
        "side": "BUY",
        "order_type": "LIMIT",
        "quantity": "2",
        "limit_price": "100",
        "time_in_force": "GTC",
        **fields,
    }
    return {name: value for name, value in body.items() if value is not None}


def assert_problem(response: httpx.Response, status: int, code: str, **fields: object) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), (
        response.text
    )
    document = response.json()
    assert document["type"] == f"urn:foldbook:problem:{code}"
    assert document["status"] == status
    assert document["title"] and document["detail"]
    assert {name: document.get(name) for name in fields} == fields


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as ``holds()``; fail when that takes too long to be still coming."""
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(settings: Settings, domains: Sequence[Domain] = DOMAINS) -> AsyncIterator[Engine]:
    """The API, without a projector."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = create_server(settings, domains)
    # Signals are pytest's business.
    task = asyncio.create_task(server._serve(sockets=[listening]))
    try:
        while not server.started:
            assert not task.done(), "the server did not start"
            await asyncio.sleep(0.01)
        host, port = listening.getsockname()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
            yield Engine(settings, server, client)
    finally:
        server.should_exit = True
        await task
        listening.close()


@asynccontextmanager
async def projecting(settings: Settings, domains: Sequence[Domain] = DOMAINS) -> AsyncIterator[None]:
    runner = projection_runner(settings, domains)
    await runner.start()
    try:
        yield
    finally:
        await runner.stop()


def settings_for(dsn: str) -> Settings:
    return Settings(database_url=SecretStr(dsn))


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    settings = settings_for(database)
    async with projecting(settings), serving(settings) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_engine(postgres: Postgres, template_database: str) -> AsyncIterator[Engine]:
    """One for all tests of a module, which run in the module's event loop and open accounts of their own."""
    dsn = postgres.create_database(template_database)
    settings = settings_for(dsn)
    async with projecting(settings), serving(settings) as running:
        yield running
    postgres.drop_database(dsn)
