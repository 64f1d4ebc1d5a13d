"""One venue for all tests of a module; each test has symbols or accounts of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.venue.running import RunningVenue, running


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVenue]:
    with running(tmp_path_factory.mktemp("venue"), "--fee", "taker=0.001,maker=0.0005") as started:
        yield started


@pytest.fixture
async def client(venue: RunningVenue) -> AsyncIterator[httpx.AsyncClient]:
    async with venue.client() as opened:
        yield opened
        await opened.put("/faults", json={})
