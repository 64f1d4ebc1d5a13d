"""State from a snapshot and its tail is the state from the whole history; a snapshot is only a cache."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.commands.snapshots import StateCodec
from foldbook.eventstore.events import Command, Event
from foldbook.eventstore.specification import Specification
from foldbook.eventstore.store import EventStore, Snapshot
from foldbook.trading.book import ORDER_BOOK, Book
from tests.builders import KEY, cancel, key, open_account, place, report, trade

CODEC = StateCodec(Book)

ORDER_IDS = st.sampled_from(["o-1", "o-2", "o-3"])
AMOUNTS = st.decimals("0.00000001", "3", places=8).map(str)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(place, ORDER_IDS, quantity=AMOUNTS),
    st.builds(lambda order_id: report("NEW", order_id), ORDER_IDS),
    st.builds(lambda order_id, n, qty: trade(f"e-{n}", qty, order_id=order_id), ORDER_IDS, st.integers(0, 99), AMOUNTS),
    st.builds(cancel, ORDER_IDS),
    st.builds(lambda order_id: report("CANCELED", order_id), ORDER_IDS),
    st.builds(lambda order_id: report("REJECTED", order_id), ORDER_IDS),
)


def history_of(commands: list[Command]) -> Sequence[Event]:
    """What an order book makes of them."""
    book = Specification(ORDER_BOOK)
    for command in [open_account(), *commands]:
        book = book.when(command).after
    return book.history


@given(st.lists(COMMANDS, max_size=40), st.data())
def test_snapshot_and_tail_make_the_state_of_the_whole_history(commands: list[Command], data: st.DataObject) -> None:
    history = history_of(commands)
    cut = data.draw(st.integers(0, len(history)))
    snapshot = CODEC.encode(ORDER_BOOK.fold(history[:cut]))
    assert ORDER_BOOK.fold(history[cut:], CODEC.decode(snapshot)) == ORDER_BOOK.fold(history)


def test_the_fingerprint_follows_shape_and_fold() -> None:
    assert CODEC.fingerprint == StateCodec(Book).fingerprint
    assert CODEC.fingerprint != StateCodec(Book, fold_version=2).fingerprint
    assert CODEC.fingerprint != StateCodec(Snapshot).fingerprint


async def test_a_snapshot_is_taken_and_the_next_process_begins_with_it(store: EventStore) -> None:
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(snapshot_every=10))
    await bus.start()
    await bus.execute(open_account())
    for n in range(14):
        await bus.execute(place(f"o-{n}"))
    await bus.stop()
    (snapshot,) = await store.read_snapshots(0, [(KEY, CODEC.fingerprint), (key("nobody/x/live"), CODEC.fingerprint)])
    assert 10 <= snapshot.sequence <= 15
    assert len(CODEC.decode(snapshot.state).orders) == snapshot.sequence - 1

    second = CommandBus(store, ORDER_BOOK)
    await second.start()
    assert (await second.execute(place("last"))).sequence == 16
    await second.stop()


async def test_the_tail_alone_is_read_behind_a_snapshot(store: EventStore) -> None:
    """A false snapshot shows that the state is built from it."""
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    await bus.execute(place())
    await bus.stop()
    lie = CODEC.encode(Book(account=KEY.id))
    await store.write_snapshot(0, Snapshot(KEY, 2, CODEC.fingerprint, lie))
    second = CommandBus(store, ORDER_BOOK)
    await second.start()
    result = await second.execute(trade("e-1", "1"))
    # Found through the log, as an order that the book forgot.
    assert (result.sequence, result.events) == (3, ("OrderFilled",))
    await second.stop()


async def test_a_snapshot_of_another_shape_or_in_ruins_is_ignored(store: EventStore) -> None:
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    await bus.execute(place(quantity="1"))
    await bus.stop()
    ignored = [("of another shape", CODEC.encode(Book())), (CODEC.fingerprint, b'{"orders": 7}')]
    for n, (fingerprint, state) in enumerate(ignored):
        await store.write_snapshot(0, Snapshot(KEY, 2, fingerprint, state))
        fresh = CommandBus(store, ORDER_BOOK)
        await fresh.start()
        assert (await fresh.execute(trade(f"e-{n}", "0.5"))).sequence == 3 + n
        await fresh.stop()


async def test_an_older_snapshot_does_not_replace_a_newer_one(store: EventStore) -> None:
    for sequence in (7, 5):
        await store.write_snapshot(0, Snapshot(KEY, sequence, "shape", b"{}"))
    assert [s.sequence for s in await store.read_snapshots(0, [(KEY, "shape")])] == [7]
    await store.write_snapshot(0, Snapshot(KEY, 6, "new shape", b"{}"))
    assert [s.sequence for s in await store.read_snapshots(0, [(KEY, "new shape")])] == [6]
