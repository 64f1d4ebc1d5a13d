"""State from a snapshot and its tail is the state from the whole history; a snapshot is only a cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.events import Command, Event
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.specification import Specification
from foldbook.eventstore.states import folds
from foldbook.eventstore.states.codec import StateCodec, codec_of
from foldbook.eventstore.states.folds import digest_of
from foldbook.eventstore.store import EventStore, Snapshot
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.resources import ROOT
from foldbook.trading.book import ORDER_BOOK, Book
from tests.builders import KEY, cancel, key, open_account, place, report, trade

CODEC = codec_of(ORDER_BOOK)

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


def test_the_fingerprint_follows_the_shape_of_the_state() -> None:
    assert CODEC.fingerprint == codec_of(ORDER_BOOK).fingerprint
    assert StateCodec(Book).fingerprint == StateCodec(Book).fingerprint != StateCodec(Snapshot).fingerprint


FOLDING = """
def evolve(state, event):
    from foldpackage import helper
    return helper.added(state)
"""


def test_the_fingerprint_follows_the_code_that_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "foldpackage"
    package.mkdir()
    sources = {"__init__": "", "fold": FOLDING, "helper": "from foldpackage.far import STEP\n", "far": "STEP = 1\n"}
    sources["stranger"] = "import foldpackage.fold\n"
    for name, source in sources.items():
        (package / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    def digest() -> str:
        digest_of.cache_clear()
        return digest_of("foldpackage.fold", ())

    before = digest()
    for name in ("stranger", "far", "helper", "fold"):
        (package / f"{name}.py").write_text(sources[name] + "# changed\n")
        assert (digest() != before) is (name != "stranger"), name
        (package / f"{name}.py").write_text(sources[name])
    assert digest() == before


def test_the_fingerprint_follows_the_upcasters_of_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[Path, bytes] = {}
    monkeypatch.setattr(folds, "read_code", lambda: files)

    def put(name: str, text: bytes) -> None:
        files[ROOT / "sql" / name] = text
        digest_of.cache_clear()

    digest_of.cache_clear()

    before = codec_of(ORDER_BOOK).fingerprint
    put("upcasters/Added_1.sql", b"an event of a counter")
    put("trading/folds/halved.sql", b"a function that nothing needs yet")
    assert codec_of(ORDER_BOOK).fingerprint == before
    put("upcasters/OrderFilled_1.sql", b"select trading.halved(payload)")
    with_it = codec_of(ORDER_BOOK).fingerprint
    assert with_it != before
    put("trading/folds/halved.sql", b"a function that the upcaster needs")
    assert codec_of(ORDER_BOOK).fingerprint not in (before, with_it)
    digest_of.cache_clear()


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
    await write_orders(store, 6)
    for sequence in (7, 5):
        await store.write_snapshot(0, Snapshot(KEY, sequence, "shape", b"{}"))
    assert [s.sequence for s in await store.read_snapshots(0, [(KEY, "shape")])] == [7]
    await store.write_snapshot(0, Snapshot(KEY, 6, "new shape", b"{}"))
    assert [s.sequence for s in await store.read_snapshots(0, [(KEY, "new shape")])] == [6]


async def test_a_snapshot_at_a_command_whose_id_another_aggregate_has_used_too(store: EventStore) -> None:
    """A command is identified by its aggregate and its id."""
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    other = "bob/binance/simulated"
    opened = open_account()
    await bus.execute(opened)
    await bus.execute(open_account(other, command_id=opened.command_id))
    await bus.stop()
    for each in (KEY, key(other)):
        await store.write_snapshot(0, Snapshot(each, 1, "shape", b"{}"))
    asked = [(KEY, "shape"), (key(other), "shape")]
    assert [snapshot.sequence for snapshot in await store.read_snapshots(0, asked)] == [1, 1]


async def test_a_snapshot_of_what_the_log_does_not_have_is_not_kept(store: EventStore) -> None:
    await write_orders(store, 1)
    await store.write_snapshot(0, Snapshot(KEY, 3, CODEC.fingerprint, b"{}"))
    await store.write_snapshot(0, Snapshot(key("nobody/x/live"), 1, CODEC.fingerprint, b"{}"))
    asked = [(KEY, CODEC.fingerprint), (key("nobody/x/live"), CODEC.fingerprint)]
    assert await store.read_snapshots(0, asked) == []


SEALED_AGAIN = """
    {};
    update eventstore.snapshots
    set hash = eventstore.snapshot_hash(
        shard, aggregate_type, aggregate_id, sequence, position, "commit", commit_hash, fingerprint, state
    )
"""
EDITS = {
    "its state": "state = state || '{\"limits\": 500000}'",
    "its sequence": "sequence = sequence - 1",
    "its position": "position = position - 1",
    "its commit": '"commit" = "commit" - 1',
    "its aggregate": "aggregate_id = 'eve/binance/simulated'",
    "its fingerprint": "fingerprint = 'another'",
    "the hash of its commit, and its own": SEALED_AGAIN.format("commit_hash = sha256('of a log that was lost')"),
    "its position and commit, and its hash": SEALED_AGAIN.format("""
        position = 1,
        "commit" = 1,
        commit_hash = (select c.hash from eventstore.commits c where c.number = 1)
    """),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
async def test_a_snapshot_that_is_not_what_it_was_sealed_with_is_ignored_and_replaced(database: str, edit: str) -> None:
    store = PostgresStore(database)
    await write_orders(store, 5)
    await store.write_snapshot(0, Snapshot(KEY, 6, "shape", b"{}"))
    asked = [(k, f) for k in (KEY, key("eve/binance/simulated")) for f in ("shape", "another")]
    assert len(await store.read_snapshots(0, asked)) == 1
    with psycopg.connect(database) as connection:
        connection.execute(f"update eventstore.snapshots set {edit}".encode())
    assert await store.read_snapshots(0, asked) == []
    await store.write_snapshot(0, Snapshot(KEY, 5, "shape", b'{"a": 1}'))
    assert [s.sequence for s in await store.read_snapshots(0, asked)] == [5]
    await store.close()


@pytest.mark.parametrize(
    "change",
    [
        "update eventstore.snapshots set state = '{}'",
        "delete from eventstore.snapshots",
        "insert into eventstore.snapshots select * from eventstore.snapshots",
    ],
)
def test_the_engine_changes_no_snapshot(database: str, change: str) -> None:
    with psycopg.connect(as_role(database, ENGINE)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(change.encode())


async def write_orders(store: EventStore, orders: int) -> None:
    """An account with so many orders."""
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    for n in range(orders):
        await bus.execute(place(f"o-{n}"))
    await bus.stop()
