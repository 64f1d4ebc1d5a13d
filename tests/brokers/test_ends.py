"""An order ends in the book after the fills that it had: they decide what becomes of its bracket."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from msgspec.structs import replace

from foldbook.brokers import ends
from foldbook.brokers.port import BrokerUnavailable, Fills, Report
from foldbook.trading.values import ExecType, GroupKind, OrderGroup, OrdStatus, Side
from tests.brokers.desk_world import Broker, Gateway, Log, connected
from tests.brokers.gateway_world import now
from tests.builders import ACCOUNT, cancel, place, replace_order, report
from tests.waiting import until

BRACKET = OrderGroup(kind=GroupKind.BRACKET, id="g-1")


async def entered(broker: Broker) -> tuple[Log, Gateway]:
    """An entry of 2 that the broker has, and an exit that waits for it."""
    log = Log()
    gateway = await connected(log, broker)
    log.execute(
        place(received_at=now(), group=BRACKET),
        place("exit", side=Side.SELL, reduce_only=True, limit_price=Decimal(200), group=BRACKET, received_at=now()),
    )
    await until(lambda: "o-1:1" in broker.orders and gateway.work.is_idle)
    return log, gateway


def fill_untold(broker: Broker, client_id: str, quantity: str) -> None:
    """Which the list of fills does not tell yet."""
    broker.fill(client_id, quantity)
    broker.untold = 1


def end(broker: Broker, client_id: str, traded: str) -> Report:
    """At the broker, after it traded so much. The report goes nowhere by itself."""
    fill_untold(broker, client_id, traded)
    broker.orders[client_id] = replace(broker.orders[client_id], status=OrdStatus.CANCELED, time=now())
    return broker.report(client_id, ExecType.CANCELED, reason="not today")


@pytest.mark.parametrize("told_by", ["stream", "answer", "reconciliation", "successor"])
@pytest.mark.parametrize("leg", [1, 2])
async def test_the_exits_of_an_entry_whose_fill_is_told_after_its_end_are_sent(leg: int, told_by: str) -> None:
    broker = Broker(replaces=leg == 1)
    log, gateway = await entered(broker)
    client_id, reconciling = f"o-1:{leg}", None
    if leg == 2:
        log.execute(replace_order(limit_price=Decimal(99)))
        await until(lambda: client_id in broker.orders and gateway.work.is_idle)
        await until(lambda: gateway.order is not None and gateway.order.leg == leg)
    if told_by == "answer":
        broker.before_cancel = lambda: fill_untold(broker, client_id, "0.5")
        log.execute(cancel())
    elif told_by == "stream":
        gateway.session.route(end(broker, client_id, "0.5"))
    else:
        end(broker, client_id, "0.5")
        await asyncio.sleep(0.01)
        if told_by == "successor":
            await gateway.kill()
            gateway = Gateway(log, broker)
            gateway.begin_to_connect()
        reconciling = asyncio.create_task(gateway.reconcile())
    await until(lambda: broker.orders[client_id].status is OrdStatus.CANCELED)
    await asyncio.sleep(0.3)
    assert gateway.order is not None, "it has not ended: what it had traded is not known"
    assert "exit" in log.life.book.orders

    broker.untold = 0
    await until(lambda: gateway.order is None)
    if reconciling is not None:
        assert await reconciling == ()
    assert log.types.index("OrderFilled") < log.types.index("OrderCanceled")
    assert log.life.book.position_qty("BTCUSDT") == Decimal("0.5")
    gateway.work.make_ready()
    await until(lambda: "exit:1" in broker.orders)
    await until(lambda: log.life.book.orders["exit"].quantity == Decimal("0.5"))
    await gateway.kill()


async def test_a_fill_whose_report_is_lost_is_asked_for_when_the_end_is_told() -> None:
    broker = Broker()
    log, gateway = await entered(broker)
    told = end(broker, "o-1:1", "0.5")
    broker.untold = 0
    gateway.session.route(told)
    await until(lambda: gateway.order is None)
    assert log.life.book.position_qty("BTCUSDT") == Decimal("0.5")
    await until(lambda: "exit:1" in broker.orders)


async def test_fills_that_never_come_hold_the_end_up_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "WAIT_S_MAX", 0.3)
    broker = Broker()
    log, gateway = await entered(broker)
    gateway.session.route(end(broker, "o-1:1", "0.5"))
    await until(lambda: gateway.order is None)
    assert log.life.book.position_qty("BTCUSDT") == 0
    assert "OrderCanceled" in log.types


async def test_a_broker_that_does_not_answer_could_not_have_told_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fills_since(account: str | None, cursor: str | None) -> Fills:
        raise BrokerUnavailable("not now")

    monkeypatch.setattr(ends, "WAIT_S_MAX", 0.2)
    broker = Broker()
    log, gateway = await entered(broker)
    answering = broker.fills_since
    monkeypatch.setattr(broker, "fills_since", fills_since)
    gateway.session.route(end(broker, "o-1:1", "0.5"))
    await asyncio.sleep(1)
    assert gateway.order is not None
    broker.untold = 0
    monkeypatch.setattr(broker, "fills_since", answering)
    await until(lambda: gateway.order is None)
    assert log.life.book.position_qty("BTCUSDT") == Decimal("0.5")


async def test_an_end_that_is_told_twice_is_recorded_once() -> None:
    broker = Broker()
    log, gateway = await entered(broker)
    told = end(broker, "o-1:1", "0.5")
    for _ in range(3):
        gateway.session.route(told)
    gateway.session.route(replace(told, reason="in other words"))
    await asyncio.sleep(0.1)
    broker.untold = 0
    await until(lambda: gateway.order is None and not gateway.desk._recordings)
    assert log.types.count("OrderCanceled") == 1


async def test_a_fill_that_was_busted_holds_no_end_up() -> None:
    broker = Broker()
    log, gateway = await entered(broker)
    broker.fill("o-1:1", "0.5")
    await gateway.session.poll(ACCOUNT)
    log.execute(report("TRADE_CANCEL", exec_id="x-1", exec_ref_id="e-1"))
    log.execute(cancel())
    await until(lambda: gateway.order is None)
    assert "OrderCanceled" in log.types
