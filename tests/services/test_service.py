"""A strategy that is driven as things happen: data, events, timers, a stop, and data that comes too fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from foldbook.eventstore.readers.listener import LOG_CHANNEL, Listener
from foldbook.market.errors import MarketDataError
from foldbook.market.feeds.replay import Pace, Replay
from foldbook.market.feeds.told import Lost, Told
from foldbook.market.records import Bar, Trade
from foldbook.services.strategy.service import StrategyService
from foldbook.strategies import OrderCanceled, OrderEvent
from foldbook.trading.events import OrderCreated
from foldbook.trading.values import ExecType
from tests.market.feeding import NOON_NS, FakeClock, Listed, S
from tests.services.strategies import Buying, Noting, Raising
from tests.services.world import SYMBOL, Log, nothing_read, open_cash, opened, quote, report, runner_of
from tests.waiting import until


class Held:
    """A source that a test feeds, until it ends it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Told | None] = asyncio.Queue()

    def give(self, *told: Told | None) -> None:
        for one in told:
            self._queue.put_nowait(one)

    def is_taken(self) -> bool:
        """Everything that was given is on its way to the strategy."""
        return self._queue.empty()

    async def stream(self) -> AsyncGenerator[Told, None]:
        while (told := await self._queue.get()) is not None:
            yield told


