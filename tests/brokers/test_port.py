"""Each world keeps the contract of the port.

To add one: write ``worlds/<name>.py`` with a ``World`` and a class here that inherits the cases.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.brokers.contract import PortCases, WireCases, trader
from tests.brokers.worlds.backtest import BacktestWorld, backtest_world
from tests.brokers.worlds.live import LiveWorld, live_world

__all__ = ["trader"]


class TestBacktest(PortCases):
    @pytest.fixture
    async def world(self) -> AsyncIterator[BacktestWorld]:
        async with backtest_world() as world:
            yield world


class TestLive(PortCases, WireCases):
    @pytest.fixture
    async def world(self) -> AsyncIterator[LiveWorld]:
        async with live_world() as world:
            yield world
