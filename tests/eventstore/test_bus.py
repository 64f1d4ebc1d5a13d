"""The command bus, on every store."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from decimal import Decimal, Overflow
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from foldbook.errors import (
    IdempotencyConflict,
    Overloaded,
    Refusal,
    SequenceConflict,
    StoreUnavailable,
    UnknownEvent,
    UnreadableEvent,
)
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import AggregateKey, Event, Metadata
from foldbook.eventstore.memory_store import MemoryStore
from foldbook.eventstore.store import EventStore, Proposal, StoredEvent, SubjectEvent, Verdict
from foldbook.trading.book import ORDER_BOOK, Book
from tests.builders import (
    ACCOUNT,
    KEY,
    accepted,
    book_created,
    cancel,
    created,
    filled,
    open_account,
    place,
    report,
    trade,
)


async def test_an_order_from_open_to_filled(bus: CommandBus, store: EventStore) -> None:
    opened = await bus.execute(open_account())
    assert (opened.aggregate_id, opened.position, opened.sequence, opened.events) == (
        ACCOUNT,
        1,
        1,
        ("OrderBookCreated",),
    )
    await bus.execute(place(), metadata=Metadata(actor="alice", correlation_id="c-1"))
    await bus.execute(report("NEW"))
    result = await bus.execute(trade("e-1", "2"))
    assert (result.position, result.sequence, result.events, result.replayed) == (4, 4, ("OrderFilled",), False)
    log = await store.read_log(0, 0, 9)
    assert [e.type for e in log] == ["OrderBookCreated", "OrderCreated", "OrderAccepted", "OrderFilled"]
    assert b"c-1" in bytes(log[1].metadata)


async def test_many_callers_of_one_account_share_commits_and_keep_their_order(
    bus: CommandBus, store: EventStore
) -> None:
    await bus.execute(open_account())
    commits = bus.commits_total
    results = await asyncio.gather(*(bus.execute(place(f"o-{n}")) for n in range(300)))
    assert [r.sequence for r in results] == list(range(2, 302))
    assert bus.commits_total - commits < 10
    assert [e.subject for e in (await store.read_log(0, 1, 300))] == [f"o-{n}" for n in range(300)]


async def test_a_refusal_is_recorded_and_answered_the_same_way_again(bus: CommandBus, store: EventStore) -> None:
    await bus.execute(open_account())
    command = cancel("nothing")
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            await bus.execute(command)
        assert refused.value.code == "unknown-order"
    await bus.execute(place("nothing"))
    with pytest.raises(Refusal, match="has no order nothing"):
        await bus.execute(command)
    (first,) = await store.command_results(0, [command.command_key])
    assert list(first.event_types) == []


async def test_a_retry_gets_the_first_result(bus: CommandBus, store: EventStore) -> None:
    await bus.execute(open_account())
    command = place()
    first = await bus.execute(command)
    await bus.execute(place("o-2"))
    again = await bus.execute(command)
    assert again.replayed
    assert (again.position, again.sequence, again.events) == (first.position, first.sequence, first.events)
    assert len(await store.read_log(0, 0, 9)) == 3


async def test_a_retry_of_what_was_done_already_gets_its_first_answer_too(bus: CommandBus) -> None:
    for command in (open_account(), place(), cancel()):
        await bus.execute(command)
    again = cancel()
    first = await bus.execute(again)
    assert first.events == ("OrderCancelRequested",)
    await bus.execute(trade("e-1", "1"))
    assert await bus.execute(again) == first


async def test_the_same_id_with_other_content_is_refused(bus: CommandBus) -> None:
    await bus.execute(open_account())
    command_id = uuid4()
    await bus.execute(place("o-1", command_id=command_id))
    with pytest.raises(IdempotencyConflict):
        await bus.execute(place("o-2", command_id=command_id))
    assert (await bus.execute(place("o-3"))).sequence == 3


async def test_accounts_do_not_share_their_command_ids(bus: CommandBus, store: EventStore) -> None:
    accounts, command_ids = (ACCOUNT, "bob/binance/simulated"), (uuid4(), uuid4(), uuid4())

    async def trade_at(account: str) -> list[CommandResult]:
        sent = (
            open_account(account, command_id=command_ids[0]),
            place("o-1", account, command_id=command_ids[1]),
            place("o-1", account, command_id=command_ids[2]),  # which is there: what had placed it is answered
        )
        return list(await asyncio.gather(*map(bus.execute, sent)))

    for is_replayed in (False, True):
        for account, (opened, placed, again) in zip(
            accounts, await asyncio.gather(*map(trade_at, accounts)), strict=True
        ):
            assert (opened.aggregate_id, opened.sequence, opened.replayed) == (account, 1, is_replayed)
            assert (placed.aggregate_id, placed.sequence, placed.replayed) == (account, 2, is_replayed)
            assert (again.aggregate_id, again.position, again.replayed) == (account, placed.position, True)
    assert len(await store.read_log(0, 0, 9)) == 4


async def test_the_same_command_many_times_at_once_is_done_once(bus: CommandBus, store: EventStore) -> None:
    await bus.execute(open_account())
    command = place()
    results = await asyncio.gather(*(bus.execute(command) for _ in range(20)))
    assert {r.position for r in results} == {2}
    assert sorted(r.replayed for r in results) == [False] + [True] * 19
    assert len(await store.read_log(0, 0, 9)) == 2


async def test_the_same_order_under_another_id_is_answered_with_the_first(bus: CommandBus) -> None:
    await bus.execute(open_account())
    command = place()
    first = await bus.execute(command)
    await bus.execute(trade("e-1", "2"))
    again = await bus.execute(place())
    assert again.replayed
    assert (again.position, again.events, again.command_id) == (first.position, ("OrderCreated",), command.command_id)
    with pytest.raises(Refusal) as refused:
        await bus.execute(place(quantity="3"))
    assert refused.value.code == "duplicate-order"


async def test_a_report_sent_again_is_answered_with_what_it_did(bus: CommandBus) -> None:
    await bus.execute(open_account())
    await bus.execute(place())
    first = await bus.execute(trade("e-1", "2"))
    again = await bus.execute(trade("e-1", "2"))
    assert again.replayed
    assert (again.position, again.events) == (first.position, ("OrderFilled",))


async def test_a_closed_order_is_recalled_from_the_log(bus: CommandBus) -> None:
    await bus.execute(open_account())
    await bus.execute(place())
    await bus.execute(trade("e-1", "2"))
    late = [bus.submit(trade("e-1", "2")) for _ in range(3)]
    assert [result.replayed for result in await asyncio.gather(*late)] == [True] * 3
    with pytest.raises(Refusal) as refused:
        await bus.execute(cancel())
    assert refused.value.code == "order-closed"


async def test_a_whole_life_submitted_at_once(bus: CommandBus, store: EventStore) -> None:
    """Nothing waits for an answer: what the state forgets while its events are still under way is not lost."""
    futures = [
        bus.submit(command)
        for command in (
            open_account(),
            place(),
            trade("e-1", "2"),
            place(),
            trade("e-1", "2"),
            trade("e-2", "1"),
            place(quantity="3"),
        )
    ]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    codes = [a.code if isinstance(a, Refusal) else getattr(a, "replayed", a) for a in answers]
    assert codes == [False, False, False, True, True, False, "duplicate-order"]
    assert len(await store.read_log(0, 0, 9)) == 4


async def test_a_condition_on_the_sequence(bus: CommandBus) -> None:
    await bus.execute(open_account())
    command = place()
    assert (await bus.execute(command, expected_sequence=1)).sequence == 2
    with pytest.raises(SequenceConflict) as conflict:
        await bus.execute(place("o-2"), expected_sequence=1)
    assert conflict.value.details == {"expected": 1, "actual": 2}
    assert (await bus.execute(command, expected_sequence=1)).replayed


async def test_two_buses_on_one_log_lose_nothing(store: EventStore) -> None:
    buses = [CommandBus(store, ORDER_BOOK) for _ in range(2)]
    for bus in buses:
        await bus.start()
    await buses[0].execute(open_account())
    results = await asyncio.gather(*(buses[n % 2].execute(place(f"o-{n}")) for n in range(200)))
    assert sorted(r.sequence for r in results) == list(range(2, 202))
    assert sorted(e.subject or "" for e in await store.read_log(0, 1, 300)) == sorted(f"o-{n}" for n in range(200))
    for bus in buses:
        await bus.stop()


async def test_two_buses_agree_on_who_placed_the_order(store: EventStore) -> None:
    one, two = CommandBus(store, ORDER_BOOK), CommandBus(store, ORDER_BOOK)
    await one.start()
    await two.start()
    await one.execute(open_account())
    with pytest.raises(Refusal):
        await two.execute(cancel("nothing"))
    await one.execute(place())
    await one.execute(trade("e-1", "2"))
    with pytest.raises(Refusal) as refused:
        await two.execute(place(quantity="3"))
    assert refused.value.code == "duplicate-order"
    await one.stop()
    await two.stop()


async def _rivals(store: EventStore, heard: Callable[[AggregateKey], tuple[Book, int] | None]) -> CommandBus:
    """A bus that has the account's state, and is told what others append to it."""
    rival, bus = CommandBus(store, ORDER_BOOK), CommandBus(store, ORDER_BOOK, heard=heard)
    await rival.start()
    await bus.start()
    await bus.execute(open_account())
    await rival.execute(place("theirs"))
    await rival.stop()
    return bus


