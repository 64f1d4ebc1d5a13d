"""How ``run_strategy`` ends a strategy that does not end in time."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from pydantic import SecretStr

from foldbook.config import Settings
from foldbook.engine import strategy as engine
from foldbook.engine.rabbit import free_port
from foldbook.engine.strategy import StrategyJob, run_strategy
from foldbook.engine.transports import Way, transport_of
from foldbook.services.strategy.service import StrategyService
from tests.market.feeding import Listed
from tests.services.world import ACCOUNT, SYMBOL, Direct


@pytest.fixture
def job(database: str, monkeypatch: pytest.MonkeyPatch) -> StrategyJob:
    monkeypatch.setattr(engine, "GRACE_S", 0.01)
    monkeypatch.setattr(engine, "transport_of", lambda *_: Direct(database, Listed([])))
    return StrategyJob(
        strategy="tests.services.placing:Placing",
        account=ACCOUNT,
        symbols=(SYMBOL,),
        cash=Decimal(1),
        way=Way.LOCAL,
        venue_url="http://127.0.0.1:1",
    )


class Begun:
    """Somebody stops it when it has begun."""

    def __init__(self) -> None:
        self._has_begun = asyncio.Event()

    def begin(self) -> None:
        self._has_begun.set()

    async def stopped(self) -> None:
        await self._has_begun.wait()


async def test_what_goes_wrong_while_it_is_interrupted_is_raised(
    database: str, job: StrategyJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Begun()

    async def run(*_: object) -> None:
        begun.begin()
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("it went wrong")

    monkeypatch.setattr(StrategyService, "run", run)
    with pytest.raises(RuntimeError, match="it went wrong"):
        await run_strategy(Settings(database_url=SecretStr(database)), job, begun.stopped(), lambda _: None)


async def test_an_interruption_is_said(database: str, job: StrategyJob, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun()

    async def run(*_: object) -> None:
        begun.begin()
        await asyncio.Event().wait()

    monkeypatch.setattr(StrategyService, "run", run)
    said: list[str] = []
    assert await run_strategy(Settings(database_url=SecretStr(database)), job, begun.stopped(), said.append) is None
    assert said[-1] == "Placing was interrupted; what it sent last may not be in the log"


async def test_it_can_be_stopped_while_the_engine_does_not_answer(
    database: str, job: StrategyJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(database_url=SecretStr(database), port=free_port())
    monkeypatch.setattr(engine, "transport_of", transport_of)
    said: list[str] = []

    async def at_once() -> None:
        pass

    assert await run_strategy(settings, job, at_once(), said.append) is None
    assert said == ["Placing was interrupted; what it sent last may not be in the log"]
