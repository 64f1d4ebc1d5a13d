"""Another domain's aggregate goes through everything that an order book goes through, and disturbs none of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from uuid_utils.compat import uuid7

from foldbook.audit.verify import verify
from foldbook.errors import Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.replay import replay
from foldbook.eventstore.specification import Specification
from foldbook.eventstore.states.codec import codec_of
from foldbook.eventstore.store import EventStore
from foldbook.trading.book import ORDER_BOOK
from tests.builders import ACCOUNT, open_account, place
from tests.eventstore.counter.counter import COUNTER, Add, Added

COUNTERS = Specification(COUNTER)
FOLDER = Path(__file__).parent


def add(amount: int, counter_id: str = "c") -> Add:
    return Add(command_id=uuid7(), received_at=datetime.now(UTC), counter_id=counter_id, amount=amount)


def test_its_specification() -> None:
    COUNTERS.when(add(3)).then(Added(total=3)).after.when(add(4)).then(Added(total=7))
    COUNTERS.given(Added(total=999)).when(add(2)).then_refused("counter-too-high", total=999)


def test_the_page_on_extending_shows_it_as_it_is() -> None:
    page = (FOLDER.parents[2] / "docs" / "extend.md").read_text()
    for name in ("counter.py", "counters.sql"):
        assert (FOLDER / name).read_text().rstrip() in page


def test_a_specification_that_is_not_met_says_so() -> None:
    with pytest.raises(AssertionError, match="expected"):
        COUNTERS.when(add(3)).then(Added(total=4))
    with pytest.raises(AssertionError, match="accepted"):
        COUNTERS.when(add(3)).then_refused("counter-too-high")
    with pytest.raises(AssertionError, match="refused: counter-too-high"):
        COUNTERS.when(add(1_001)).then_nothing()


async def test_one_bus_serves_both_and_ids_may_be_equal(store: EventStore) -> None:
    bus = CommandBus(store, ORDER_BOOK, COUNTER, limits=BusLimits(snapshot_every=5))
    await bus.start()
    await asyncio.gather(bus.execute(open_account()), *(bus.execute(add(1, ACCOUNT)) for _ in range(20)))
    result = await bus.execute(place())
    assert (result.sequence, result.aggregate_id) == (2, ACCOUNT), "the book's own"
    with pytest.raises(Refusal) as refused:
        await bus.execute(add(1_000, ACCOUNT))
    assert (refused.value.code, refused.value.details) == ("counter-too-high", {"total": 20})
    await bus.stop()

    restarted = CommandBus(store, ORDER_BOOK, COUNTER)
    await restarted.start()
    retried = add(5, ACCOUNT)
    first, again = await restarted.execute(retried), await restarted.execute(retried)
    assert (first.sequence, first.replayed, again.replayed) == (21, False, True)
    await restarted.stop()
    found = await replay(store, COUNTER, 0, ACCOUNT)
    assert (found.state, found.sequence) == (25, 21)
    book, counter = AggregateKey("order_book", ACCOUNT), AggregateKey("counter", ACCOUNT)
    assert [e.type for e in await store.read_log(0, 0, 99, book)] == ["OrderBookCreated", "OrderCreated"]
    assert {e.type for e in await store.read_log(0, 0, 99, counter)} == {"Added"}
    snapshots = await store.read_snapshots(0, fingerprints(book, counter))
    assert {s.aggregate_key: s.sequence >= 5 for s in snapshots} == {counter: True}


def fingerprints(*keys: AggregateKey) -> list[tuple[AggregateKey, str]]:
    codecs = {d.name: codec_of(d) for d in (ORDER_BOOK, COUNTER)}
    return [(key, codecs[key.type].fingerprint) for key in keys]


async def test_a_command_that_no_decider_knows_is_refused_at_once(store: EventStore) -> None:
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    with pytest.raises(TypeError, match="no decider here has aggregate type 'counter'"):
        await bus.execute(add(1))
    await bus.stop()


def test_a_decider_takes_only_commands_of_its_type() -> None:
    with pytest.raises(ValueError, match="Add: the aggregate type is not 'abacus'"):
        type(COUNTER)("abacus", int, 0, (Add,), COUNTER.event_types, COUNTER.decide, COUNTER.evolve)
    with pytest.raises(ValueError, match="two deciders have the same name"):
        CommandBus(PostgresStore(""), COUNTER, COUNTER)


async def test_its_events_are_verified_and_read_by_id_like_any_other(database: str) -> None:
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK, COUNTER)
    await bus.start()
    await bus.execute(open_account())
    for n in range(5):
        await bus.execute(add(1, ACCOUNT))
        await bus.execute(place(f"o-{n}"))
    await bus.stop()
    await store.close()
    assert all(shard.ok for shard in (await verify(database)).shards)
    with psycopg.connect(database) as connection:
        both = connection.execute(
            "select aggregate_type, position from eventstore.read_log(0, 3, 4, p_aggregate_id => %s)", [ACCOUNT]
        ).fetchall()
        assert both == [("counter", 4), ("order_book", 5), ("counter", 6), ("order_book", 7)]
        of_one = connection.execute(
            "select position from eventstore.read_log(0, 3, 9, p_aggregate_type => 'counter')"
        ).fetchall()
        assert of_one == [(4,), (6,), (8,), (10,)]
        accounts = connection.execute("select distinct aggregate_type from trading.log").fetchall()
        assert accounts == [("order_book",)]