async def test_what_was_heard_from_the_log_is_decided_on_without_reading_it_again(store: EventStore) -> None:
    heard: dict[AggregateKey, tuple[Book, int]] = {}
    bus = await _rivals(store, heard.get)
    stored = await store.read_aggregates(0, [(KEY, 0)])
    events = [ORDER_BOOK.event_types.decode(e.type, e.schema_version, e.payload) for e in stored]
    heard[KEY] = ORDER_BOOK.fold(events), len(events)
    assert (await bus.execute(place("ours"))).sequence == 3
    assert bus.conflicts_total == 0
    # It is older by now, and changes nothing any more.
    assert (await bus.execute(cancel("ours"))).sequence == 4
    assert bus.conflicts_total == 0
    await bus.stop()


async def test_a_state_that_was_never_used_begins_with_what_was_heard(store: EventStore) -> None:
    bus = CommandBus(store, ORDER_BOOK, heard=lambda _: (ORDER_BOOK.fold([book_created()]), 1))
    other = CommandBus(store, ORDER_BOOK)
    await other.start()
    await other.execute(open_account())
    await other.stop()
    await bus.start()
    assert (await bus.execute(place())).sequence == 2
    await bus.stop()


async def test_what_was_not_heard_yet_is_read_after_a_conflict(store: EventStore) -> None:
    bus = await _rivals(store, lambda _: None)
    assert (await bus.execute(place("ours"))).sequence == 3
    assert bus.conflicts_total == 1
    await bus.stop()


