"""Random lives of one order, at a broker that is slow, loses requests and answers, and tells of its fills late.

What is done is drawn from a seed; how it interleaves is not the same in each run. At the end of each life the book is
what the broker has, nothing is left to wait for, and nothing was placed twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from foldbook.brokers import asking
from foldbook.brokers.port import Answer, NewOrder, OrderRef, OrderState, Outcome, Terms
from foldbook.errors import Refusal
from foldbook.trading.order import Order
from foldbook.trading.values import OrdStatus, PendingRequest, TradingState
from tests.brokers.desk_world import Broker, Gateway, Log, connected
from tests.brokers.gateway_world import now
from tests.builders import cancel, place, replace_order, trading_state

LIVES = 120
STEPS_MAX = 7
PAUSE_S_MAX = 0.05
SETTLE_S = 0.05
LOOKS_MAX = 600
LOOK_PAUSE_S = 0.05

_OPEN = (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED)


class SlowBroker(Broker):
    def __init__(self, random: Random, **capabilities: Any) -> None:
        super().__init__(settle_s=SETTLE_S, **capabilities)
        self._random = random

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.random() * 0.03)

    async def submit(self, order: NewOrder) -> Outcome:
        await self._pause()
        outcome = await super().submit(order)
        await self._pause()
        return outcome

    async def cancel(self, order: OrderRef, request_id: str) -> Outcome:
        await self._pause()
        outcome = await super().cancel(order, request_id)
        await self._pause()
        return outcome

    async def replace(self, order: OrderRef, terms: Terms, request_id: str) -> Outcome:
        await self._pause()
        outcome = await super().replace(order, terms, request_id)
        await self._pause()
        return outcome

    async def order_by_client_id(self, order: OrderRef) -> Answer[OrderState]:
        await self._pause()
        return await super().order_by_client_id(order)

    @property
    def open(self) -> list[OrderState]:
        return [state for state in self.orders.values() if state.status in _OPEN]


class OrderLife:
    def __init__(self, seed: int, *, replaces: bool) -> None:
        self.random = Random(seed)
        self.done: list[str] = []
        dedup_s = self.random.choice([None, 3600.0])
        self.broker = SlowBroker(self.random, replaces=replaces, dedup_s=dedup_s)
        self.log = Log()

    async def run(self) -> None:
        self.gateway = await connected(self.log, self.broker)
        self.log.execute(place(quantity="10", received_at=now()))
        steps = [self._reprice, self._reprice, self._resize, self._cancel, self._trade, self._trade_unheard]
        steps += [self._lose, self._restart, self._halt, self._refuse, self._tell_late]
        for _ in range(self.random.randint(2, STEPS_MAX)):
            await asyncio.sleep(self.random.random() * PAUSE_S_MAX)
            step = self.random.choice(steps)
            self.done.append(step.__name__)
            try:
                await step()
            except Refusal as refusal:
                self.done.append(refusal.code)
        await self._recover()

    async def _reprice(self) -> None:
        self.log.execute(replace_order(limit_price=Decimal(self.random.randint(90, 110)), received_at=now()))

    async def _resize(self) -> None:
        self.log.execute(replace_order(quantity=Decimal(self.random.randint(1, 14)), received_at=now()))

    async def _cancel(self) -> None:
        if self.random.random() < 0.4:
            self.log.execute(cancel(received_at=now()))

    async def _trade(self) -> None:
        for report in self._fill():
            self.gateway.session.route(report)

    async def _trade_unheard(self) -> None:
        """And the list tells it late, perhaps."""
        self.broker.untold += len(list(self._fill())) * self.random.randint(0, 1)

    def _fill(self) -> Iterator[Any]:
        for state in self.broker.open:
            quantity = min(state.quantity - state.cum_qty, Decimal(self.random.randint(1, 4)))
            assert state.client_order_id is not None
            yield self.broker.fill(state.client_order_id, str(quantity))

    async def _tell_late(self) -> None:
        self.broker.untold = 0

    async def _lose(self) -> None:
        request = self.random.choice(["submit", "cancel", "replace"])
        self.broker.wrong[request] = self.random.choice(["lose_ack", "lose_request"])

    async def _restart(self) -> None:
        await self.gateway.kill()
        self.gateway = Gateway(self.log, self.broker, self.gateway.moved)
        await self.gateway.connect()

    async def _halt(self) -> None:
        if self.random.random() < 0.3:
            self.log.execute(trading_state("HALTED", cancel_open_orders=self.random.random() < 0.5))

    async def _refuse(self) -> None:
        if self.random.random() < 0.3:
            self.broker.refuses = "no"

    async def _recover(self) -> None:
        """Nothing goes wrong any more."""
        self.broker.wrong.clear()
        self.broker.untold = 0
        self.broker.refuses = None
        if self.log.life.book.risk.state is not TradingState.ACTIVE:
            self.log.execute(trading_state("ACTIVE"))

    async def what_is_wrong(self) -> Sequence[str]:
        """Looked at until nothing is."""
        wrong: Sequence[str] = ()
        for _ in range(LOOKS_MAX):
            await asyncio.sleep(LOOK_PAUSE_S)
            await self.gateway.reconcile()
            wrong = list(self._wrong())
            if not wrong:
                break
        await self.gateway.kill()
        return wrong

    def _wrong(self) -> Iterator[str]:
        broker, order = self.broker, self.gateway.order
        if self.gateway.lost:
            yield f"the term ended: {self.gateway.lost}"
        held, traded = self.log.life.book.position_qty("BTCUSDT"), sum(fill.last_qty or 0 for fill in broker.fills)
        if held != traded:
            yield f"{held} is held, {traded} has traded"
        submitted = [client_id for request, client_id, _ in broker.sent if request == "submit"]
        if broker.capabilities.dedup_s is None and len(submitted) > len(set(submitted)):
            yield "an order was sent twice"
        there = [(state.quantity - state.cum_qty, state.limit_price) for state in broker.open]
        if order is not None and order.doubts and not there and self._is_lost(order):
            return  # A person decides.
        known = [] if order is None or not order.leaves_qty else [(order.leaves_qty, order.limit_price)]
        if known != there:
            yield f"{known} is open, at the broker {there}"
        if order is not None and (order.requests or order.doubts):
            yield f"{order.requests} are pending, {order.doubts} in doubt"

    def _is_lost(self, order: Order) -> bool:
        """What was lost is not sent again where ids are not looked at, and not against a cancel."""
        may_not = self.broker.capabilities.dedup_s is None or order.pending_request is PendingRequest.CANCEL
        return may_not and f"o-1:{order.leg}" not in self.broker.orders


@pytest.mark.parametrize("replaces", [True, False])
async def test_whatever_happens_the_book_is_what_the_broker_has(
    replaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PAUSE_S_MAX", 0.2)
    monkeypatch.setattr(asking, "STAY_PAUSE_S", 0.2)

    async def lived(seed: int) -> tuple[int, Sequence[str], OrderLife]:
        life = OrderLife(seed, replaces=replaces)
        await life.run()
        return seed, await life.what_is_wrong(), life

    lives = await asyncio.gather(*(lived(seed) for seed in range(LIVES)))
    assert [(seed, wrong, life.done, life.broker.sent) for seed, wrong, life in lives if wrong] == []
