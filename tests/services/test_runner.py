"""A strategy in an account of a real log: what it is told, and what it leaves there."""

from __future__ import annotations

from decimal import Decimal
from itertools import count

import psycopg
import pytest
from uuid_utils.compat import uuid7

from foldbook.errors import Refusal
from foldbook.eventstore.events import Event
from foldbook.market.feeds.told import Opened
from foldbook.market.records import Bar, Quote, time_of
from foldbook.services.strategy import runner as runners
from foldbook.services.strategy.telling import line_of
from foldbook.strategies import (
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderEvent,
    OrderFilled,
    OrderReplaceRejected,
)
from foldbook.trading.commands import (
    RequestReplace,
    SetRiskLimits,
)
from foldbook.trading.events import OrderCancelRequested, OrderCreated, OrderSubmitted, TradingStateChanged
from foldbook.trading.order import REQUESTS_MAX
from foldbook.trading.values import (
    ExecType,
    OrdStatus,
    PendingRequest,
    RiskLimits,
)
from tests.market.feeding import NOON_NS, S
from tests.services.strategies import Buying, Canceling, Looking, Noting, Raising, Spinning, Ticking
from tests.services.world import (
    ACCOUNT,
    SYMBOL,
    Broker,
    move,
    names,
    nothing_read,
    open_cash,
    opened,
    placed,
    quote,
    report,
    runner_of,
    settle,
    started,
)

NOON = time_of(NOON_NS)


# -- what it is told, and sends ----------------------------------------------------------------------------------