async def test_states_are_forgotten_and_read_again(store: EventStore) -> None:
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(aggregates_max=2))
    await bus.start()
    accounts = [f"u{n}/binance/simulated" for n in range(6)]
    await asyncio.gather(*(bus.execute(open_account(a)) for a in accounts))
    for account in accounts * 2:
        await bus.execute(place(f"o-{uuid4()}", account))
    assert bus.states_cached <= 3
    assert [(await bus.execute(place("last", account))).sequence for account in accounts] == [4] * 6
    await bus.stop()


async def test_stop_answers_what_was_submitted_and_takes_no_more(store: EventStore) -> None:
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    futures = [bus.submit(open_account()), *(bus.submit(place(f"o-{n}")) for n in range(200))]
    await bus.stop()
    assert all(isinstance(future.result(), CommandResult) for future in futures)
    with pytest.raises(Overloaded):
        await bus.submit(place("late"))


class Flaky(MemoryStore):
    """A store whose appends do what a test says, each once: None appends as usual."""

    def __init__(self, *faults: Callable[[Flaky, Sequence[Proposal]], Any] | None) -> None:
        super().__init__()
        self.faults = list(faults)
        self.sent: list[int] = []

    async def append(self, shard: int, proposals: Sequence[Proposal]) -> list[Verdict]:
        self.sent.append(len(proposals))
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            await fault(self, proposals)
        return await super().append(shard, proposals)


async def break_before(_store: Flaky, _proposals: Sequence[Proposal]) -> None:
    raise StoreUnavailable("cut before", in_doubt=True)


async def break_after(store: Flaky, proposals: Sequence[Proposal]) -> None:
    await MemoryStore.append(store, 0, proposals)
    raise StoreUnavailable("cut after", in_doubt=True)


