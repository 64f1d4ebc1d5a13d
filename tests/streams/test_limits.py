"""Many clients, slow ones, ones that go away, and a server that stops: nobody else notices, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc

import pytest

from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem, order, serving, settings_for
from tests.streams.conftest import beat_often, connect, listening, streams_of, told
from tests.waiting import until

AT_ONCE = 100
CLIENTS = 1_000


async def nobody_listens(engine: Engine) -> bool:
    return len(streams_of(engine).open) == 0


def named(task: asyncio.Task[object]) -> str:
    return getattr(task.get_coro(), "__qualname__", "?")


async def come_and_go(engine: Engine) -> None:
    """``AT_ONCE`` clients: some leave at once, some when they have caught up."""
    queries = ("", "?after=now", f"?account={ACCOUNT}", "?type=OrderCreated")
    clients = await asyncio.gather(*(connect(*engine.address, queries[n % 4]) for n in range(AT_ONCE)))
    for client in clients[::2]:
        client.leave()
    for client in clients[1::2]:
        await client.until("caught-up")
        client.leave()
    await until(lambda: nobody_listens(engine))


async def test_a_thousand_clients_come_and_go_and_leave_nothing(engine: Engine) -> None:
    await engine.open()
    for n in range(5):
        await engine.place(f"o-{n}")
    await come_and_go(engine)
    tasks = len(asyncio.all_tasks())
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(CLIENTS // AT_ONCE):
            await come_and_go(engine)

        async def are_as_many() -> bool:
            return len(asyncio.all_tasks()) <= tasks

        await until(are_as_many)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_000_000, "bytes for each client that was there"
    tails = streams_of(engine).events._tails  # type: ignore[attr-defined]
    assert [len(tail._waiting) for tail in tails] == [0]


async def trade_much(engine: Engine, first: int, count: int) -> None:
    """Events of some 9 kB."""
    report = {"account": ACCOUNT, "order_id": "o-1", "exec_type": "TRADE", "last_qty": "0.001", "last_px": "1"}
    lines = [
        json.dumps({"type": "RecordExecution", "exec_id": f"e-{n}", "raw_message": "x" * 8_000, **report})
        for n in range(first, first + count)
    ]
    headers = {"Content-Type": "application/x-ndjson"}
    response = await engine.client.post("/commands", content="\n".join(lines), headers=headers)
    assert response.text.count('"OrderFilled"') == count, response.text


async def test_a_client_that_does_not_read_is_hung_up_on_and_others_go_on(engine: Engine) -> None:
    streams_of(engine).events._stalled_s = 0.5  # type: ignore[attr-defined]
    await engine.open()
    await engine.place("o-1", quantity="1000")
    async with listening(engine, "?after=0:2") as slow, listening(engine, "?after=0:2") as quick:
        await quick.until("caught-up")
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        number = 0
        while len(streams_of(engine).open) == 2:
            await trade_much(engine, number, 100)
            number += 100
            messages = [(await quick.next()).id for _ in range(100)]
            assert messages[-1] == f"0:{number + 2}"
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = told(await slow.ends())
    last = got[-1][0]
    assert [id_ for id_, event in got if event == "OrderFilled"] == [f"0:{n + 3}" for n in range(int(last[2:]) - 2)]
    async with listening(engine, headers={"Last-Event-ID": last}) as again:
        assert (await again.take(2))[1].id == f"0:{int(last[2:]) + 1}", "it goes on where it was"


async def test_a_client_that_the_ring_leaves_behind_is_ended_and_can_come_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sends do not stall, but for its share of them it is too slow."""
    (tail,) = streams_of(engine).events._tails  # type: ignore[attr-defined]
    tail._events_max = 10
    await engine.open()
    async with listening(engine) as client:
        await client.until("caught-up")
        (follower,) = tail._followers
        is_held, sending = asyncio.Event(), asyncio.Event()
        take = follower.take

        async def held(idle_s: float) -> bytes:
            is_held.set()
            await sending.wait()
            frames: bytes = await take(idle_s)
            return frames

        monkeypatch.setattr(follower, "take", held)
        await engine.place("o-0")
        await is_held.wait()  # It has taken the first, and not the others.
        for n in range(1, 30):
            await engine.place(f"o-{n}")

        async def is_left_behind() -> bool:
            return tail.ring is not None and tail.ring.begin > 2

        await until(is_left_behind)
        sending.set()
        got = await client.ends()
    assert all(message.event == "OrderCreated" for message in got)
    async with listening(engine, f"?after={got[-1].id if got else '0:1'}") as client:
        assert len(got) + len(await client.until("caught-up")) - 2 == 30


async def test_no_more_streams_than_there_may_be(database: str) -> None:
    settings = settings_for(database).model_copy(update={"streams_max": 2})
    async with serving(settings) as engine:
        async with listening(engine) as first, listening(engine):
            await first.until("caught-up")
            refused = await engine.client.get("/stream/events")
            assert_problem(refused, 503, "overloaded")
            assert refused.headers["retry-after"] == "1"
        await until(lambda: nobody_listens(engine))
        async with listening(engine) as client:
            assert client.status == 200


async def test_a_stopping_server_ends_its_streams_at_once(database: str) -> None:
    async with serving(settings_for(database)) as engine:
        await engine.open()
        clients = [await connect(*engine.address) for _ in range(20)]
        for client in clients:
            await client.until("caught-up")
        engine.server.should_exit = True
        assert [await client.ends() for client in clients] == [[]] * 20
        assert all(client.is_whole for client in clients)
        for client in clients:
            client.leave()


async def test_a_stopping_server_waits_for_no_client_that_does_not_read(database: str) -> None:
    async with serving(settings_for(database)) as engine:
        await engine.open()
        await engine.place("o-1", quantity="1000")
        slow = await connect(*engine.address, "?after=0:2")
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await trade_much(engine, 0, 900)
        engine.server.should_exit = True
        # The end of the block is that of the server; its own patience is longer than this test's.
    slow.leave()


async def test_a_command_is_not_executed_again_by_an_upgrade_on_its_connection(engine: Engine) -> None:
    await engine.open()
    reader, writer = await asyncio.open_connection(*engine.address)
    body = json.dumps({name: value for name, value in order().items() if name != "order_id"}).encode()
    host = "{}:{}".format(*engine.address)
    head = f"POST {AT}/orders HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert b" 201 " in await reader.readuntil(b'"replayed":false}')
    writer.write(
        f"GET /stream/market HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert (await engine.get("/events"))["head"] == 2


@pytest.mark.parametrize("query", ["", "?after=0:0"])
async def test_a_beating_stream_outlives_its_idle_time(engine: Engine, query: str) -> None:
    beat_often(engine, 0.01)
    await engine.open()
    async with listening(engine, query) as client:
        await client.until("caught-up")
        assert told(await client.take(3)) == [("0:1", "")] * 3
        await engine.place("o-1")
        assert ("0:2", "OrderCreated") in told(await client.until("OrderCreated"))
