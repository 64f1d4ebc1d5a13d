"""How ``run_strategy`` ends a strategy that does not end in time."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from pydantic import SecretStr

from foldbook.config import Settings
from foldbook.engine import strategy as engine
from foldbook.engine.strategy import StrategyJob, run_strategy
from foldbook.engine.transports import Way
from foldbook.services.strategy.service import StrategyService
from tests.services.world import ACCOUNT, SYMBOL


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> StrategyJob:
    monkeypatch.setattr(engine, "GRACE_S", 0.01)
    return StrategyJob(
        strategy="tests.services.placing:Placing",
        account=ACCOUNT,
        symbols=(SYMBOL,),
        cash=Decimal(1),
        way=Way.LOCAL,
        venue_url="http://127.0.0.1:1",
    )


async def at_once() -> None:
    """Somebody stops it."""


async def test_what_goes_wrong_while_it_is_interrupted_is_raised(
    database: str, job: StrategyJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("it went wrong")

    monkeypatch.setattr(StrategyService, "run", run)
    with pytest.raises(RuntimeError, match="it went wrong"):
        await run_strategy(Settings(database_url=SecretStr(database)), job, at_once(), lambda _: None)


async def test_an_interruption_is_said(database: str, job: StrategyJob, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(StrategyService, "run", run)
    said: list[str] = []
    assert await run_strategy(Settings(database_url=SecretStr(database)), job, at_once(), said.append) is None
    assert said[-1] == "Placing was interrupted; what it sent last may not be in the log"