async def test_orders_are_in_the_log_when_the_strategy_is_told_the_next_thing(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        strategy = Buying()
        runner = await started(log, strategy)
        for n in range(3):
            await runner.tell(quote(n, bid=str(100 - n)))
            created = [event for event in await log.events() if type(event) is OrderCreated]
            assert [event.order_id for event in created] == [f"trend-{m}" for m in range(1, n + 2)]
        assert created[-1].transact_time == time_of(NOON_NS + 2 * S)


async def test_a_strategy_sees_what_it_has_just_sent(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        strategy = Looking()
        runner = await started(log, strategy)
        await runner.tell(quote(1))
        assert runner.error is None
        assert strategy.told == ["quote 100", OrdStatus.CREATED, OrdStatus.PENDING_CANCEL]
        assert names(await log.events()) == ["OrderCreated trend-1", "OrderCancelRequested trend-1"]


async def test_what_risk_denies_comes_back_as_an_event(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        await log.execute(
            SetRiskLimits(
                command_id=uuid7(), received_at=NOON, account=ACCOUNT, limits=RiskLimits(max_quantity=Decimal("0.5"))
            )
        )
        strategy = Buying()
        runner = await started(log, strategy)
        await runner.tell(quote(1))
        assert await runner.tell_next()
        assert not await runner.tell_next()
        (denied,) = strategy.events
        assert isinstance(denied, OrderDenied)
        assert denied == (await log.events())[-1]


async def test_what_was_refused_because_something_came_between_is_told(database: str) -> None:
    """The account changes between what the runner has read and what it sends."""
    async with opened(database) as log:
        await open_cash(log)
        strategy = Buying()
        runner = await started(log, strategy)
        await log.execute(placed("trend-1", "other", "7"))
        await runner.tell(quote(1))
        assert await runner.tell_next()
        (denied,) = strategy.events
        assert isinstance(denied, OrderDenied)
        assert (denied.order_id, denied.reason) == ("trend-1", "duplicate-order")
        await runner.tell(quote(2))
        assert names(await log.events())[-1] == "OrderCreated trend-2"


async def test_requests_for_an_order_that_has_ended_meanwhile_are_forgotten(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        strategy = Canceling()
        runner = await started(log, strategy)
        await runner.tell(quote(1))
        await log.execute(report(ExecType.CANCELED, "trend-1"))
        await runner.tell(quote(2))
        await runner.catch_up(0)
        assert [type(event) for event in strategy.events] == [OrderCanceled]
        assert runner.is_running


async def test_a_request_that_is_refused_while_the_order_is_open_is_told(database: str) -> None:
    """There may be only so many requests for an order; somebody else has used them up."""
    async with opened(database) as log:
        await open_cash(log)
        strategy = Canceling()
        runner = await started(log, strategy)
        await runner.tell(quote(1))
        for n in range(REQUESTS_MAX):
            more = {"order_id": "trend-1", "quantity": Decimal(n + 3)}
            await log.execute(RequestReplace(command_id=uuid7(), received_at=NOON, account=ACCOUNT, **more))  # type: ignore[arg-type]
        await runner.tell(quote(2))
        await runner.catch_up(0)
        (rejected,) = [event for event in strategy.events if isinstance(event, OrderReplaceRejected)]
        assert rejected.order_id == "trend-1"
        assert rejected.text
        assert rejected not in await log.events()
        assert runner.is_running


async def test_a_command_that_breaks_a_rule_raises_where_it_was_given(database: str) -> None:
    class Wrong(Noting):
        def on_quote(self, quote: Quote) -> None:
            for call in (
                lambda: self.buy("ELSE", 1),
                lambda: self.cancel("trend-9"),
                lambda: self.cancel("by-hand"),
                lambda: self.buy(SYMBOL, 1, limit_price=-1),
            ):
                with pytest.raises(Refusal):
                    call()
            self.told.append("went on")
            self.buy(SYMBOL, 1, limit_price=1)

    async with opened(database) as log:
        await open_cash(log)
        await log.execute(placed("by-hand", "other"))
        strategy = Wrong()
        runner = await started(log, strategy)
        await runner.tell(quote(1))
        assert strategy.told == ["went on"]
        # As in a backtest, an order that is refused has used its number.
        assert names(await log.events())[-1] == "OrderCreated trend-2"


async def test_bars_open_close_and_are_remembered(database: str) -> None:
    class OnBars(Noting):
        def on_open(self, symbol: str, price: Decimal, time: object) -> None:
            self.told.append(f"open {price} {self.last_price(symbol)} {len(self.history(symbol, 9))}")

        def on_bar(self, bar: Bar) -> None:
            self.told.append(f"bar {bar.close} {self.last_price(bar.symbol)} {len(self.history(bar.symbol, 9))}")

    async with opened(database) as log:
        await open_cash(log)
        strategy = OnBars()
        runner = await started(log, strategy)
        for n in (1, 2):
            await runner.tell(Opened(SYMBOL, NOON_NS + (n - 1) * S, Decimal(n)))
            await runner.tell(Bar(SYMBOL, NOON_NS + n * S, str(n), "9", "1", "5", interval=S))
        await runner.tell(Opened("ELSE", NOON_NS + 9 * S, Decimal(1)))
        assert strategy.told == ["open 1 1 0", "bar 5 5 1", "open 2 2 1", "bar 5 5 2"]


# -- timers ------------------------------------------------------------------------------------------------------


async def test_timers_on_the_clock_of_the_data_fire_before_the_datum_each_at_its_time(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        strategy = Ticking()
        runner = await started(log, strategy)
        await runner.tell(quote(2))
        await runner.tell(quote(5))
        assert strategy.told == ["quote 100", "often 02 02", "once 03 03", "often 04 04", "quote 100"]


async def test_timers_on_a_clock_of_its_own_fire_when_it_says(database: str) -> None:
    time_ns = NOON_NS
    async with opened(database) as log:
        await open_cash(log)
        strategy = Ticking()
        runner = await started(log, strategy, now_ns=lambda: time_ns)
        assert runner.timer_due_s() == 2
        await runner.advance()
        assert strategy.told == []
        time_ns += 3 * S
        await runner.advance()
        assert strategy.told == ["often 02 03", "once 03 03"]
        assert runner.timer_due_s() == 1
        time_ns += 10 * S
        await runner.tell(quote(1))
        assert strategy.told[-1] == "quote 100"
        assert runner.world.now == time_of(time_ns)


async def test_timers_without_end_stop_the_strategy_on_the_clock_of_the_data(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they do in a backtest: no time passes between them."""
    monkeypatch.setattr(runners, "CASCADE_MAX", 50)
    async with opened(database) as log:
        await open_cash(log)
        strategy = Spinning()
        runner = await started(log, strategy)
        await runner.tell(quote(2))
        assert strategy.fired == 50
        assert runner.error == f"StrategyError: Spinning sets timers without end: 50 at {NOON}"


async def test_timers_without_end_hold_up_no_datum_on_a_clock_of_its_own(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        strategy = Spinning()
        runner = await started(log, strategy, now_ns=count(NOON_NS).__next__)
        await runner.tell(quote(2))
        assert strategy.told == ["quote 100"]
        assert strategy.fired > 0
        assert runner.is_running


# -- the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rests", [True, False])
async def test_a_strategy_that_raises_is_stopped_and_the_log_has_why(database: str, rests: bool) -> None:
    async with opened(database) as log:
        await open_cash(log)
        await log.execute(placed("by-hand", "other"))
        strategy = Raising(rests=rests)
        runner = await started(log, strategy)
        await runner.tell(quote(1))
        await runner.tell(quote(2))
        assert runner.error == "RuntimeError: the second\nquote"
        assert not runner.is_running
        told = len(strategy.told)
        await runner.tell(quote(3))
        await runner.catch_up(10**9)
        await runner.stop()
        assert len(strategy.told) == told, "it is told nothing any more"
        events = await log.events()
        canceled = [event.order_id for event in events if isinstance(event, OrderCancelRequested)]
        assert canceled == (["trend-1"] if rests else []), "its own order, and no other"
        assert not any(isinstance(event, TradingStateChanged) for event in events), "others go on"
        assert "OrderCreated trend-2" not in names(events), "what the failed callback sent is thrown away"
        said = "Raising was stopped: RuntimeError: the second quote"
        raw = [recorded.metadata for recorded in await log.recorded() if recorded.type == "OrderCancelRequested"]
        assert all(said.encode() in bytes(metadata) for metadata in raw)
    with psycopg.connect(database) as connection:
        actors = connection.execute(
            "select actor, outcome from eventstore.commands where type = 'SetTradingState'"
        ).fetchall()
    assert actors == [(f"strategy:trend ({said})", "accepted")]


async def test_a_strategy_that_cannot_start_is_stopped_too(database: str) -> None:
    class Unable(Noting):
        def on_start(self) -> None:
            raise ValueError("no")

    async with opened(database) as log:
        await open_cash(log)
        runner = await started(log, Unable())
        assert runner.error == "ValueError: no"
        assert not runner.is_running


async def test_a_stop_is_told_and_its_last_requests_are_sent(database: str) -> None:
    class Leaving(Buying):
        def on_stop(self) -> None:
            super().on_stop()
            for order in self.orders():
                self.cancel(order.order_id)

    async with opened(database) as log:
        await open_cash(log)
        strategy = Leaving()
        runner = await started(log, strategy)
        await runner.tell(quote(1))
        await runner.stop()
        await runner.stop()
        assert strategy.told == ["quote 100", "stop"]
        assert names(await log.events())[-1] == "OrderCancelRequested trend-1"


# -- two in one account ------------------------------------------------------------------------------------------


async def test_two_strategies_in_one_account_share_its_position_and_not_their_orders(database: str) -> None:
    async with opened(database) as log, opened(database) as other_log:
        await open_cash(log)
        broker = Broker(log)
        one, other = Buying(limit=False), Buying()
        first = await started(log, one, strategy_id="one")
        second = await started(other_log, other, strategy_id="other")
        for n in (1, 2):
            moment = quote(n)
            await broker.show(moment)
            for runner in (first, second):
                await runner.tell(moment)
                await settle(runner, broker)
        for runner in (first, second):
            await settle(runner, broker)
        assert one.events and other.events
        assert {event.strategy_id for event in one.events} == {"one"}
        assert {event.strategy_id for event in other.events} == {"other"}
        assert [type(event) for event in one.events] == [OrderSubmitted, OrderAccepted, OrderFilled] * 2
        assert first.world.position(SYMBOL) == second.world.position(SYMBOL) == 2
        assert [order.order_id for order in first.world.orders(None)] == []
        assert [order.order_id for order in second.world.orders(None)] == ["other-1", "other-2"]
        assert first.world.cash == second.world.cash


# -- told to a person --------------------------------------------------------------------------------------------


async def test_what_a_strategy_does_is_told_in_lines(database: str) -> None:
    lines: list[str] = []
    async with opened(database) as log:
        await open_cash(log)
        broker = Broker(log)

        def say(event: Event) -> None:
            line = line_of(event, runner.account, "trend")
            if line is not None:
                lines.append(line)

        runner = runner_of(log, Buying(), on_event=say)
        await runner.start(nothing_read, NOON_NS)
        await move(runner, broker, quote(1))
        await move(runner, broker, quote(2, bid="99", ask="100", size="0.4"))
        await log.execute(report(ExecType.CANCELED, "trend-2", reason="by hand"))
        await settle(runner, broker)
    assert lines == [
        "trend-1: BUY 1 BTCUSDT LIMIT 100 GTC",
        "trend-1: traded 0.4 at 100, 0.4 of 1; position 0.4 BTCUSDT",
        "trend-2: BUY 1 BTCUSDT LIMIT 99 GTC",
        "trend-2: canceled, by hand",
    ]


async def test_a_strategy_that_answers_itself_without_end_is_stopped(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldbook.services.strategy.runner.ANSWERS_MAX", 5)

    class Endless(Noting):
        def on_quote(self, quote: Quote) -> None:
            self.cancel(self.buy(SYMBOL, 1, limit_price=1))

        def on_order_event(self, event: OrderEvent) -> None:
            self.cancel(self.buy(SYMBOL, 1, limit_price=1))

    async with opened(database) as log:
        await open_cash(log)
        runner = await started(log, Endless())
        await runner.tell(quote(1))
        await runner.catch_up(0)
        assert runner.error == "StrategyError: Endless answers its own events without end: 5 times"
        assert all(order.pending_request is PendingRequest.CANCEL for order in runner.world.own_orders())
