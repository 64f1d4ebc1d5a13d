"""Programs that trade over HTTP, each command under its own key, sent again until it is answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import httpx

from tests.proof.soundness import Outcome

CALLERS = 8
USERS = ("alice", "bob", "carol")
PATIENCE_S = 120
GIVES_UP_SHARE = 0.02
"""Of requests: the caller hangs up before the answer is there."""
REMEMBERED_MAX = 200

Call = tuple[str, dict[str, str]]
"""Path and body."""


@dataclass(frozen=True)
class Asked:
    """A command and its first answer."""

    key: UUID
    call: Call
    answer: dict[str, Any]


class Callers:
    """``acknowledged``: position and sequence that each command was told; ``remembered``: some of them in full."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=30)
        self._is_over = asyncio.Event()
        self._numbers = count(1)
        self.acknowledged: dict[UUID, Outcome | None] = {}
        self.remembered: list[Asked] = []
        self.first_commit = 1
        """Of those in which the acknowledged are."""
        self.unanswered = 0

    async def open_accounts(self) -> None:
        for user in USERS:
            await self._command(("/accounts", {"user": user, "exchange": "binance", "broker": "simulated"}))

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """All of them trade; in the end each finishes its order."""
        self._is_over.clear()
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._trade())
            try:
                yield
            finally:
                self._is_over.set()

    async def ask_again(self) -> None:
        """A retry gets the answer that was given the first time."""
        for asked in self.remembered:
            answer = await self._answer_to(asked.key, asked.call)
            assert answer == asked.answer | {"replayed": True}, asked.call

    async def are_welcome(self) -> bool:
        """The engine says that it is ready."""
        try:
            return (await self._client.get("/health/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def _trade(self) -> None:
        while not self._is_over.is_set():
            for call in _life_of_an_order(f"o-{next(self._numbers)}"):
                await self._command(call)
            await asyncio.sleep(0)

    async def _command(self, call: Call) -> None:
        key = uuid4()
        answer = await self._answer_to(key, call)
        assert answer["command_id"] == str(key)
        assert key not in self.acknowledged
        self.acknowledged[key] = (answer["position"], answer["sequence"])
        if len(self.remembered) < REMEMBERED_MAX or random.random() < 0.01:
            self.remembered[:-REMEMBERED_MAX] = []
            self.remembered.append(Asked(key, call, answer))

    async def _answer_to(self, key: UUID, call: Call) -> dict[str, Any]:
        """Send until there is an answer. A refusal is an error, because these commands break no rule."""
        deadline = time.monotonic() + PATIENCE_S
        path, body = call
        while True:
            assert time.monotonic() < deadline, f"{path} {body} got no answer for {PATIENCE_S} s"
            timeout_s = random.uniform(0, 0.01) if random.random() < GIVES_UP_SHARE else PATIENCE_S
            try:
                async with asyncio.timeout(timeout_s):
                    response = await self._client.post(path, json=body, headers={"Idempotency-Key": str(key)})
            except (httpx.TransportError, TimeoutError):
                self.unanswered += 1
                await asyncio.sleep(0.05)
                continue
            if response.status_code == 503:
                await asyncio.sleep(0.05)
                continue
            assert response.status_code in (200, 201), response.text
            answer: dict[str, Any] = response.json()
            return answer


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Callers]:
    """Callers whose accounts nobody opened yet."""
    callers = Callers(url)
    async with callers._client:
        await callers.open_accounts()
        yield callers


def _life_of_an_order(order_id: str) -> Iterator[Call]:
    account = f"/accounts/{random.choice(USERS)}/binance/simulated"
    order = {"order_id": order_id, "strategy_id": "soak", "symbol": "BTCUSDT", "side": "BUY", "order_type": "LIMIT"}
    yield f"{account}/orders", order | {"quantity": "2", "limit_price": "64250.1", "time_in_force": "GTC"}
    reports = f"{account}/execution-reports"
    yield reports, {"order_id": order_id, "exec_type": "NEW"}
    fill = {"order_id": order_id, "exec_type": "TRADE", "last_px": "64250"}
    yield reports, fill | {"exec_id": f"{order_id}-1", "last_qty": "0.75"}
    if random.random() < 0.5:
        yield reports, fill | {"exec_id": f"{order_id}-2", "last_qty": "1.25"}
    else:
        yield f"{account}/orders/{order_id}/cancel", {}
        yield reports, {"order_id": order_id, "exec_type": "CANCELED"}
