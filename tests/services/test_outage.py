"""The database goes away and comes back under a strategy: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import asyncio

import pytest

from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.services.strategy.service import StrategyService
from foldbook.trading.events import OrderCreated
from foldbook.trading.values import ExecType
from tests.services.strategies import Buying
from tests.services.test_service import Held
from tests.services.world import nothing_read, open_cash, opened, quote, report, runner_of
from tests.waiting import until


async def test_a_strategy_outlives_its_database(
    own_postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(own_postgres.dsn) as log:
        await open_cash(log)
        strategy, source = Buying(), Held()
        service = StrategyService(runner_of(log, strategy), source, poll_interval_s=0.05)
        running = asyncio.create_task(service.run(nothing_read))
        source.give(quote(1))

        async def has_bought(count: int) -> bool:
            return len([event for event in await log.events() if isinstance(event, OrderCreated)]) == count

        await until(lambda: has_bought(1))
        await asyncio.to_thread(own_postgres.stop)

        async def has_noticed() -> bool:
            return "the log does not answer" in caplog.text

        await until(has_noticed)
        source.give(quote(2))
        await until(source.is_taken)
        assert len(strategy.quotes) == 1, "it is told nothing while it could not act"
        await asyncio.to_thread(own_postgres.start)
        await until(lambda: has_bought(2))
        await log.execute(report(ExecType.CANCELED, "trend-1"))

        async def is_told() -> bool:
            return "OrderCanceled trend-1" in strategy.told

        await until(is_told)
        service.stop()
        await running
        created = [event.order_id for event in await log.events() if isinstance(event, OrderCreated)]
        assert created == ["trend-1", "trend-2"]