@pytest.mark.parametrize("fault", [break_before, break_after])
async def test_an_append_in_doubt_is_sent_again_and_done_once(fault: Any) -> None:
    store = Flaky(None, fault)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    results = await asyncio.gather(*(bus.execute(place(f"o-{n}")) for n in range(50)))
    assert sorted(r.sequence for r in results) == list(range(2, 52))
    assert not any(r.replayed for r in results)
    assert len(await store.read_log(0, 0, 100)) == 51
    await bus.stop()


async def test_an_outage_is_reported_and_survived() -> None:
    store = Flaky(None, *[break_before] * 1000)
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(outage_max_s=0.1))
    await bus.start()
    await bus.execute(open_account())
    answers = await asyncio.gather(*(bus.execute(place(f"o-{n}")) for n in range(9)), return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert any(answer.in_doubt for answer in answers if isinstance(answer, StoreUnavailable))
    store.faults.clear()
    assert (await bus.execute(place("after"))).sequence == 2
    await bus.stop()


async def test_a_command_that_the_database_cannot_take_spoils_no_other() -> None:
    async def choke(_store: Flaky, proposals: Sequence[Proposal]) -> None:
        if any(p.command.subject == "poison" for p in proposals):
            raise ValueError("unsupported Unicode escape sequence")

    store = Flaky(None, *[choke] * 100)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    futures = [bus.submit(place(order_id)) for order_id in ("o-1", "poison", "o-2")]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(answer) for answer in answers] == [CommandResult, ValueError, CommandResult]
    assert [e.subject for e in await store.read_log(0, 1, 9)] == ["o-1", "o-2"]
    await bus.stop()


async def test_a_full_queue_refuses_at_once() -> None:
    gate = asyncio.Event()

    async def hold(_store: Flaky, _proposals: Sequence[Proposal]) -> None:
        await gate.wait()

    store = Flaky(hold)
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(queue_max=10, batch_max=4))
    await bus.start()
    futures = [bus.submit(open_account(f"u{n}/x/live")) for n in range(4)]
    while not store.sent:
        await asyncio.sleep(0)
    with pytest.raises(Overloaded) as overloaded:
        for n in range(4, 100):
            futures.append(bus.submit(open_account(f"u{n}/x/live")))
            await asyncio.sleep(0)
    assert overloaded.value.retry_after_s >= 1
    assert len(futures) <= 4 + 4 + 10
    gate.set()
    assert len({r.position for r in await asyncio.gather(*futures)}) == len(futures)
    await bus.stop()


async def test_endless_contention_ends_with_overloaded() -> None:
    class Contended(MemoryStore):
        """Somebody else always writes first."""

        async def append(self, shard: int, proposals: Sequence[Proposal]) -> list[Verdict]:
            rival = place(f"rival-{uuid4()}")
            events = ORDER_BOOK.decide(rival, Book(account=ACCOUNT))
            await super().append(
                shard, [Proposal(rival, b"", None, None, None, b"{}", events)] if proposals[0].expected_sequence else []
            )
            return await super().append(shard, proposals)

    bus = CommandBus(Contended(), ORDER_BOOK, limits=BusLimits(attempts_max=5))
    await bus.start()
    await bus.execute(open_account())
    with pytest.raises(Overloaded):
        await bus.execute(place())
    assert bus.conflicts_total == 6
    await bus.stop()


async def test_an_event_from_the_future_is_refused_and_stops_nobody_else(store: EventStore) -> None:
    class OrderTeleported(Event, frozen=True, kw_only=True):
        """Written by a newer program."""

    command = open_account("future/x/live")
    proposal = Proposal(command, b"x", 0, None, None, b"{}", (book_created("future/x/live"), OrderTeleported()))
    await store.append(0, [proposal])
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    futures = [bus.submit(place("o-1")), bus.submit(place("o-1", "future/x/live")), bus.submit(place("o-2"))]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(answer) for answer in answers] == [CommandResult, UnknownEvent, CommandResult]
    with pytest.raises(UnknownEvent, match="OrderTeleported"):
        await bus.execute(place("o-3", "future/x/live"))
    assert bus.is_running
    await bus.stop()