async def test_it_runs_until_the_source_ends_and_then_the_strategy_is_told_so(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        strategy = Buying()
        service = StrategyService(runner_of(log, strategy), Listed([quote(n, bid=str(90 + n)) for n in range(5)]))
        await service.run(nothing_read)
        assert [told for told in strategy.told if told.startswith("quote")] == [f"quote {90 + n}" for n in range(5)]
        assert strategy.told[-1] == "stop"
        created = [event.order_id for event in await log.events() if isinstance(event, OrderCreated)]
        assert created == [f"trend-{n}" for n in range(1, 6)]


async def test_if_the_data_are_the_clock_it_starts_at_the_first_datum(database: str) -> None:
    class Starting(Noting):
        def on_start(self) -> None:
            super().on_start()
            self.told.append(f"start {self.now:%H:%M:%S}")

    async with opened(database) as log:
        await open_cash(log)
        strategy, source = Starting(), Held()
        running = asyncio.create_task(StrategyService(runner_of(log, strategy), source).run(nothing_read))
        source.give(quote(7), None)
        await running
        assert strategy.told == ["start 12:00:07", "quote 100", "stop"]


async def test_a_service_without_a_datum_can_be_stopped(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        service = StrategyService(runner_of(log, Noting()), Held())
        running = asyncio.create_task(service.run(nothing_read))
        await asyncio.sleep(0)
        service.stop()
        await running


async def test_a_file_is_a_source_like_any_other(database: str) -> None:
    class OnBars(Noting):
        def on_bar(self, bar: Bar) -> None:
            self.told.append(f"{bar.close} at {self.now:%S}")

    bars = [Bar(SYMBOL, NOON_NS + n * S, "1", "9", "1", str(n), interval=S) for n in (1, 2)]
    replay = Replay(lambda: [bars], Pace(is_moved=False), FakeClock())
    async with opened(database) as log:
        await open_cash(log)
        strategy = OnBars()
        await StrategyService(runner_of(log, strategy), replay).run(nothing_read)
        assert strategy.told == ["1 at 01", "2 at 02", "stop"]


@pytest.mark.parametrize("listens", [True, False], ids=["told", "by polling"])
async def test_what_happens_in_the_log_is_told_without_any_data(database: str, listens: bool) -> None:
    async with opened(database) as log, opened(database) as other:
        await open_cash(log)
        strategy, source = Buying(), Held()
        service = StrategyService(runner_of(log, strategy), source, poll_interval_s=60 if listens else 0.02)
        listener = Listener(database)
        listener.listen(LOG_CHANNEL, service.hint)
        if listens:
            await listener.start()
            await until(lambda: listener.is_connected)
        try:
            running = asyncio.create_task(service.run(nothing_read))
            source.give(quote(1))
            await has_orders(log, 1)
            await other.execute(report(ExecType.CANCELED, "trend-1"))
            await until(lambda: any(isinstance(event, OrderCanceled) for event in strategy.events))
            service.stop()
            await running
        finally:
            await listener.stop()
        assert strategy.told[-1] == "stop"


async def has_orders(log: Log, count: int) -> None:
    async def there_are() -> bool:
        return sum(isinstance(event, OrderCreated) for event in await log.events()) >= count

    await until(there_are)


async def test_a_strategy_that_is_slow_is_told_the_latest_and_how_much_it_missed_is_logged(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While its order is being committed, more data comes than may wait."""
    async with opened(database) as log:
        await open_cash(log)
        strategy, source = Buying(), Held()
        service = StrategyService(runner_of(log, strategy), source, waiting_max=10)
        trade = Trade(SYMBOL, NOON_NS + 2 * S, "5")
        source.give(quote(1), trade, *(quote(n, bid=str(n)) for n in range(2, 1_000)), None)
        await service.run(nothing_read)
        assert service.skipped > 900
        assert service.skipped + len(strategy.quotes) + len(strategy.trades) == 1_000
        assert strategy.quotes[-1].bid == 999
        times = [one.time_ns for one in strategy.quotes]
        assert times == sorted(times)
    assert f"the strategy is slow: {service.skipped} data skipped" in caplog.text


async def test_a_strategy_that_keeps_up_misses_nothing(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        strategy, source = Noting(), Held()
        service = StrategyService(runner_of(log, strategy), source, waiting_max=10)
        running = asyncio.create_task(service.run(nothing_read))
        for n in range(50):
            source.give(quote(n, bid=str(n)))
            await until(lambda n=n: hasattr(strategy, "quotes") and len(strategy.quotes) == n + 1)  # type: ignore[misc]
        source.give(None)
        await running
        assert service.skipped == 0


async def test_a_file_that_is_read_as_fast_as_it_is_taken_is_told_completely(database: str) -> None:
    quotes = [quote(n, bid=str(n + 1)) for n in range(200)]
    replay = Replay(lambda: [quotes], Pace(None, is_moved=False), FakeClock())
    async with opened(database) as log:
        await open_cash(log)
        strategy = Buying()
        service = StrategyService(runner_of(log, strategy), replay, waiting_max=10, waits=True)
        await service.run(nothing_read)
        assert strategy.quotes == quotes
        assert service.skipped == 0


async def test_what_the_source_lost_is_logged(database: str, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(database) as log:
        await open_cash(log)
        service = StrategyService(runner_of(log, Noting()), Listed([Lost(4, "slow"), quote(1)]))
        await service.run(nothing_read)
    assert "4 market data lost: slow" in caplog.text


async def test_a_source_that_fails_ends_it_after_the_strategy_was_told(database: str) -> None:
    class Failing:
        async def stream(self) -> AsyncGenerator[Told, None]:
            yield quote(1)
            raise MarketDataError("no more")

    async with opened(database) as log:
        await open_cash(log)
        strategy = Noting()
        with pytest.raises(MarketDataError, match="no more"):
            await StrategyService(runner_of(log, strategy), Failing()).run(nothing_read)
        assert strategy.told == ["quote 100", "stop"]


async def test_a_strategy_that_raises_ends_the_service(database: str) -> None:
    async with opened(database) as log:
        await open_cash(log)
        source = Held()
        runner = runner_of(log, Raising())
        source.give(quote(1), quote(2), quote(3))
        await StrategyService(runner, source).run(nothing_read)
        assert runner.error is not None


async def test_timers_fire_on_the_machines_clock(database: str) -> None:
    class Soon(Noting):
        def on_start(self) -> None:
            super().on_start()
            self.set_timer("soon", every=timedelta(milliseconds=10))

        def on_timer(self, name: str, at: object) -> None:
            self.told.append(name)

        def on_order_event(self, event: OrderEvent) -> None:
            raise AssertionError("it has no orders")

    async with opened(database) as log:
        await open_cash(log)
        strategy = Soon()
        service = StrategyService(runner_of(log, strategy, now_ns=time.time_ns), Held(), poll_interval_s=60)
        running = asyncio.create_task(service.run(nothing_read))
        await until(lambda: getattr(strategy, "told", []).count("soon") >= 3)
        service.stop()
        await running
