"""A notification is a hint: whatever a forged one says, nothing is believed, nothing grows, and nobody is kept busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from foldbook.eventstore.readers.listener import CHECKPOINT_CHANNEL, FLOOD_HINTS_MAX, LOG_CHANNEL, Listener
from foldbook.eventstore.readers.read_gate import PAUSE_S, ReadGate
from foldbook.eventstore.readers.subscription import ROUND_INTERVAL_S_MAX
from foldbook.eventstore.readers.tail.history import History
from foldbook.eventstore.readers.tail.selection import Selection
from foldbook.eventstore.readers.tail.tail import INTERVAL_S, Tail
from foldbook.postgres.roles import AUDITOR, as_role
from tests.readside.histories import write_book
from tests.readside.projecting import connected, projecting
from tests.readside.test_read_gate import LONG_S, gate
from tests.readside.test_subscriptions import Log, subscribed
from tests.waiting import until

FORGED = [
    "orders:0:9223372036854775807",
    "orders:0:" + "9" * 5000,
    "orders:0:-1",
    "orders:0:1e9",
    "orders:0",
    "orders:99:5",
    "nobody:0:5",
    ":::",
    "",
    "0:9223372036854775807",
    "x" * 7000,
]


def tell(dsn: str, channel: str, payloads: list[str]) -> None:
    """As an auditor, who may."""
    with connected(as_role(dsn, AUDITOR)) as auditor:
        auditor.execute("select pg_notify(%s, p) from unnest(%s::text[]) p", [channel, payloads])


@pytest.mark.parametrize("forged", FORGED)
async def test_a_forged_checkpoint_lets_nobody_through(database: str, forged: str) -> None:
    with connected(database) as connection:
        async with gate(database) as opened:
            head = write_book(connection)
            waiting = asyncio.create_task(opened.wait("orders", 0, head, LONG_S))
            await asyncio.sleep(0)
            for channel in (CHECKPOINT_CHANNEL, LOG_CHANNEL):
                tell(database, channel, [forged])
            assert not await opened.wait("orders", 0, head, 0.2)
            assert not waiting.done()
            async with projecting(database):
                assert await waiting


async def test_names_that_do_not_exist_are_not_kept(database: str) -> None:
    async with gate(database) as opened:
        waiting = asyncio.create_task(opened.wait("orders", 0, 1, LONG_S))
        await until(lambda: len(opened._checkpoints) > 0)
        known = {*opened._checkpoints}
        tell(database, CHECKPOINT_CHANNEL, [f"name-{n}:{n}:{n}" for n in range(15_000)])
        assert not await opened.wait("orders", 0, 1, 0.3)
        assert {*opened._checkpoints} == known
        assert {*opened._waiters} == {("orders", 0)}
        waiting.cancel()
        await asyncio.wait([waiting])
        assert opened._waiters == {}


async def test_of_a_flood_a_bounded_number_is_passed_on(database: str) -> None:
    heard: list[str | None] = []
    listener = Listener(database)
    listener.listen(LOG_CHANNEL, heard.append)
    await listener.start()
    try:
        await until(lambda: listener.is_connected)
        heard.clear()
        tell(database, LOG_CHANNEL, [f"0:{n}" for n in range(20 * FLOOD_HINTS_MAX)])
        await until(lambda: None in heard)
        tell(database, LOG_CHANNEL, ["0:1", "the last one"])
        await until(lambda: "the last one" in heard or heard[-1] is None)
        assert len(heard) < 10 * FLOOD_HINTS_MAX
        assert heard[:FLOOD_HINTS_MAX] == [f"0:{n}" for n in range(FLOOD_HINTS_MAX)]
    finally:
        await listener.stop()


async def flooded(hint: Callable[[str | None], None]) -> float:
    """Returns how long that took, in seconds."""
    began_s = time.monotonic()
    for n in range(1_000):
        hint(f"0:{10**9 + n}")
        await asyncio.sleep(0.0002)
    return time.monotonic() - began_s


async def test_a_subscription_that_is_flooded_does_few_rounds(database: str) -> None:
    log = Log()
    async with subscribed(database, log) as subscription:
        took_s = await flooded(subscription.hint)
        assert log.rounds <= 20 + took_s / (ROUND_INTERVAL_S_MAX / 2)
        log.head = 7
        subscription.hint("0:7")
        await until(lambda: log.checkpoint == 7)


async def test_a_tail_that_is_flooded_reads_seldom(database: str) -> None:
    tail, reads = Tail(database, 0, lambda *_: b""), 0
    history = History(database, lambda *_: b"")
    read_range = tail._read_range

    async def counting(connection: object) -> bool:
        nonlocal reads
        reads += 1
        return await read_range(connection)  # type: ignore[arg-type]

    tail._read_range = counting  # type: ignore[method-assign]
    await tail.start()
    try:
        with tail.followed(history, Selection(), 0):
            await tail.ready()
            took_s = await flooded(tail.hint)
            assert reads <= 5 + took_s / INTERVAL_S
    finally:
        await tail.stop()


async def test_a_gate_that_is_flooded_reads_seldom(database: str) -> None:
    opened = ReadGate(database)
    reads = 0
    let_through = opened._let_through

    def counting() -> None:
        nonlocal reads
        reads += 1
        let_through()

    opened._let_through = counting  # type: ignore[method-assign]
    await opened.start()
    try:
        waiting = asyncio.create_task(opened.wait("orders", 0, 1, LONG_S))
        took_s = await flooded(opened._hint)
        assert reads <= 5 + took_s / PAUSE_S
        with connected(database) as connection:
            write_book(connection)
        async with projecting(database):
            assert await waiting
    finally:
        await opened.stop()
