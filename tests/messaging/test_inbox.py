"""What a consumer remembers of the events that it took."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from foldbook.client import inbox as module
from foldbook.client.inbox import Gap, Inbox, Place
from foldbook.errors import LogChanged


def event(position: int, branch: str = "one") -> dict[str, Any]:
    return {"command_id": f"{branch}-{position}", "recorded_at": f"2026-01-01T00:00:{position:02}Z"}


async def test_another_event_at_a_position_that_was_taken_is_not_a_repetition(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PRUNE_EVERY", 10)
    monkeypatch.setattr(module, "TOLD_MAX", 10)
    inbox = Inbox("a consumer")
    connection = await asyncpg.connect(database)

    async def take(position: int, branch: str = "one") -> bool:
        async with connection.transaction():
            return await inbox.accept(connection, Place("log", 0, position), event(position, branch))

    await inbox.create_table(connection)
    assert [await take(n) for n in range(1, 36)] == [True] * 35
    assert not await take(35)
    assert not await take(30)
    with pytest.raises(LogChanged, match="position 31"):
        await take(31, "another")
    assert not await take(15, "another"), "so far back it does not remember, and the relay does not go"
    with pytest.raises(Gap):
        await take(37)
    assert await connection.fetchval("select count(*) from foldbook_inbox_events") == 15, "bounded"
    await connection.close()
