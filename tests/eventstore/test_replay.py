"""The same events give the same state, at any position and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.memory_store import MemoryStore
from foldbook.eventstore.replay import replay
from foldbook.eventstore.store import EventStore
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.values import OrdStatus
from tests.builders import ACCOUNT, open_account, place, report, trade


async def test_replay_to_every_position(bus: CommandBus, store: EventStore) -> None:
    for command in (open_account(), place(), report("NEW"), trade("e-1", "0.5"), trade("e-2", "1.5")):
        await bus.execute(command)
    states = [await replay(store, ORDER_BOOK, 0, ACCOUNT, to_position=n) for n in range(6)]
    assert [r.sequence for r in states] == [0, 1, 2, 3, 4, 5]
    assert [r.state.orders["o-1"].working_state for r in states[2:5]] == [
        OrdStatus.CREATED,
        OrdStatus.NEW,
        OrdStatus.PARTIALLY_FILLED,
    ]
    assert not states[5].state.orders
    whole = await replay(store, ORDER_BOOK, 0, ACCOUNT)
    assert (whole.sequence, whole.position, whole.sha256) == (5, 5, states[5].sha256)
    assert len({r.sha256 for r in states[1:5]}) == 4


async def test_the_digest_does_not_depend_on_how_the_state_was_made() -> None:
    async def digest(*order_ids: str) -> str:
        store = MemoryStore()
        bus = CommandBus(store, ORDER_BOOK)
        await bus.start()
        await bus.execute(open_account())
        for order_id in order_ids:
            await bus.execute(place(order_id))
        await bus.stop()
        return (await replay(store, ORDER_BOOK, 0, ACCOUNT)).sha256

    assert await digest("o-1", "o-2", "o-3") == await digest("o-3", "o-1", "o-2")
    assert await digest("o-1", "o-2") != await digest("o-1", "o-3")


async def test_replay_to_a_time() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    clock = iter([start + timedelta(minutes=n) for n in range(10)])
    store = MemoryStore(lambda: next(clock))
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    for command in (open_account(), place("o-1"), place("o-2")):
        await bus.execute(command)
    await bus.stop()
    for minutes, orders in ((0, set()), (1, {"o-1"}), (1.5, {"o-1"}), (2, {"o-1", "o-2"})):
        found = await replay(store, ORDER_BOOK, 0, ACCOUNT, to_time=start + timedelta(minutes=minutes))
        assert set(found.state.orders) == orders
