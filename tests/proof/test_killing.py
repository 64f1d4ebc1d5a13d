"""Each part of a running engine is killed once, under load; many times in ``make soak``."""

from __future__ import annotations

import pytest

from tests.machinery.conftest import engine
from tests.machinery.engine import Engine
from tests.proof.callers import calling
from tests.proof.killing import PARTS, lap, shuffled

__all__ = ["engine"]


# The callers' HTTP client leaves a connection to a killed server to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_what_was_acknowledged_survives_the_kill_of_every_part(engine: Engine) -> None:
    # The callers are the broker, too.
    engine.environment |= {"FOLDBOOK_BROKERS": "", "FOLDBOOK_ACCESS": "open"}
    engine.start()
    async with calling(engine.url) as callers:
        await lap(engine, callers, shuffled((*PARTS, "the API")))
        assert callers.unanswered > 0
