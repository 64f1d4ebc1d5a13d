"""Each world keeps the contract of the port.

To add one: write ``worlds/<name>.py`` with a ``World`` and a class here that inherits the cases.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.brokers.contract import PortCases
from tests.brokers.contract_wire import WireCases
from tests.brokers.trader import World, trader
from tests.brokers.venue_process import VenueProcess, venue_process
from tests.brokers.worlds.backtest import backtest_world
from tests.brokers.worlds.live import live_world
from tests.brokers.worlds.simulated import simulated_world

__all__ = ["trader"]


class TestBacktest(PortCases):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        async with backtest_world() as world:
            yield world


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    with venue_process(tmp_path_factory.mktemp("venue"), "--fee", "taker=0.001") as running:
        yield running


class TestSimulated(PortCases, WireCases):
    @pytest.fixture
    async def world(self, venue: VenueProcess) -> AsyncIterator[World]:
        async with simulated_world(venue) as world:
            yield world


class TestLive(PortCases, WireCases):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        async with live_world() as world:
            yield world
