"""The contract of the port, for brokers with whom requests, answers and reports get lost. Their world can misbehave."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foldbook.brokers.port import (
    BrokerUnavailable,
    Completeness,
    InDoubt,
    OrderRef,
    Outcome,
    Refused,
    ReportKind,
    Terms,
)
from foldbook.trading.values import ZERO, ExecType, OrdStatus
from tests.brokers.trader import Trader, World, read, ref
from tests.waiting import until


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
