"""The contract of the port to brokers: what every adapter must keep, whoever is behind it.

``PortCases`` are for each of them. ``WireCases`` are for those with a wire, on which things get lost: their world can
misbehave. A test class per world inherits the cases and has a fixture ``world`` (``test_port.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import msgspec
import pytest

from foldbook.brokers.port import (
    Acknowledged,
    Broker,
    BrokerUnavailable,
    Completeness,
    InDoubt,
    NewOrder,
    OrderRef,
    OrderState,
    Outcome,
    Refused,
    Report,
    ReportKind,
    Terms,
)
from foldbook.trading.values import ZERO, ExecType, OrderType, OrdStatus, Side

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


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it does."""
    async with asyncio.timeout(WAIT_S):
        while not await holds():
            await asyncio.sleep(0.01)


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


class PortCases:
    """What every broker must keep."""

    # -- requests ----------------------------------------------------------------------------------------------------

    async def test_an_order_is_accepted(self, trader: Trader) -> None:
        order = trader.order("BUY", "2", "100")
        outcome = await trader.broker.submit(order)
        assert isinstance(outcome, Acknowledged)
        state = await trader.state(ref(order))
        assert (state.client_order_id, state.broker_order_id) == (order.client_order_id, outcome.broker_order_id)
        assert (state.symbol, state.side, state.status) == (order.symbol, Side.BUY, OrdStatus.NEW)
        assert (state.quantity, state.limit_price, state.cum_qty) == (order.quantity, order.limit_price, ZERO)

    async def test_an_order_is_refused_with_a_reason(self, trader: Trader, world: World) -> None:
        await world.quote("100", "101")
        order = trader.order("BUY", "1", "102", post_only=True)
        outcome = await trader.broker.submit(order)
        assert isinstance(outcome, Refused) and outcome.reason
        assert all(state.status is OrdStatus.REJECTED for state in await trader.known(ref(order)))
        assert (await trader.broker.open_orders(world.account)).items == ()

    async def test_an_order_is_filled_in_parts(self, trader: Trader, world: World) -> None:
        order = await trader.submitted("BUY", "1", "100")
        await world.quote("99", "100", ask_size="0.25")
        state = await trader.becomes(order, OrdStatus.PARTIALLY_FILLED)
        assert (state.quantity, state.cum_qty) == (Decimal(1), Decimal("0.25"))
        await world.quote("99", "100", ask_size="5")
        state = await trader.becomes(order, OrdStatus.FILLED)
        assert state.cum_qty == state.quantity == Decimal(1)
        fills, _ = await trader.fills()
        assert [fill.last_qty for fill in fills] == [Decimal("0.25"), Decimal("0.75")]
        assert {fill.last_px for fill in fills} == {Decimal(100)}

    async def test_an_order_at_market(self, trader: Trader) -> None:
        order = await trader.traded("BUY", "1")
        assert (await trader.state(order)).cum_qty == Decimal(1)
        (fill,), _ = await trader.fills()
        assert (fill.client_order_id, fill.side, fill.last_qty) == (order.client_order_id, Side.BUY, Decimal(1))
        assert fill.last_px == Decimal(101)

    async def test_a_cancel(self, trader: Trader, world: World) -> None:
        order = await trader.submitted("BUY", "1", "100")
        outcome = await trader.broker.cancel(order, "request-1")
        assert isinstance(outcome, Acknowledged)
        assert (await trader.becomes(order, OrdStatus.CANCELED)).cum_qty == ZERO
        assert (await trader.broker.open_orders(world.account)).items == ()

    async def test_a_cancel_of_a_closed_order_is_refused(self, trader: Trader) -> None:
        order = await trader.traded("BUY", "1")
        outcome = await trader.broker.cancel(order, "request-1")
        assert isinstance(outcome, Refused) and outcome.reason
        assert (await trader.state(order)).status is OrdStatus.FILLED

    async def test_a_cancel_of_an_unknown_order_is_refused(self, trader: Trader) -> None:
        assert isinstance(await trader.broker.cancel(ref(trader.order("BUY", "1", "100")), "request-1"), Refused)

    async def test_a_replace(self, trader: Trader) -> None:
        """One that replaces has the new terms; one that does not changes nothing."""
        order = await trader.submitted("BUY", "1", "100")
        terms = Terms(quantity=Decimal(3), limit_price=Decimal(99))
        outcome = await trader.broker.replace(order, terms, "request-1")
        state = await trader.state(order)
        assert state.status is OrdStatus.NEW
        if trader.broker.capabilities.replaces:
            assert isinstance(outcome, Acknowledged)
            assert (state.quantity, state.limit_price) == (Decimal(3), Decimal(99))
        else:
            assert isinstance(outcome, Refused) and outcome.reason
            assert (state.quantity, state.limit_price) == (Decimal(1), Decimal(100))

    async def test_a_replace_of_a_closed_order_is_refused(self, trader: Trader) -> None:
        order = await trader.submitted("BUY", "1", "100")
        await trader.broker.cancel(order, "request-1")
        outcome = await trader.broker.replace(order, Terms(quantity=Decimal(3), limit_price=Decimal(99)), "request-2")
        assert isinstance(outcome, Refused) and outcome.reason

    async def test_the_same_client_id_again(self, trader: Trader) -> None:
        """Who deduplicates has one order, who does not says so."""
        order = trader.order("BUY", "1", "100")
        first = await trader.broker.submit(order)
        again = await trader.broker.submit(order)
        assert isinstance(first, Acknowledged)
        if trader.broker.capabilities.dedup_s is not None:
            assert isinstance(again, Acknowledged | InDoubt)
            assert (await trader.state(ref(order))).broker_order_id == first.broker_order_id
        assert not isinstance(again, Refused), "it would be taken for dead, and is open"

    async def test_another_account_is_not_traded(self, trader: Trader, world: World) -> None:
        """A broker for one account works no other; one for many takes it as another one."""
        order = trader.order("BUY", "1", "100")
        other = msgspec.structs.replace(order, account="mallory/elsewhere/live")
        assert isinstance(await trader.broker.submit(other), Refused | Acknowledged)
        assert (await trader.broker.open_orders(world.account)).items == ()

    # -- questions ---------------------------------------------------------------------------------------------------

    async def test_an_unknown_order_is_really_not_there(self, trader: Trader) -> None:
        answer = await trader.broker.order_by_client_id(ref(trader.order("BUY", "1", "100")))
        assert (answer.completeness, answer.items) == (Completeness.COMPLETE, ())

    async def test_a_closed_order_is_still_known(self, trader: Trader) -> None:
        order = await trader.submitted("BUY", "1", "100")
        await trader.broker.cancel(order, "request-1")
        state = await trader.state(order)
        assert (state.client_order_id, state.status) == (order.client_order_id, OrdStatus.CANCELED)

    async def test_the_open_orders(self, trader: Trader, world: World) -> None:
        canceled = await trader.submitted("BUY", "1", "100")
        bid = await trader.submitted("BUY", "1", "90")
        offer = await trader.submitted("SELL", "2", "110")
        await trader.broker.cancel(canceled, "request-1")
        answer = await trader.broker.open_orders(world.account)
        assert answer.completeness is Completeness.COMPLETE
        assert {state.client_order_id for state in answer.items} == {bid.client_order_id, offer.client_order_id}
        assert {state.status for state in answer.items} == {OrdStatus.NEW}

    async def test_fills_are_those_of_the_stream_in_order(self, trader: Trader) -> None:
        async with trader.broker.reports() as stream:
            sides = ("BUY", "SELL", "BUY", "BUY", "SELL")
            ids = [(await trader.traded(side, "1")).client_order_id for side in sides]
            streamed = await read(stream, 5)
        fills, _ = await trader.fills()
        assert [fill.client_order_id for fill in fills] == ids
        assert len({fill.exec_id for fill in fills}) == 5
        assert {fill.kind for fill in fills} == {ReportKind.TRADE}
        named = ("exec_id", "client_order_id", "broker_order_id", "symbol", "side", "last_qty", "last_px", "fee",
                 "fee_currency", "time")  # fmt: skip
        for name in named:
            assert [getattr(fill, name) for fill in fills] == [getattr(report, name) for report in streamed]

    async def test_fills_since_a_cursor_are_the_later_ones(self, trader: Trader) -> None:
        await trader.traded("BUY", "1")
        before, cursor = await trader.fills()
        assert (await trader.fills(cursor))[0] == []
        later = await trader.traded("BUY", "2")
        after, last = await trader.fills(cursor)
        assert [fill.client_order_id for fill in after] == [later.client_order_id]
        assert (await trader.fills())[0] == [*before, *after]
        assert (await trader.fills(last))[0] == []

    async def test_a_repeated_question_has_the_same_answer(self, trader: Trader, world: World) -> None:
        await trader.traded("BUY", "1")
        await trader.submitted("SELL", "1", "105")
        account = world.account
        assert await trader.fills() == await trader.fills()
        assert (await trader.broker.open_orders(account)).items == (await trader.broker.open_orders(account)).items
        assert (await trader.broker.balances(account)).items == (await trader.broker.balances(account)).items

    async def test_a_picture_says_when_it_was_begun(self, trader: Trader, world: World) -> None:
        order = await trader.submitted("BUY", "1", "100")
        broker, account = trader.broker, world.account
        for ask in (
            lambda: broker.order_by_client_id(order),
            lambda: broker.open_orders(account),
            lambda: broker.fills_since(account, None),
            lambda: broker.positions(account),
            lambda: broker.balances(account),
        ):
            before = world.now()
            answer = await ask()
            assert before <= answer.began_at <= world.now()
            await world.advance(1)

    async def test_positions(self, trader: Trader, world: World) -> None:
        """Who reports none says so: a missing answer is not flat."""
        await trader.traded("BUY", "3")
        await trader.traded("SELL", "1")
        answer = await trader.broker.positions(world.account)
        if trader.broker.capabilities.reports_positions:
            assert answer.completeness is Completeness.COMPLETE
            assert {(holding.symbol, holding.quantity) for holding in answer.items} == {(world.symbol, Decimal(2))}
        else:
            assert (answer.completeness, answer.items) == (Completeness.UNSUPPORTED, ())

    async def test_balances_change_by_what_trades_cost(self, trader: Trader) -> None:
        before = await self._balance(trader)
        await trader.traded("BUY", "3")
        await trader.traded("SELL", "1")
        fills, _ = await trader.fills()
        fees = sum((fill.fee or ZERO for fill in fills if fill.fee_currency == trader.world.currency), ZERO)
        assert await self._balance(trader) == before - 3 * Decimal(101) + Decimal(100) - fees

    async def _balance(self, trader: Trader) -> Decimal:
        answer = await trader.broker.balances(trader.world.account)
        assert answer.completeness is Completeness.COMPLETE and trader.broker.capabilities.reports_balances
        amounts = {balance.currency: balance.amount for balance in answer.items}
        return amounts.get(trader.world.currency, ZERO)

    @pytest.mark.parametrize(
        "quantity", ["0.30000000", "0.1", "0.00000001", "123456789.12345678", "1.000000000000000001"]
    )
    async def test_amounts_are_exact_or_refused(self, trader: Trader, world: World, quantity: str) -> None:
        """Nothing is cut: what the broker does not take as it is, it does not take."""
        order = trader.order("SELL", quantity, "100000")
        outcome = await trader.broker.submit(order)
        if order.quantity % world.step:
            assert isinstance(outcome, Refused) and outcome.reason
        else:
            assert isinstance(outcome, Acknowledged), outcome
            assert (await trader.state(ref(order))).quantity == order.quantity

    async def test_sums_of_fills_are_exact(self, trader: Trader) -> None:
        for quantity in ("0.1", "0.2", "0.00000001"):
            await trader.traded("BUY", quantity, "100.10", "100.20")
        fills, _ = await trader.fills()
        assert sum(fill.last_qty or ZERO for fill in fills) == Decimal("0.30000001")
        assert {fill.last_px for fill in fills} == {Decimal("100.20")}

    # -- the end -----------------------------------------------------------------------------------------------------

    async def test_after_close_nothing_is_known(self, trader: Trader, world: World) -> None:
        order = await trader.submitted("BUY", "1", "100")
        async with trader.broker.reports() as stream:
            await trader.broker.close()
            with pytest.raises(BrokerUnavailable):
                await read(stream, 1)
        account, broker = world.account, trader.broker
        terms = Terms(quantity=Decimal(2), limit_price=Decimal(100))
        assert isinstance(await broker.submit(trader.order("BUY", "1", "100")), InDoubt)
        assert isinstance(await broker.cancel(order, "request-1"), InDoubt)
        assert isinstance(await broker.replace(order, terms, "request-2"), InDoubt)
        for ask in (
            lambda: broker.order_by_client_id(order),
            lambda: broker.open_orders(account),
            lambda: broker.fills_since(account, None),
            lambda: broker.positions(account),
            lambda: broker.balances(account),
        ):
            with pytest.raises(BrokerUnavailable):
                await ask()
        with pytest.raises(BrokerUnavailable):
            async with broker.reports():
                pass
        await broker.close()


