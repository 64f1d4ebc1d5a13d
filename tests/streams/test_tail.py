"""The tail of a shard: how a reader gets from the past into the present, and what a ring keeps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from foldbook.errors import LogChanged
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.tail.history import History, PositionAhead
from foldbook.eventstore.readers.tail.ring import Entry, Interests, Range, Ring
from foldbook.eventstore.readers.tail.selection import Selection, View
from foldbook.eventstore.readers.tail.tail import FellBehind, Follower, Tail
from foldbook.trading.book import ORDER_BOOK
from tests.builders import key, open_account, place
from tests.waiting import until

ACCOUNTS = [f"u{n}/x/live" for n in range(5)]
ONE, TWO = AggregateKey("t", "1"), AggregateKey("t", "2")


def frame(_: int, row: Any) -> bytes:
    return b"%d " % row["position"]


@asynccontextmanager
async def reading(dsn: str, **options: Any) -> AsyncIterator[tuple[Tail, History]]:
    tail, history = (
        Tail(dsn, 0, frame, **{"interval_s": 0.001, "poll_interval_s": 0.01, **options}),
        History(dsn, frame),
    )
    await history.start()
    await tail.start()
    try:
        yield tail, history
    finally:
        await tail.stop()
        await history.stop()


@pytest.fixture
async def bus(database: str) -> AsyncIterator[CommandBus]:
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    yield bus
    await bus.stop()
    await store.close()


async def taken_up_to(follower: Follower, position: int) -> list[int]:
    """The positions that it takes on its way there."""
    found: list[int] = []
    async with asyncio.timeout(60):
        while follower.position < position:
            found += map(int, (await follower.take(0.05)).split())
    return found


async def write(bus: CommandBus, count: int, first: int = 0) -> None:
    for n in range(first, first + count):
        await bus.execute(place(f"o-{n}", account=ACCOUNTS[n % len(ACCOUNTS)]))


async def test_readers_that_join_at_any_time_take_each_event_once(database: str, bus: CommandBus) -> None:
    """While events are appended: from the past into the present, with all kinds of selections."""
    for account in ACCOUNTS:
        await bus.execute(open_account(account))
    view = View(("u1/x/live", "u2/*/*"), lambda account: account in ACCOUNTS[1:3])
    selections = [
        Selection(),
        Selection(key(ACCOUNTS[0])),
        Selection(type="OrderBookCreated"),
        Selection(view=view),
        Selection(view=view, type="OrderCreated"),
    ]
    results: list[tuple[Selection, int, list[int]]] = []

    async def follow(tail: Tail, history: History, selection: Selection) -> None:
        await asyncio.sleep(random.uniform(0, 0.5))
        head = (await history.begin(0, None)).head
        after = random.randint(0, head)
        with tail.followed(history, selection, after) as follower:
            results.append((selection, after, await taken_up_to(follower, 505)))

    async with reading(database) as (tail, history):
        writing = asyncio.create_task(write(bus, 500))
        await asyncio.gather(*(follow(tail, history, selection) for selection in selections * 6))
        await writing
        assert not tail.interests._counts
        assert not tail._waiting
    with psycopg.connect(database) as connection:
        log = connection.execute("select position, aggregate_id, type from eventstore.events order by 1").fetchall()
    assert len(log) == 505
    for selection, after, positions in results:
        assert positions == [
            position
            for position, account, type_ in log
            if position > after and selection.concerns(key(account)) and selection.type in (None, type_)
        ], (selection, after)


async def test_nothing_is_read_while_nobody_follows(database: str, bus: CommandBus) -> None:
    async with reading(database) as (tail, history):
        with tail.followed(history, Selection(), 0) as follower:
            await bus.execute(open_account())
            assert await taken_up_to(follower, 1) == [1]

        async def rests() -> bool:
            return tail.ring is None

        await until(rests)
        await bus.execute(place())
        assert tail.ring is None
        with tail.followed(history, Selection(), 1) as follower:
            assert await taken_up_to(follower, 2) == [2]


async def test_a_lost_connection_loses_and_repeats_nothing(database: str, bus: CommandBus) -> None:
    await bus.execute(open_account())
    async with reading(database) as (tail, history):
        with tail.followed(history, Selection(), 0) as follower:
            assert await taken_up_to(follower, 1) == [1]
            for n in range(5):
                end_backends(database)
                for m in range(3):
                    await bus.execute(place(f"o-{n}-{m}"))
            assert await taken_up_to(follower, 16) == list(range(2, 17))


def end_backends(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and query like '%read_events%'"
        )


async def test_a_reader_that_the_ring_has_left_behind_is_told(database: str, bus: CommandBus) -> None:
    await bus.execute(open_account())
    async with reading(database, events_max=3) as (tail, history):
        with tail.followed(history, Selection(), 0) as slow, tail.followed(history, Selection(), 0) as quick:
            await taken_up_to(slow, 1)
            assert await slow.take(0.01) == b"", "it is in the present"
            for n in range(10):
                await bus.execute(place(f"o-{n}"))
                await taken_up_to(quick, n + 2)
            with pytest.raises(FellBehind):
                await slow.take(0.01)


async def test_a_log_that_ends_before_what_was_read_is_another_one(database: str, bus: CommandBus) -> None:
    """As after a restore of an old backup under a running server."""
    await bus.execute(open_account())
    async with reading(database) as (tail, history):
        with tail.followed(history, Selection(), 0) as follower:
            await taken_up_to(follower, 1)
            assert await follower.take(0.01) == b""
            assert tail.ring is not None
            tail.ring.end = 7
            with pytest.raises(LogChanged):
                while True:
                    await follower.take(0.05)
        with pytest.raises(PositionAhead):
            await history.begin(0, 2)


async def test_a_search_for_what_is_rare_tells_how_far_it_is(
    database: str, bus: CommandBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldbook.eventstore.readers.tail.history.SEARCH_EVENTS_MAX", 4)
    await bus.execute(open_account())
    await asyncio.gather(*(bus.execute(place(f"o-{n}")) for n in range(9)))
    async with reading(database) as (_, history):
        nobody = Selection(view=View(("nobody/*/*",), lambda _: False))
        for selection in (Selection(type="Rare"), nobody):
            assert [(await history.read(0, after, selection)).to for after in (0, 4, 8, 10)] == [4, 8, 10, 10]


def entries(*given: tuple[int, AggregateKey, str]) -> list[Entry]:
    return [Entry(position, aggregate, type_, b"%d " % position) for position, aggregate, type_ in given]


def test_each_selection_gets_its_own() -> None:
    interests = Interests(known_max=1)
    view = View(("2",), lambda aggregate_id: aggregate_id == "2")
    selections = [Selection(), Selection(ONE), Selection(ONE, "A"), Selection(type="A"), Selection(view=view)]
    some = entries((1, ONE, "A"), (2, TWO, "B"), (3, ONE, "B"), (4, TWO, "A"))
    for selection in (*selections, selections[0]):
        interests.add(selection)
    found = interests.select(some)
    assert [[entry.position for entry in found[selection]] for selection in selections] == [
        [1, 2, 3, 4],
        [1, 3],
        [1],
        [1, 4],
        [2, 4],
    ]
    for selection in selections:
        interests.remove(selection)
    assert set(interests.select(some)) == {Selection()}, "somebody is left"


def test_a_ring_keeps_so_many_events_and_bytes_but_always_the_newest() -> None:
    by_count, by_bytes = Ring(0, events_max=4, bytes_max=1000), Ring(0, events_max=1000, bytes_max=7)
    for ring in (by_count, by_bytes):
        for n in range(0, 8, 2):
            some = entries((n + 1, ONE, "A"), (n + 2, TWO, "A"))
            ring.add(Range(n, n + 2, some, {Selection(): some}))
    assert (by_count.begin, by_count.end) == (4, 8)
    assert (by_bytes.begin, by_bytes.end) == (6, 8)
    frames = [one.frames(Selection(), 5) for one in by_count.after(5)]
    assert frames == [b"6 ", b"7 8 "]
    assert list(by_count.after(8)) == []
    big = entries((9, ONE, "A" * 100))
    by_bytes.add(Range(8, 9, big, {}))
    assert [one.to for one in by_bytes.after(8)] == [9]


# -- another server ----------------------------------------------------------------------------------------------


class Server:
    """A log of which each event says whose it is."""

    def __init__(self, name: str, head: int) -> None:
        self.name = name
        self.head = head


class Connection:
    """``breaks_at``: a question that it does not live to answer."""

    def __init__(self, server: Server, breaks_at: str | None = None) -> None:
        self._server = server
        self._breaks_at = breaks_at
        self.is_lost = False

    async def fetchrow(self, query: str, *arguments: Any) -> dict[str, Any]:
        if self.is_lost or (self._breaks_at is not None and self._breaks_at in query):
            raise ConnectionResetError("gone")
        name, head = self._server.name, self._server.head
        if "server_identity" in query:
            return {"log_id": "a log", "started_at": name}
        if "stream_start" in query:
            position = arguments[1]
            return {
                "log_id": "a log",
                "head": head,
                "after": position,
                "commit": position,
                "hash": f"{name} {position}",
            }
        return {"last_position": head}

    async def fetch(self, _query: str, _shard: int, after: int, limit: int) -> list[dict[str, Any]]:
        if self.is_lost:
            raise ConnectionResetError("gone")
        known = {"head": self._server.head, "searched_to": None}
        facts = {"aggregate_type": "t", "aggregate_id": "1", "type": "T", "of": self._server.name}
        last = min(self._server.head, after + limit)
        rows = [{**known, **facts, "position": position} for position in range(after + 1, last + 1)]
        return rows or [{**known, **dict.fromkeys(facts), "position": None}]


@pytest.mark.parametrize("breaks_at", [None, "stream_start"])
async def test_whether_another_server_has_the_log_is_asked_until_it_is_answered(breaks_at: str | None) -> None:
    """The new server lacks the last events, and has gone on with others. The first connection to it may break."""
    old, new = Server("old", 100), Server("new", 95)
    tail = Tail("postgres://nowhere/x", 0, lambda _, row: f"{row['of']} ".encode(), poll_interval_s=0.05)

    async def read(connection: Connection) -> asyncio.Task[None]:
        reading = asyncio.create_task(tail._read(connection))  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        return reading

    with tail.followed(None, Selection(), 100) as follower:  # type: ignore[arg-type]
        first = Connection(old)
        reading = await read(first)
        assert await follower.take(0.1) == b""
        first.is_lost = True
        await asyncio.wait([reading])
        assert isinstance(reading.exception(), ConnectionResetError)
        new.head = 103
        if breaks_at is not None:
            assert isinstance((await read(Connection(new, breaks_at))).exception(), ConnectionResetError)
        reading = await read(Connection(new))
        with pytest.raises(LogChanged):
            await follower.take(0.2)
        reading.cancel()
