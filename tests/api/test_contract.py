"""The engine answers as its OpenAPI document says, whatever is asked: every operation, alone and in sequences."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.conftest import Engine
from tests.api.contract import findings

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES = 3
SECONDS_MAX = 6
"""Of each of two parts; what is not asked by then is left to the soak."""


async def test_every_operation_is_answered_as_described(shared_engine: Engine) -> None:
    await _compare(shared_engine, "examples", "fuzzing")


async def test_sequences_of_operations_are_answered_as_described(shared_engine: Engine) -> None:
    await _compare(shared_engine, "stateful")


async def _compare(engine: Engine, *phases: str) -> None:
    url = str(engine.client.base_url)
    found = await asyncio.to_thread(lambda: list(findings(url, phases, EXAMPLES, SECONDS_MAX, shard="0")))
    assert not found, "\n".join(map(str, found[:20]))
