"""What a gateway must not get wrong, and what its successor must find out, with what goes wrong in between."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from msgspec.structs import replace

from foldbook.brokers import asking, reconciling, session
from foldbook.brokers.doubts import SUPERSEDED
from foldbook.brokers.port import BrokerUnavailable, Holding
from foldbook.trading.commands import BookCommand, RecordAttempt, RecordExecution
from foldbook.trading.events import OrderReplaceRejected
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


async def test_of_two_replaces_that_leave_together_the_later_makes_the_new_leg_and_the_earlier_is_rejected() -> None:
    broker = Broker(replaces=False, dedup_s=None)
    log, gateway = await working(broker)
    log.execute(replace_order(limit_price=Decimal(101)), replace_order(limit_price=Decimal(102)))
    await until(lambda: gateway.order is not None and not gateway.order.requests)
    assert gateway.order is not None
    assert gateway.order.limit_price == 102
    assert (gateway.order.leg, gateway.work.doubts) == (2, 0)
    (rejected,) = [event for event in log.life.events if isinstance(event, OrderReplaceRejected)]
    assert rejected.text == SUPERSEDED
    broker.orders[LEG_TWO] = replace(broker.orders[LEG_TWO], status=OrdStatus.CANCELED)
    gateway.session.route(broker.report(LEG_TWO, ExecType.CANCELED))
    await until(lambda: gateway.order is None)
    assert log.types[-1] == "OrderCanceled"


@pytest.mark.parametrize("wrong", ["lose_request", "lose_ack"])
async def test_a_new_leg_in_doubt_is_settled_though_a_later_replace_was_sent(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "STAY_PAUSE_S", 0.05)
    broker = Broker(replaces=False)
    log, gateway = await with_a_new_leg_in_doubt(broker, wrong)
    log.execute(replace_order(limit_price=Decimal(98)))
    await until(lambda: gateway.order is not None and not gateway.order.requests and not gateway.order.doubts)
    assert gateway.order is not None
    assert gateway.order.limit_price == 98
    (open_there,) = [state for state in broker.orders.values() if state.status is OrdStatus.NEW]
    assert open_there == broker.orders[LEG_THREE]


async def test_a_replace_in_doubt_is_not_attempted_while_a_later_one_is_under_way() -> None:
    """The book would drop that, again and again."""
    broker = Broker(settle_s=0.05)
    log, gateway = await working(broker)
    broker.wrong["replace"] = "lose_request"
    log.execute(replace_order(limit_price=Decimal(101)))
    await until(lambda: gateway.desk.counts.in_doubt == 1)
    broker.is_silent = True
    broker.wrong["replace"] = "lose_request"
    later = replace_order(limit_price=Decimal(102))
    log.execute(later)
    await until(lambda: gateway.desk.counts.in_doubt == 2)
    gateway.holds = lambda command: isinstance(command, RecordAttempt) and command.request_id == str(later.command_id)
    broker.is_silent = False
    await asyncio.sleep(0.5)
    assert not [command for command in log.dropped if isinstance(command, RecordAttempt)]
    gateway.holds = lambda _: False
    await until(lambda: gateway.order is not None and not gateway.order.requests)
    assert gateway.order is not None
    assert gateway.order.limit_price == 102


# -- halts -------------------------------------------------------------------------------------------------------


async def test_an_order_in_doubt_is_not_attempted_in_an_account_that_is_halted_and_is_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "STAY_PAUSE_S", 0.05)
    log, broker = Log(), Broker(settle_s=0.05)
    gateway = await connected(log, broker)
    broker.wrong["submit"] = "lose_request"
    log.execute(place(received_at=now()), trading_state("HALTED"))
    await until(lambda: gateway.work.doubts == 1)
    await asyncio.sleep(0.5)
    assert not log.dropped
    assert not gateway.work.asking.is_busy
    log.execute(trading_state("ACTIVE"))
    await until(lambda: gateway.order is not None and gateway.order.status is OrdStatus.NEW)
    assert [sent[:2] for sent in broker.sent] == [("submit", LEG_ONE)] * 2


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


async def on_leg(number: int, broker: Broker) -> tuple[Log, Gateway]:
    """An order of 2, of whose legs the present one is this."""
    log, gateway = await working(broker)
    for price in range(1, number):
        log.execute(replace_order(limit_price=Decimal(price)))
        await until(lambda: gateway.order is not None and not gateway.order.requests)
    return log, gateway


def fill_before_the_cancel(broker: Broker, client_id: str, quantity: str) -> None:
    """Which the list of fills does not tell yet."""

    def fill() -> None:
        broker.before_cancel = lambda: None
        broker.fill(client_id, quantity)
        broker.untold = 1

    broker.before_cancel = fill


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("leg", [1, 2])
async def test_a_new_leg_waits_for_the_fills_that_the_broker_has_not_told(
    leg: int, is_killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "STAY_PAUSE_S", 0.05)
    broker = Broker(replaces=False, dedup_s=None)
    log, gateway = await on_leg(leg, broker)
    old, new = f"o-1:{leg}", f"o-1:{leg + 1}"
    fill_before_the_cancel(broker, old, "0.5")
    log.execute(replace_order(limit_price=Decimal(99)))
    await until(lambda: gateway.work.doubts == 1)
    if is_killed:
        await gateway.kill()
        gateway = await connected(log, broker)
    await asyncio.sleep(0.3)
    assert new not in broker.orders
    assert [sent[:2] for sent in broker.sent[-1:]] == [("cancel", old)]
    broker.untold = 0
    await until(lambda: gateway.order is not None and not gateway.order.requests)
    assert broker.orders[new].quantity == Decimal("1.5")
    assert gateway.order is not None
    assert (gateway.order.cum_qty, gateway.order.leaves_qty) == (Decimal("0.5"), Decimal("1.5"))
    assert gateway.work.doubts == 0


@pytest.mark.parametrize("leg", [1, 2])
async def test_a_fill_that_was_busted_or_corrected_holds_no_new_leg_up(leg: int) -> None:
    """The broker may go on to count it."""
    broker = Broker(replaces=False, dedup_s=None)
    log, gateway = await on_leg(leg, broker)
    broker.fill(f"o-1:{leg}", "0.5")
    broker.fill(f"o-1:{leg}", "0.25")
    await gateway.session.poll(ACCOUNT)
    log.execute(report("TRADE_CANCEL", exec_id="x-1", exec_ref_id="e-1"))
    corrected = report("TRADE_CORRECT", exec_id="x-2", exec_ref_id="e-2", last_qty=Decimal("0.125"), last_px=Decimal(9))
    log.execute(corrected)
    log.execute(replace_order(limit_price=Decimal(99)))
    await until(lambda: gateway.order is not None and not gateway.order.requests)
    assert broker.orders[f"o-1:{leg + 1}"].quantity == Decimal("1.875")


async def test_a_bust_of_the_first_leg_is_no_fill_of_the_second() -> None:
    broker = Broker(replaces=False, dedup_s=None)
    log, gateway = await working(broker)
    broker.fill(LEG_ONE, "0.5")
    await gateway.session.poll(ACCOUNT)
    log.execute(report("TRADE_CANCEL", exec_id="x-1", exec_ref_id="e-1"), replace_order(limit_price=Decimal(99)))
    await until(lambda: gateway.order is not None and not gateway.order.requests)
    fill_before_the_cancel(broker, LEG_TWO, "0.5")
    log.execute(replace_order(limit_price=Decimal(98)))
    await until(lambda: gateway.work.doubts == 1)
    await asyncio.sleep(0.3)
    assert LEG_THREE not in broker.orders


async def test_fills_that_lag_behind_the_end_of_their_order_are_asked_for_by_a_successor_too() -> None:
    broker = Broker(serves_many=False)
    broker.says_traded = False
    log, gateway = await working(broker)
    fill_before_the_cancel(broker, LEG_ONE, "0.5")
    log.execute(cancel())
    await until(lambda: gateway.order is None)
    await gateway.kill()
    successor = await connected(log, broker, gateway.moved)
    successor.desk.run(successor.session._poll_in_rhythm(), "poll")
    await asyncio.sleep(0.1)
    broker.untold = 0
    await until(lambda: log.life.book.position_qty("BTCUSDT") == Decimal("0.5"))
    await successor.kill()


async def test_a_position_that_differs_is_compared_again_though_nothing_is_held_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "RECONCILE_EVERY_S", 0.05)
    log, broker = Log(), Broker(reports_positions=True)
    broker.held = (Holding(symbol="BTCUSDT", quantity=Decimal(1)),)
    gateway = await connected(log, broker)
    gateway.work.make_ready()
    assert log.types[-1] == "PositionMismatchDetected"
    broker.held = ()
    gateway.desk.run(gateway.session._reconcile_in_rhythm(), "reconcile")
    await until(lambda: log.types[-1] == "PositionMismatchResolved")
    await gateway.kill()


async def test_fills_are_asked_for_when_the_order_has_just_been_canceled() -> None:
    broker = Broker(serves_many=False)
    log, gateway = await working(broker)
    gateway.desk.run(gateway.session._poll_in_rhythm(), "poll")
    cancelled = cancel()
    broker.fill(LEG_ONE, "1")  # Its report never comes.
    log.execute(cancelled)
    await until(lambda: log.life.book.position_qty("BTCUSDT") == 1)
    await gateway.kill()


@pytest.mark.parametrize("what", ["cancel", "replace"])
async def test_a_request_that_was_taken_and_of_which_nothing_is_heard_is_asked_about(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    log, gateway = await working(broker)
    broker.wrong[what] = "lose_rejection"
    log.execute(cancel() if what == "cancel" else replace_order(limit_price=Decimal(99)))
    await until(lambda: gateway.order is not None and gateway.order.requests[0].attempts == 1)
    await until(lambda: gateway.work.is_idle)
    await asyncio.sleep(0.01)
    await gateway.reconcile()
    assert gateway.order is not None and not gateway.order.doubts, "the answer may still come"
    monkeypatch.setattr(reconciling, "ANSWER_S_MAX", 0.0)
    await gateway.reconcile()
    assert log.types[-1] == "OrderInDoubt"
    await until(lambda: gateway.order is None or not (gateway.order.requests or gateway.order.doubts))
    state = broker.orders[LEG_ONE]
    assert state.status is OrdStatus.CANCELED if what == "cancel" else state.limit_price == 99


async def test_a_broker_that_takes_its_time_is_not_asked_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "ANSWER_S_MAX", 0.0)
    broker = Broker()
    log, gateway = await working(broker)
    log.execute(cancel())
    broker.wrong["cancel"] = "lose_rejection"
    for _ in range(8):
        await until(lambda: gateway.work.is_idle)
        await asyncio.sleep(0.01)
        broker.wrong["cancel"] = "lose_rejection"
        await gateway.reconcile()
    await until(lambda: gateway.work.is_idle)
    assert [what for what, *_ in broker.sent].count("cancel") == 1 + reconciling.ATTEMPTS_MAX
    assert gateway.order is not None and not gateway.order.doubts


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
