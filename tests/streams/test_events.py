"""``GET /stream/events``: what a client is told, and from where."""

from __future__ import annotations

import msgspec

from tests.api.conftest import Engine
from tests.streams.conftest import listening

BOB = "bob/binance/simulated"


async def test_history_and_present_are_the_documents_of_the_log(engine: Engine) -> None:
    await engine.open()
    await engine.place("o-1")
    async with listening(engine) as client:
        assert (client.status, client.headers["content-type"]) == (200, "text/event-stream")
        log, created, placed, caught_up = await client.take(4)
        await engine.place("o-2")
        live = await client.next()
    page = await engine.client.get("/events")
    documents = [msgspec.json.encode(event) for event in msgspec.json.decode(page.content)["events"]]
    assert [created.data, placed.data, live.data] == documents
    assert [(m.id, m.event) for m in (log, created, placed, caught_up, live)] == [
        ("0:0", "log"),
        ("0:1", "OrderBookCreated"),
        ("0:2", "OrderCreated"),
        ("0:2", "caught-up"),
        ("0:3", "OrderCreated"),
    ]
