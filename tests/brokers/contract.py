"""The contract of the port to brokers: what every adapter must keep, whoever is behind it.

A test class per world inherits the cases and has a fixture ``world`` (``test_port.py``). Brokers with a wire, on which
things get lost, keep more (``contract_wire``).
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest

from foldbook.brokers.port import (
    Acknowledged,
    BrokerUnavailable,
    Completeness,
    InDoubt,
    Refused,
    Report,
    ReportKind,
    Terms,
)
from foldbook.trading.values import ZERO, ExecType, OrdStatus, Side, TimeInForce
from tests.brokers.trader import WAIT_S, Trader, World, read, ref


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

    async def test_an_answer_tells_what_the_stream_tells(self, trader: Trader, world: World) -> None:
        """Of a fill in the same words: what is told twice is recorded once because it is the same."""
        await world.quote("99", "100", ask_size="0.25")
        async with trader.broker.reports() as stream:
            told: list[Report] = []
            immediate = msgspec.structs.replace(trader.order("BUY", "1", "100"), time_in_force=TimeInForce.IOC)
            resting = trader.order("BUY", "1", "90")
            for order in (immediate, resting):
                outcome = await trader.broker.submit(order)
                assert isinstance(outcome, Acknowledged)
                told += outcome.reports
            outcome = await trader.broker.cancel(ref(resting), "request-1")
            assert isinstance(outcome, Acknowledged)
            told += outcome.reports
            streamed: list[Report] = []
            async with asyncio.timeout(WAIT_S):
                while not any(
                    report.exec_type is ExecType.CANCELED and report.client_order_id == resting.client_order_id
                    for report in streamed
                ):
                    streamed.append(await anext(stream))
        assert {_said(report) for report in told} <= {_said(report) for report in streamed}

    async def test_an_end_says_how_much_had_traded(self, trader: Trader, world: World) -> None:
        """In the answer as in the stream: the fills may be told later."""
        await world.quote("99", "100", ask_size="0.25")
        async with trader.broker.reports() as stream:
            immediate = msgspec.structs.replace(trader.order("BUY", "1", "100"), time_in_force=TimeInForce.IOC)
            resting = trader.order("BUY", "2", "90")
            told: list[Report] = []
            for order in (immediate, resting):
                outcome = await trader.broker.submit(order)
                assert isinstance(outcome, Acknowledged)
                told += outcome.reports
            # Where nothing fills on data older than the order.
            await world.quote("99", "100", ask_size="0.25")
            outcome = await trader.broker.cancel(ref(resting), "request-1")
            assert isinstance(outcome, Acknowledged)
            told += outcome.reports
            waited_for = {immediate.client_order_id, resting.client_order_id}
            async with asyncio.timeout(WAIT_S):
                while waited_for:
                    told.append(await anext(stream))
                    if told[-1].exec_type in _ENDS:
                        waited_for.discard(told[-1].client_order_id or "")
        traded = {immediate.client_order_id: ("1", "0.25"), resting.client_order_id: ("2", "0")}
        for report in told:
            expected: tuple[Decimal | None, Decimal | None] = (None, None)
            if report.exec_type in _ENDS:
                order_qty, cum_qty = traded[report.client_order_id or ""]
                expected = (Decimal(order_qty), Decimal(cum_qty))
            assert (report.order_qty, report.cum_qty) == expected

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


_ENDS = (ExecType.CANCELED, ExecType.EXPIRED)


def _said(report: Report) -> object:
    """What a report says, however it was written; of one that is no trade, what it is about."""
    if report.kind is ReportKind.TRADE:
        return msgspec.structs.replace(report, raw=None)
    return report.exec_type, report.client_order_id, report.broker_order_id, report.request_id