class WireCases:
    """What a broker must keep with whom requests, answers and reports get lost."""

    async def _in_doubt(self, trader: Trader, **faults: int | str) -> OrderRef:
        await trader.world.faults(**faults, scope="submit")
        order = trader.order("BUY", "1", "100")
        outcome = await trader.broker.submit(order)
        assert isinstance(outcome, InDoubt) and outcome.reason, outcome
        return ref(order)

    @pytest.mark.parametrize("fault", ["lose_ack", "status_500", "nonsense", "hang"])
    async def test_an_order_whose_answer_is_lost_is_found(self, trader: Trader, world: World, fault: str) -> None:
        order = await self._in_doubt(trader, **{fault: 1, "hang_ms": _longer_than_a_send(trader)})
        await world.advance(trader.broker.capabilities.settle_s)
        state = await trader.becomes(order, OrdStatus.NEW)
        assert (state.client_order_id, state.quantity) == (order.client_order_id, Decimal(1))

    async def test_an_order_that_was_lost_is_absent(self, trader: Trader, world: World) -> None:
        order = await self._in_doubt(trader, lose_request=1)
        await world.advance(trader.broker.capabilities.settle_s)
        answer = await trader.broker.order_by_client_id(order)
        assert (answer.completeness, answer.items) == (Completeness.COMPLETE, ())

    @pytest.mark.parametrize("fault", ["lose_ack", "status_500", "nonsense", "hang"])
    async def test_a_cancel_whose_answer_is_lost_was_done(self, trader: Trader, world: World, fault: str) -> None:
        order = await trader.submitted("BUY", "1", "100")
        await world.faults(**{fault: 1, "hang_ms": _longer_than_a_send(trader)}, scope="cancel")
        outcome = await trader.broker.cancel(order, "request-1")
        assert isinstance(outcome, InDoubt) and outcome.reason
        await trader.becomes(order, OrdStatus.CANCELED)

    async def test_a_cancel_that_was_lost_did_nothing(self, trader: Trader, world: World) -> None:
        order = await trader.submitted("BUY", "1", "100")
        await world.faults(lose_request=1, scope="cancel")
        assert isinstance(await trader.broker.cancel(order, "request-1"), InDoubt)
        await world.advance(trader.broker.capabilities.settle_s)
        assert (await trader.state(order)).status is OrdStatus.NEW

    @pytest.mark.parametrize("fault", ["lose_ack", "lose_request", "status_500", "nonsense", "hang"])
    async def test_a_replace_without_an_answer(self, trader: Trader, world: World, fault: str) -> None:
        """It is in doubt; with a broker that does not replace it was never sent."""
        order = await trader.submitted("BUY", "1", "100")
        await world.faults(**{fault: 1, "hang_ms": _longer_than_a_send(trader)}, scope="replace")
        outcome = await trader.broker.replace(order, Terms(quantity=Decimal(3), limit_price=Decimal(99)), "request-1")
        expected: type[Outcome] = InDoubt if trader.broker.capabilities.replaces else Refused
        assert isinstance(outcome, expected)
        await world.faults()
        is_changed = trader.broker.capabilities.replaces and fault != "lose_request"
        expects = Decimal(3 if is_changed else 1)

        async def has_become() -> bool:
            return (await trader.state(order)).quantity == expects

        await until(has_become)

    async def test_a_late_refusal_is_told(self, trader: Trader, world: World) -> None:
        async with trader.broker.reports() as stream:
            await world.faults(refuse_late=1)
            order = await trader.submitted("BUY", "1", "100")
            (report,) = await read(stream, 1, ExecType.REJECTED)
        assert (report.client_order_id, report.kind) == (order.client_order_id, ReportKind.ORDER)
        assert (await trader.becomes(order, OrdStatus.REJECTED)).cum_qty == ZERO

    # -- the stream --------------------------------------------------------------------------------------------------

    async def test_a_fill_that_the_stream_drops_is_polled(self, trader: Trader, world: World) -> None:
        await trader.submitted("BUY", "1", "100")
        async with trader.broker.reports() as stream:
            await world.faults(drop=1)
            await world.quote("99", "100", ask_size="0.25")
            await world.quote("99", "100", ask_size="5")
            (streamed,) = await read(stream, 1)
        fills, _ = await trader.fills()
        assert [fill.last_qty for fill in fills] == [Decimal("0.25"), Decimal("0.75")]
        assert streamed.exec_id == fills[1].exec_id

    async def test_a_repeated_frame_is_the_same_fill(self, trader: Trader, world: World) -> None:
        await trader.submitted("BUY", "1", "100")
        async with trader.broker.reports() as stream:
            await world.faults(repeat=1)
            await world.quote("99", "100")
            first, second = await read(stream, 2)
        assert first.exec_id == second.exec_id
        assert [fill.exec_id for fill in (await trader.fills())[0]] == [first.exec_id]

    async def test_frames_in_another_order_are_the_same_fills(self, trader: Trader, world: World) -> None:
        await trader.submitted("BUY", "1", "100")
        async with trader.broker.reports() as stream:
            await world.faults(reorder=1)
            await world.quote("99", "100", ask_size="0.25")
            await world.quote("99", "100", ask_size="5")
            streamed = [report.exec_id for report in await read(stream, 2)]
        fills = [fill.exec_id for fill in (await trader.fills())[0]]
        assert streamed == fills[::-1]

    async def test_a_stream_that_breaks_says_so_and_can_be_entered_again(self, trader: Trader, world: World) -> None:
        order = await trader.submitted("BUY", "1", "100")
        async with trader.broker.reports() as stream:
            await world.faults(disconnect=1)
            await world.quote("99", "100", ask_size="0.25")
            with pytest.raises(BrokerUnavailable):
                await read(stream, 1)
        async with trader.broker.reports() as stream:
            await world.quote("99", "100", ask_size="5")
            (streamed,) = await read(stream, 1)
        fills, _ = await trader.fills()
        assert [fill.client_order_id for fill in fills] == [order.client_order_id] * 2
        assert streamed.exec_id == fills[1].exec_id

    async def test_a_slow_answer_is_an_answer(self, trader: Trader, world: World) -> None:
        await world.faults(delay_ms=50)
        order = await trader.submitted("BUY", "1", "100")
        assert (await trader.state(order)).status is OrdStatus.NEW


def _longer_than_a_send(trader: Trader) -> int:
    """In milliseconds."""
    return int(trader.broker.capabilities.send_s * 1000) + 2_000
