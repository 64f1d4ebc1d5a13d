"""What a gateway must not get wrong, and what its successor must find out, with what goes wrong in between."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from msgspec.structs import replace

from foldbook.brokers.port import BrokerUnavailable
from foldbook.trading.commands import BookCommand, RecordAttempt, RecordExecution
from foldbook.trading.values import ExecType, OrdStatus
from tests.brokers.desk_world import Broker, Gateway, Log, connected
from tests.brokers.gateway_world import now
from tests.builders import ACCOUNT, cancel, place, replace_order, report, trading_state
from tests.waiting import until

LEG_ONE, LEG_TWO, LEG_THREE = "o-1:1", "o-1:2", "o-1:3"


async def working(broker: Broker) -> tuple[Log, Gateway]:
    """An order of 2 at 100 that the broker has."""
    log = Log()
    gateway = await connected(log, broker)
    log.execute(place(received_at=now()))
    await until(lambda: LEG_ONE in broker.orders and not gateway.desk.counts.in_doubt and gateway.work.is_idle)
    return log, gateway


def is_trade(command: BookCommand) -> bool:
    return isinstance(command, RecordExecution) and command.exec_type is ExecType.TRADE


# -- an order that fills -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_killed", [False, True])
async def test_where_the_broker_replaces_nothing_a_replace_of_an_order_that_fills_is_rejected(is_killed: bool) -> None:
    broker = Broker(replaces=False)
    log, gateway = await working(broker)
    broker.before_cancel = lambda: broker.fill(LEG_ONE, "2")
    if is_killed:
        gateway.holds = lambda command: isinstance(command, RecordExecution) and not is_trade(command)
    log.execute(replace_order(limit_price=Decimal(99)))
    await until(lambda: "OrderFilled" in log.types)
    if is_killed:
        await gateway.kill()
        gateway = await connected(log, broker)
    await until(lambda: gateway.order is None)
    assert log.types[-1] in ("OrderReplaceRejected", "OrderDoubtResolved")
    assert [sent for sent in broker.sent if sent[0] == "submit"] == [("submit", LEG_ONE, Decimal(100))]


async def forgotten(broker: Broker) -> tuple[Log, Gateway]:
    """An order that has filled, with nothing asked of it."""
    log, gateway = await working(broker)
    broker.fill(LEG_ONE, "2")
    await gateway.session.poll(ACCOUNT)
    assert gateway.order is None
    return log, gateway


@pytest.mark.parametrize("is_killed", [False, True])
async def test_of_an_order_that_was_forgotten_every_request_is_answered(is_killed: bool) -> None:
    """It works again while a replace for more is pending, and fills again when that is rejected."""
    broker = Broker()
    log, gateway = await forgotten(broker)
    broker.is_silent = True
    broker.wrong = {"replace": "lose_request", "cancel": "lose_request"}
    log.execute(replace_order(quantity=Decimal(3)))
    await until(lambda: gateway.desk.counts.in_doubt == 1)
    log.execute(cancel())
    await until(lambda: gateway.desk.counts.in_doubt == 2)
    if is_killed:
        await gateway.kill()
    broker.is_silent = False
    if is_killed:
        gateway = await connected(log, broker)
    await until(lambda: gateway.order is None and "OrderCancelRejected" in log.types)
    assert "OrderReplaceRejected" in log.types
    assert log.types[-1] == "OrderDoubtResolved"


async def test_a_successor_sends_the_cancel_of_an_order_that_works_again() -> None:
    broker = Broker()
    log, gateway = await forgotten(broker)
    log.execute(report("TRADE_CANCEL", exec_id="x-1", exec_ref_id="e-1"))
    broker.orders[LEG_ONE] = replace(broker.orders[LEG_ONE], status=OrdStatus.NEW, cum_qty=Decimal(0))
    gateway.holds = lambda command: isinstance(command, RecordAttempt)
    log.execute(cancel())
    await gateway.kill()
    successor = await connected(log, broker)
    await until(lambda: successor.order is None)
    assert broker.orders[LEG_ONE].status is OrdStatus.CANCELED


async def test_an_order_that_works_again_is_reconciled() -> None:
    broker = Broker()
    log, gateway = await forgotten(broker)
    log.execute(report("TRADE_CANCEL", exec_id="x-1", exec_ref_id="e-1"))
    broker.orders[LEG_ONE] = replace(broker.orders[LEG_ONE], status=OrdStatus.CANCELED, cum_qty=Decimal(0))
    assert gateway.order is not None
    await asyncio.sleep(0.01)
    await gateway.reconcile()
    await until(lambda: gateway.order is None)
    assert log.types[-1] == "OrderCanceled"


# -- chains of replaces ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["lose_request", "lose_ack"])
@pytest.mark.parametrize("replaces", [True, False])
async def test_a_replace_in_doubt_does_not_undo_a_later_one(replaces: bool, wrong: str) -> None:
    broker = Broker(replaces=replaces)
    log, gateway = await working(broker)
    broker.wrong["replace" if replaces else "cancel"] = wrong
    log.execute(replace_order(limit_price=Decimal(101)))
    await until(lambda: gateway.desk.counts.in_doubt == 1)
    log.execute(replace_order(limit_price=Decimal(102)))
    await until(lambda: gateway.order is not None and not gateway.order.requests and not gateway.order.doubts)
    await until(lambda: gateway.work.is_idle)
    assert gateway.order is not None
    assert gateway.order.limit_price == 102
    (open_there,) = [state for state in broker.orders.values() if state.status is OrdStatus.NEW]
    assert open_there.limit_price == 102


# -- legs --------------------------------------------------------------------------------------------------------


async def with_a_new_leg_in_doubt(broker: Broker, wrong: str) -> tuple[Log, Gateway]:
    log, gateway = await working(broker)
    broker.wrong["submit"] = wrong
    log.execute(replace_order(limit_price=Decimal(99)))
    await until(lambda: gateway.desk.counts.in_doubt == 1)
    return log, gateway


@pytest.mark.parametrize("is_killed", [False, True])
async def test_the_end_of_an_old_leg_is_not_that_of_an_order_whose_cancel_is_pending(is_killed: bool) -> None:
    broker = Broker(replaces=False)
    log, gateway = await working(broker)
    broker.wrong["submit"] = "lose_ack"
    log.execute(replace_order(limit_price=Decimal(99)))
    await until(lambda: LEG_TWO in broker.orders)
    broker.is_silent = True
    await until(lambda: gateway.desk.counts.in_doubt == 1)
    ended = broker.report(LEG_ONE, ExecType.CANCELED)
    gateway.session.route(ended)
    log.execute(cancel())
    gateway.session.route(ended)
    await asyncio.sleep(0.05)
    broker.is_silent = False
    if is_killed:
        await gateway.kill()
        gateway = await connected(log, broker)
    await until(lambda: gateway.order is None)
    assert {client_id: state.status for client_id, state in broker.orders.items()} == {
        LEG_ONE: OrdStatus.CANCELED,
        LEG_TWO: OrdStatus.CANCELED,
    }
    assert await gateway.reconcile() == ()


@pytest.mark.parametrize("against", [cancel(), trading_state("HALTED")])
async def test_a_new_leg_that_was_lost_is_not_sent_against_a_cancel_or_a_halt(against: BookCommand) -> None:
    broker = Broker(replaces=False, settle_s=0.2)
    log, _gateway = await with_a_new_leg_in_doubt(broker, "lose_request")
    log.execute(against)
    await asyncio.sleep(0.6)
    assert [sent[1] for sent in broker.sent if sent[0] == "submit"] == [LEG_ONE, LEG_TWO]
    assert LEG_TWO not in broker.orders


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_new_leg_that_is_refused_ends_the_order(is_killed: bool) -> None:
    broker = Broker(replaces=False)
    log, gateway = await working(broker)
    broker.refuses = "no margin"
    ended: list[BookCommand] = []

    def holds(command: BookCommand) -> bool:
        """All that comes after the first word of it."""
        is_word = isinstance(command, RecordExecution) and command.reason is not None
        if is_word and command not in ended:
            ended.append(command)
        return is_killed and is_word and command is not ended[0]

    gateway.holds = holds
    log.execute(replace_order(limit_price=Decimal(99)))
    await until(lambda: bool(ended) and gateway.order is None)
    if is_killed:
        await gateway.kill()
        gateway = await connected(log, broker)
    await until(lambda: gateway.work.is_idle)
    assert gateway.work.doubts == 0
    assert not log.life.book.orders
    assert "OrderCanceled" in log.types


async def test_no_new_leg_leaves_before_the_account_is_reconciled() -> None:
    broker = Broker(replaces=False)
    log, gateway = await working(broker)
    gateway.holds = lambda command: isinstance(command, RecordAttempt) and command.leg is not None
    log.execute(replace_order(limit_price=Decimal(99)))
    await until(lambda: broker.orders[LEG_ONE].status is OrdStatus.CANCELED)
    await gateway.kill()
    open_orders = broker.open_orders
    broker.open_orders = _unanswered  # type: ignore[method-assign,assignment]
    successor = Gateway(log, broker)
    successor.begin_to_connect()
    await asyncio.sleep(0.5)
    assert not successor.work.is_ready
    assert LEG_TWO not in broker.orders
    broker.open_orders = open_orders  # type: ignore[method-assign]
    await successor.connect()
    await until(lambda: successor.order is not None and successor.order.limit_price == 99)
    assert broker.orders[LEG_TWO].status is OrdStatus.NEW


async def _unanswered(_account: str) -> None:
    raise BrokerUnavailable("not now")


# -- fills -------------------------------------------------------------------------------------------------------


async def test_a_fill_that_is_told_twice_is_recorded_before_the_cursor_passes_it() -> None:
    broker = Broker()
    log, gateway = await working(broker)
    gateway.holds = is_trade
    gateway.session.route(broker.fill(LEG_ONE, "2"))
    polling = asyncio.create_task(gateway.session.poll(ACCOUNT))
    await asyncio.sleep(0.1)
    assert not polling.done()
    assert "1" not in gateway.moved.values()
    polling.cancel()
    await gateway.kill()
    successor = Gateway(log, broker, gateway.moved)
    await successor.connect()
    await until(lambda: successor.order is None)
    assert log.life.book.position_qty("BTCUSDT") == 2


async def test_a_new_leg_is_what_is_left_after_every_fill_that_was_told() -> None:
    broker = Broker(replaces=False)
    log, gateway = await working(broker)
    gateway.holds = is_trade
    gateway.session.route(broker.fill(LEG_ONE, "1"))
    log.execute(replace_order(limit_price=Decimal(99)))
    await until(lambda: broker.orders[LEG_ONE].status is OrdStatus.CANCELED)
    await asyncio.sleep(0.1)
    gateway.holds = lambda _: False
    await until(lambda: LEG_TWO in broker.orders)
    assert broker.orders[LEG_TWO].quantity == 1


async def test_fills_are_asked_for_when_the_order_has_just_been_canceled() -> None:
    broker = Broker(serves_many=False)
    log, gateway = await working(broker)
    gateway.desk.run(gateway.session._poll_in_rhythm(), "poll")
    cancelled = cancel()
    broker.fill(LEG_ONE, "1")  # Its report never comes.
    log.execute(cancelled)
    await until(lambda: log.life.book.position_qty("BTCUSDT") == 1)
    await gateway.kill()


# -- doubts that end, pictures that are old ----------------------------------------------------------------------


async def test_an_order_that_the_broker_did_not_know_and_knows_again_is_in_doubt_no_more() -> None:
    broker = Broker()
    _log, gateway = await working(broker)
    state = broker.orders.pop(LEG_ONE)
    await gateway.reconcile()
    await until(lambda: gateway.work.doubts == 1)
    broker.orders[LEG_ONE] = state
    await until(lambda: gateway.work.doubts == 0)
    assert gateway.order is not None
    assert gateway.order.status is OrdStatus.NEW


async def test_an_order_that_ends_while_it_is_looked_at_is_no_orphan() -> None:
    broker = Broker()
    _log, gateway = await working(broker)
    open_orders = broker.open_orders

    async def slowly(account: str) -> object:
        listed = await open_orders(account)
        gateway.session.route(broker.fill(LEG_ONE, "2"))
        await until(lambda: gateway.order is None)
        return listed

    broker.open_orders = slowly  # type: ignore[method-assign,assignment]
    assert await gateway.reconcile() == ()


async def test_what_was_asked_of_a_filled_order_is_forgotten_when_it_is_answered() -> None:
    broker = Broker()
    log, gateway = await working(broker)
    log.execute(replace_order(limit_price=Decimal(99)))
    await until(lambda: gateway.order is not None and gateway.order.limit_price == 99)
    assert not gateway.work.gateway.replaces
