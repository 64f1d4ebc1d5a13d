"""Three strategies that send orders over HTTP, each in an account of its own, while whatever they talk to is killed.

Each command has its own key and is sent again until it is answered. A refusal is an answer: the order may have traded.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import httpx

PATIENCE_S = 120
PAUSE_S = 0.2
"""Between two steps of a strategy."""
ACCOUNTS = ("maker/venue/simulated", "taker/venue/simulated", "canceller/venue/simulated")
SYMBOL = "BTCUSDT"
TICK = Decimal("0.5")


class Traders:
    """The venue at ``venue_url`` is told quotes, whenever it is there."""

    def __init__(self, url: str, venue_url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=10)
        self._venue = httpx.AsyncClient(base_url=venue_url, trust_env=False, timeout=5)
        self._numbers = count(1)
        self._is_over = asyncio.Event()
        self._middle = Decimal(100)
        self.answered = 0
        self.refused = 0
        self.unanswered = 0

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        self._is_over.clear()
        strategies = (self._make, self._take, self._cancel)
        async with asyncio.TaskGroup() as group:
            for account, strategy in zip(ACCOUNTS, strategies, strict=True):
                group.create_task(self._run(strategy, f"/accounts/{account}/orders"))
            group.create_task(self._quote())
            try:
                yield
            finally:
                self._is_over.set()

    async def are_welcome(self) -> bool:
        """Everything that they talk to is there, and the gateway works."""
        try:
            if (await self._client.get("/health/ready")).status_code != 200:
                return False
            if (await self._venue.get("/health")).status_code != 200:
                return False
            gateways = (await self._client.get("/admin/gateways")).json()["gateways"]
        except (httpx.TransportError, KeyError):
            return False
        return [each["state"] for each in gateways] in (["working"], ["idle"])

    async def open_accounts(self) -> None:
        for account in ACCOUNTS:
            user, exchange, broker = account.split("/")
            await self._command("/accounts", {"user": user, "exchange": exchange, "broker": broker})

    async def quote(self) -> None:
        """The market moves a little; both sides show some size."""
        self._middle = max(Decimal(90), min(Decimal(110), self._middle + random.choice((-TICK, 0, TICK))))
        size = str(random.choice((1, 2, 5)))
        bid, ask = str(self._middle - TICK), str(self._middle + TICK)
        quote = {"symbol": SYMBOL, "bid": bid, "ask": ask, "bid_size": size, "ask_size": size}
        with suppress(httpx.TransportError):
            await self._venue.put("/quotes", json=quote)

    # -- strategies ----------------------------------------------------------------------------------------------

    async def _run(self, strategy: Callable[[str], Awaitable[None]], orders: str) -> None:
        while not self._is_over.is_set():
            await strategy(orders)
            await asyncio.sleep(random.uniform(0, PAUSE_S))

    async def _quote(self) -> None:
        while not self._is_over.is_set():
            await self.quote()
            await asyncio.sleep(0.1)

    async def _make(self, orders: str) -> None:
        """Both sides around the middle; what has not traded is moved once, then canceled."""
        middle = self._middle
        bought = await self._place(orders, "BUY", middle - TICK)
        sold = await self._place(orders, "SELL", middle + TICK)
        await asyncio.sleep(random.uniform(0, 3 * PAUSE_S))
        await self._command(f"{orders}/{bought}/replace", {"limit_price": str(self._middle), "quantity": "3"})
        await asyncio.sleep(random.uniform(0, 3 * PAUSE_S))
        for order_id in (bought, sold):
            await self._command(f"{orders}/{order_id}/cancel", {})

    async def _take(self, orders: str) -> None:
        """At the market, or through the other side, this way or that."""
        side = random.choice(("BUY", "SELL"))
        if random.random() < 0.5:
            await self._place(orders, side, None)
        else:
            await self._place(orders, side, self._middle + (2 * TICK if side == "BUY" else -2 * TICK))

    async def _cancel(self, orders: str) -> None:
        """Far from the market, and away again, in several ways."""
        order_id = await self._place(orders, "BUY", Decimal(50))
        if random.random() < 0.5:
            await self._command(f"{orders}/{order_id}/replace", {"quantity": "1", "limit_price": "51"})
        if random.random() < 0.9:
            await self._command(f"{orders}/{order_id}/cancel", {})

    async def _place(self, orders: str, side: str, limit_price: Decimal | None) -> str:
        order_id = f"o-{next(self._numbers)}"
        order = {"order_id": order_id, "strategy_id": "soak", "symbol": SYMBOL, "side": side, "quantity": "2"}
        if limit_price is None:
            order |= {"order_type": "MARKET", "time_in_force": "IOC"}
        else:
            order |= {"order_type": "LIMIT", "limit_price": str(limit_price), "time_in_force": "GTC"}
        await self._command(orders, order)
        return order_id

    async def _command(self, path: str, body: dict[str, Any]) -> None:
        key = str(uuid4())
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    response = await self._client.post(path, json=body, headers={"Idempotency-Key": key})
                except httpx.TransportError:
                    self.unanswered += 1
                else:
                    if response.status_code < 500:
                        break
                await asyncio.sleep(0.05)
        assert response.status_code in (200, 201, 409, 422), f"{path}: {response.text}"
        self.answered += 1
        self.refused += response.status_code >= 400

    async def close(self) -> None:
        await self._client.aclose()
        await self._venue.aclose()


@asynccontextmanager
async def trading(url: str, venue_url: str) -> AsyncIterator[Traders]:
    """Traders whose accounts nobody opened yet."""
    traders = Traders(url, venue_url)
    try:
        await traders.open_accounts()
        yield traders
    finally:
        await traders.close()
