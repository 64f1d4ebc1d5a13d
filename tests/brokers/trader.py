"""What a case of the port's contract needs: a world, and short ways to trade in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import pytest

from foldbook.brokers.port import (
    Acknowledged,
    Broker,
    Completeness,
    NewOrder,
    OrderRef,
    OrderState,
    Report,
)
from foldbook.trading.values import ExecType, OrderType, OrdStatus, Side
from tests.waiting import until

WAIT_S = 20
"""How long a test waits for something that must come. Nothing is measured by it."""


class World(Protocol):
    """A broker, and what is behind it."""

    account: str
    symbol: str
    """Of which quantities down to ``step`` and prices in hundredths are taken, and whose market is empty at first."""
    base: str
    currency: str
    step: Decimal

    @property
    def broker(self) -> Broker: ...

    def now(self) -> datetime:
        """By the adapter's clock."""
        ...

    async def quote(self, bid: str, ask: str, bid_size: str | None = None, ask_size: str | None = None) -> None: ...

    async def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        ...

    async def faults(self, **faults: int | str) -> None:
        """Set the venue's faults by their names: ``lose_ack=1``, say. Only of a world with a wire."""
        ...


class Trader:
    """Short ways to ask a world's broker, and to know what must have come of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broker = world.broker
        self._numbers = 0

    def order(self, side: str, quantity: str, price: str | None = None, *, post_only: bool = False) -> NewOrder:
        """A limit order, or one at market."""
        self._numbers += 1
        return NewOrder(
            account=self.world.account,
            client_order_id=f"order-{self._numbers}",
            symbol=self.world.symbol,
            side=Side(side),
            order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
            quantity=Decimal(quantity),
            limit_price=None if price is None else Decimal(price),
            post_only=post_only,
        )

    async def submitted(self, side: str, quantity: str, price: str | None = None) -> OrderRef:
        """An order that was taken."""
        order = self.order(side, quantity, price)
        outcome = await self.broker.submit(order)
        assert isinstance(outcome, Acknowledged), outcome
        return ref(order, outcome.broker_order_id)

    async def traded(self, side: str, quantity: str, bid: str = "100", ask: str = "101") -> OrderRef:
        """An order at market that was filled. The market is told again after it: a venue may fill an order only with
        what is told later."""
        await self.world.quote(bid, ask)
        order = await self.submitted(side, quantity)
        await self.world.quote(bid, ask)
        await self.becomes(order, OrdStatus.FILLED)
        return order

    async def known(self, order: OrderRef) -> tuple[OrderState, ...]:
        """All orders with this client id."""
        answer = await self.broker.order_by_client_id(order)
        assert answer.completeness is Completeness.COMPLETE or answer.items
        return answer.items

    async def state(self, order: OrderRef) -> OrderState:
        """The one order with this client id."""
        (state,) = await self.known(order)
        return state

    async def becomes(self, order: OrderRef, status: OrdStatus) -> OrderState:
        async def has_become() -> bool:
            return (await self.state(order)).status is status

        await until(has_become)
        return await self.state(order)

    async def fills(self, cursor: str | None = None) -> tuple[list[Report], str | None]:
        """All fills after the cursor, and the cursor after them."""
        reports: list[Report] = []
        while True:
            page = await self.broker.fills_since(self.world.account, cursor)
            reports += page.reports
            cursor = page.cursor
            if not page.has_more:
                return reports, cursor


def ref(order: NewOrder, broker_order_id: str | None = None) -> OrderRef:
    return OrderRef(
        account=order.account,
        symbol=order.symbol,
        client_order_id=order.client_order_id,
        broker_order_id=broker_order_id,
    )


async def read(stream: AsyncIterator[Report], count: int, exec_type: ExecType = ExecType.TRADE) -> list[Report]:
    """The next so many reports of this type."""
    reports: list[Report] = []
    async with asyncio.timeout(WAIT_S):
        while len(reports) < count:
            report = await anext(stream)
            if report.exec_type is exec_type:
                reports.append(report)
    return reports


@pytest.fixture
def trader(world: World) -> Trader:
    return Trader(world)