@pytest.mark.parametrize("number", ["1E+999999", "sNaN"])
async def test_an_event_that_cannot_be_folded_stops_nobody_else(store: EventStore, number: str) -> None:
    """As nobody but whoever doctors the log writes it."""
    account = "doctored/x/live"
    odd = filled("e-1", number, cum="0.5", leaves="1.5")
    await store.append(
        0, [Proposal(open_account(account), b"x", 0, None, None, b"{}", (book_created(account), created(), odd))]
    )
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    futures = [bus.submit(place("o-1")), bus.submit(place("o-2", account)), bus.submit(place("o-2"))]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(answer) for answer in answers] == [CommandResult, UnreadableEvent, CommandResult]
    await bus.stop()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"payload": b"{}"}, UnreadableEvent),
        ({"type": "OrderTeleported"}, UnknownEvent),
        ({"type": "OrderAccepted", "payload": accepted().payload()}, UnreadableEvent),
    ],
)
async def test_a_forgotten_order_that_cannot_be_recalled_stops_nobody_else(
    change: dict[str, Any], expected: type[Exception]
) -> None:
    class Doctored(MemoryStore):
        async def read_subjects(self, shard: int, subjects: Sequence[tuple[AggregateKey, str]]) -> list[SubjectEvent]:
            found = await super().read_subjects(shard, subjects)
            return [msgspec.structs.replace(e, **change) if e.type == "OrderCreated" else e for e in found]

    bus = CommandBus(Doctored(), ORDER_BOOK)
    await bus.start()
    for command in (open_account(), place(), trade("e-1", "2"), open_account("other/x/live")):
        await bus.execute(command)
    futures = [bus.submit(place("o-2")), bus.submit(cancel()), bus.submit(place("o-1", "other/x/live"))]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(answer) for answer in answers] == [CommandResult, expected, CommandResult]
    await bus.stop()


async def test_a_decision_that_cannot_be_folded_spoils_no_other() -> None:
    def evolve(book: Book, event: Any) -> Book:
        if event.subject == "o-bad":
            raise Overflow
        return ORDER_BOOK.evolve(book, event)

    bus = CommandBus(MemoryStore(), dataclasses.replace(ORDER_BOOK, evolve=evolve))
    await bus.start()
    await bus.execute(open_account())
    futures = [bus.submit(place(order_id)) for order_id in ("o-1", "o-bad", "o-2")]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(answer) for answer in answers] == [CommandResult, Overflow, CommandResult]
    await bus.stop()


async def test_a_bus_that_breaks_answers_everybody_and_starts_again() -> None:
    class Broken(MemoryStore):
        is_broken = False

        async def read_aggregates(self, shard: int, after: Sequence[tuple[AggregateKey, int]]) -> list[StoredEvent]:
            if self.is_broken:
                raise RuntimeError("nobody foresaw this")
            return await super().read_aggregates(shard, after)

    store = Broken()
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    store.is_broken = True
    futures = [bus.submit(open_account("other/x/live")), bus.submit(place())]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    store.is_broken = False
    assert (await bus.execute(place())).sequence == 2
    await bus.stop()


async def test_two_appends_overlap_with_deciding() -> None:
    """While one append is in flight the next batch is decided, and sent as soon as the first one has succeeded."""
    gate = asyncio.Event()

    async def hold(_store: Flaky, _proposals: Sequence[Proposal]) -> None:
        await gate.wait()

    class Watched(Flaky):
        loads = 0

        async def read_aggregates(self, shard: int, after: Sequence[tuple[AggregateKey, int]]) -> list[StoredEvent]:
            self.loads += 1
            return await super().read_aggregates(shard, after)

    store = Watched(hold)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    first = bus.submit(open_account("a/x/live"))
    while not store.sent:
        await asyncio.sleep(0)
    second = bus.submit(open_account("b/x/live"))
    while store.loads < 2:
        await asyncio.sleep(0)
    assert store.sent == [1]
    gate.set()
    assert [(await first).position, (await second).position] == [1, 2]
    assert store.sent == [1, 1]
    await bus.stop()


async def test_exact_amounts_survive_the_log(bus: CommandBus, store: EventStore) -> None:
    await bus.execute(open_account())
    await bus.execute(place(quantity="0.000000000000000001", limit_price=Decimal(99999999999999999999)))
    (event,) = await store.read_aggregates(0, [(KEY, 1)])
    order = ORDER_BOOK.event_types.decode(event.type, event.schema_version, event.payload)
    assert str(order).count("Decimal('1E-18')") == 1
    assert b'"0.000000000000000001"' in (event.payload or b"").replace(b" ", b"")
