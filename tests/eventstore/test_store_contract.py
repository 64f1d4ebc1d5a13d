"""What every event store promises, asked of each."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from uuid_utils.compat import uuid7

from foldbook.eventstore.events import Command, CommandKey, Event
from foldbook.eventstore.store import EventStore, Fate, Proposal, Verdict
from tests.builders import ACCOUNT, KEY, NOW, book_created, cancel, created, key, open_account, place

BOB = "bob/binance/simulated"


def propose(
    command: Command,
    events: Sequence[Event] = (),
    expected: int | None = None,
    absent: str | None = None,
    **fields: Any,
) -> Proposal:
    return Proposal(
        command=command,
        fingerprint=command.fingerprint(),
        expected_sequence=expected,
        absent_subject=absent,
        actor="alice",
        metadata=b'{"actor":"alice"}',
        events=events,
        **fields,
    )


def opened(account: str = ACCOUNT, expected: int | None = 0) -> Proposal:
    return propose(open_account(account), (book_created(account),), expected)


def placed(
    order_id: str = "o-1", expected: int | None = 1, account: str = ACCOUNT, absent: str | None = None
) -> Proposal:
    return propose(place(order_id, account), (created(order_id),), expected, absent)


def fates(verdicts: Sequence[Verdict]) -> list[str]:
    return [verdict.fate.value for verdict in verdicts]


async def assert_gapless(store: EventStore, count: int) -> None:
    log = await store.read_log(0, 0, count + 10)
    assert [e.position for e in log] == list(range(1, count + 1))
    sequences: dict[str, int] = {}
    for event in log:
        sequences[event.aggregate_id] = sequences.get(event.aggregate_id, 0) + 1
        assert event.sequence == sequences[event.aggregate_id]


async def test_append_then_read_back(store: EventStore) -> None:
    first, second = opened(), placed()
    verdicts = await store.append(0, [first, second])
    assert verdicts == [Verdict(Fate.APPENDED, 1, 1, None), Verdict(Fate.APPENDED, 2, 2, None)]
    book, order = await store.read_log(0, 0, 10)
    assert (book.shard, book.position, book.aggregate_id, book.sequence) == (0, 1, ACCOUNT, 1)
    assert (book.type, book.schema_version, book.subject) == ("OrderBookCreated", 1, None)
    assert (order.type, order.subject, order.command_id) == ("OrderCreated", "o-1", second.command.command_id)
    assert msgspec.json.decode(order.payload, type=type(created())) == created()
    assert msgspec.json.decode(order.metadata) == {"actor": "alice"}
    assert order.occurred_at == NOW
    assert order.recorded_at >= book.recorded_at


async def test_a_command_may_have_many_events_or_none(store: EventStore) -> None:
    many = propose(place(), (book_created(), created("o-1"), created("o-2")), 0)
    none = propose(place("o-3"), (), 3)
    refused = propose(place("o-4"), (), 3, reason=b'{"code":"order-closed"}')
    verdicts = await store.append(0, [many, none, refused])
    assert verdicts == [Verdict(Fate.APPENDED, 3, 3, None), *[Verdict(Fate.APPENDED, 3, 3, None)] * 2]
    await assert_gapless(store, 3)
    asked = [p.command.command_key for p in (many, none, refused)]
    unknown = CommandKey(asked[0].aggregate, uuid4())
    results = {r.command_key: r for r in await store.command_results(0, [*asked, unknown])}
    assert set(results) == set(asked)
    assert list(results[asked[0]].event_types) == ["OrderBookCreated", "OrderCreated", "OrderCreated"]
    assert (results[asked[0]].position, results[asked[0]].sequence) == (3, 3)
    assert (results[asked[1]].position, results[asked[1]].reason, list(results[asked[1]].event_types)) == (3, None, [])
    assert msgspec.json.decode(results[asked[2]].reason or b"") == {"code": "order-closed"}


async def test_a_duplicate_writes_nothing_and_says_whether_it_is_the_same(store: EventStore) -> None:
    first = opened()
    await store.append(0, [first])
    other = propose(place(command_id=first.command.command_id), (created(),), 1)
    free = propose(place(command_id=first.command.command_id), (created(),), None)
    again = await store.append(0, [first, other, free])
    assert fates(again) == ["duplicate"] * 3
    assert [verdict.is_same_content for verdict in again] == [True, False, False]
    await assert_gapless(store, 1)


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_id_belongs_to_its_aggregate(store: EventStore, at_once: bool) -> None:
    """Also of commands without events: they stand at the end of a commit by their ids."""
    theirs, refused_theirs = opened(BOB), propose(cancel("none", BOB), (), None, reason=b'{"code":"theirs"}')
    ours = propose(open_account(command_id=theirs.command.command_id), (book_created(),), 0)
    refused_ours = propose(
        cancel("none", command_id=refused_theirs.command.command_id), (), None, reason=b'{"code":"ours"}'
    )
    proposals = [theirs, ours, refused_theirs, refused_ours]
    for batch in [proposals] if at_once else [[proposal] for proposal in proposals]:
        assert set(fates(await store.append(0, batch))) == {"appended"}
    assert fates(await store.append(0, proposals)) == ["duplicate"] * 4
    await assert_gapless(store, 2)
    keys = [proposal.command.command_key for proposal in reversed(proposals)]
    results = {result.command_key: result for result in await store.command_results(0, keys)}
    assert [(results[key].position, results[key].reason) for key in keys[2:]] == [(2, None), (1, None)]
    assert [msgspec.json.decode(results[key].reason or b"") for key in keys[:2]] == [
        {"code": "ours"},
        {"code": "theirs"},
    ]


async def test_a_conflict_names_the_sequence_and_affects_no_other(store: EventStore) -> None:
    await store.append(0, [opened(), placed("o-1")])
    verdicts = await store.append(0, [placed("o-2", expected=1), opened(BOB), placed("o-3", expected=1, account=BOB)])
    assert fates(verdicts) == ["conflict", "appended", "appended"]
    assert verdicts[0].sequence == 2
    await assert_gapless(store, 4)


async def test_nothing_decided_after_a_conflict_is_appended_even_if_the_number_fits(store: EventStore) -> None:
    await store.append(0, [opened()])
    await store.append(0, [placed("theirs", expected=1)])
    ours = [placed("o-1", expected=1), placed("o-2", expected=2), placed("o-3", expected=None)]
    assert fates(await store.append(0, ours)) == ["conflict", "conflict", "appended"]
    assert [e.subject for e in await store.read_log(0, 0, 9)] == [None, "theirs", "o-3"]


async def test_nothing_decided_after_a_duplicate_with_events_is_appended(store: EventStore) -> None:
    await store.append(0, [opened()])
    retried = placed("o-1", expected=1)
    await store.append(0, [retried])
    late = propose(retried.command, retried.events, 2)
    assert fates(await store.append(0, [late, placed("o-2", expected=3)])) == ["duplicate", "conflict"]
    await assert_gapless(store, 2)


async def test_a_duplicate_without_events_breaks_nothing(store: EventStore) -> None:
    refused = propose(place("o-9"), (), 1, reason=b'{"code":"unknown-order"}')
    await store.append(0, [opened(), refused])
    assert fates(await store.append(0, [refused, placed("o-1", expected=1)])) == ["duplicate", "appended"]


async def test_a_stale_refusal_is_a_conflict(store: EventStore) -> None:
    await store.append(0, [opened()])
    refusal = propose(place("o-9"), (), 0, reason=b'{"code":"unknown-account"}')
    assert fates(await store.append(0, [refusal])) == ["conflict"]
    assert await store.command_results(0, [refusal.command.command_key]) == []


async def test_a_subject_that_should_be_absent_is_looked_up_in_its_own_aggregate(store: EventStore) -> None:
    await store.append(0, [opened(), placed("o-1")])
    verdicts = await store.append(
        0, [placed("o-1", expected=2, absent="o-1"), opened(BOB), placed("o-1", expected=1, account=BOB, absent="o-1")]
    )
    assert fates(verdicts) == ["conflict", "appended", "appended"]


async def test_read_aggregates_from_a_sequence_each(store: EventStore) -> None:
    await store.append(0, [opened(), opened(BOB), placed("o-1"), placed("o-2", expected=2), placed("b-1", account=BOB)])
    events = await store.read_aggregates(0, [(KEY, 1), (key(BOB), 0), (key("nobody/binance/live"), 0)])
    assert [(e.aggregate_id, e.sequence) for e in events if e.aggregate_id == ACCOUNT] == [(ACCOUNT, 2), (ACCOUNT, 3)]
    assert [(e.aggregate_id, e.sequence) for e in events if e.aggregate_id == BOB] == [(BOB, 1), (BOB, 2)]
    assert len(events) == 4


async def test_read_subjects_of_their_aggregate_only(store: EventStore) -> None:
    await store.append(0, [opened(), opened(BOB), placed("o-1"), placed("o-1", account=BOB)])
    (event,) = await store.read_subjects(0, [(key(BOB), "o-1"), (key(BOB), "o-2")])
    assert (event.aggregate_id, event.subject, event.position, event.sequence) == (BOB, "o-1", 4, 2)


async def test_read_log_in_pages(store: EventStore) -> None:
    await store.append(0, [opened(), *(placed(f"o-{n}", expected=n) for n in range(1, 10))])
    assert [e.position for e in await store.read_log(0, 3, 4)] == [4, 5, 6, 7]
    assert await store.read_log(0, 10, 4) == []


async def test_read_log_of_one_aggregate(store: EventStore) -> None:
    await store.append(0, [opened(), opened(BOB), placed("o-1"), placed("o-2", expected=2), placed("b-1", account=BOB)])
    assert [e.position for e in await store.read_log(0, 0, 2, KEY)] == [1, 3]
    assert [e.position for e in await store.read_log(0, 3, 9, KEY)] == [4]
    assert await store.read_log(0, 0, 9, key("nobody/binance/live")) == []


async def test_shards_are_logs_of_their_own(store: EventStore) -> None:
    await store.append(0, [opened()])
    (verdict,) = await store.append(1, [opened(BOB)])
    assert (verdict.position, verdict.sequence) == (1, 1)
    assert [e.aggregate_id for e in await store.read_log(1, 0, 9)] == [BOB]


async def test_of_many_appends_with_the_same_expected_sequence_one_wins(store: EventStore) -> None:
    await store.append(0, [opened()])
    verdicts = await asyncio.gather(*(store.append(0, [placed(f"o-{n}", expected=1)]) for n in range(20)))
    assert sorted(fates([v for (v,) in verdicts])) == ["appended"] + ["conflict"] * 19
    await assert_gapless(store, 2)


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_is_thrown_at_it_the_log_is_what_the_verdicts_say(store: EventStore, seed: int) -> None:
    """A model: a list of events per aggregate, and the verdicts read one by one."""
    chance = random.Random(seed)
    accounts = [f"u{n}/binance/simulated" for n in range(3)]
    model: dict[str, list[UUID]] = {account: [] for account in accounts}
    sent: list[Proposal] = []
    for _ in range(40):
        batch: list[Proposal] = []
        for _ in range(chance.randint(1, 6)):
            if sent and chance.random() < 0.2:
                batch.append(chance.choice(sent))
                continue
            account = chance.choice(accounts)
            speculative = len(model[account]) + sum(len(p.events) for p in batch if p.command.aggregate_id == account)
            expected = chance.choice([None, speculative, speculative, speculative, speculative + 1, 0])
            events = [created(f"o-{uuid7()}") for _ in range(chance.randint(0, 3))]
            batch.append(propose(place(account=account), events, expected))
        batch = list({p.command.command_id: p for p in batch}.values())
        verdicts = await store.append(0, batch)
        for p, verdict in zip(batch, verdicts, strict=True):
            log = model[p.command.aggregate_id]
            if verdict.fate is Fate.APPENDED:
                assert p.expected_sequence in (None, len(log))
                log += [p.command.command_id] * len(p.events)
                assert verdict.sequence == len(log)
                sent.append(p)
            elif verdict.fate is Fate.DUPLICATE:
                assert p in sent
    stored = await store.read_log(0, 0, 10_000)
    assert [e.position for e in stored] == list(range(1, sum(map(len, model.values())) + 1))
    for account, command_ids in model.items():
        assert [e.command_id for e in stored if e.aggregate_id == account] == command_ids
        assert [e.sequence for e in stored if e.aggregate_id == account] == list(range(1, len(command_ids) + 1))


@pytest.mark.parametrize("seed", range(8))
async def test_one_command_alone_is_judged_as_it_is_in_a_batch(store: EventStore, seed: int) -> None:
    """A single command with a single event may take a shorter way into the log; the verdicts are the same on both."""
    chance = random.Random(seed)
    await store.append(0, [opened()])
    await store.append(1, [opened()])
    sent: list[Proposal] = []
    for n in range(60):
        if sent and chance.random() < 0.3:
            proposal = chance.choice(sent)
            if chance.random() < 0.3:
                proposal = dataclasses.replace(proposal, fingerprint=b"other")
        else:
            stored = len(await store.read_log(0, 0, 1_000))
            order_id = chance.choice([f"o-{n}", "o-0", "o-1"])
            expected = chance.choice([None, stored, stored, stored - 1, stored + 1])
            proposal = placed(order_id, expected, absent=chance.choice([None, order_id]))
        sent.append(proposal)
        nothing_else = propose(place(f"nothing-{n}", BOB), (), None)
        (alone,) = await store.append(0, [proposal])
        in_a_batch, _ = await store.append(1, [proposal, nothing_else])
        assert alone == in_a_batch
    alone_log, batch_log = await store.read_log(0, 0, 1_000), await store.read_log(1, 0, 1_000)
    assert len(alone_log) > 5
    assert [(e.position, e.sequence, e.command_id, e.payload) for e in alone_log[1:]] == [
        (e.position, e.sequence, e.command_id, e.payload) for e in batch_log[1:]
    ]


async def test_a_page_of_an_aggregate_begins_anywhere(store: EventStore) -> None:
    """Positions of one aggregate are not its sequences: others write in between."""
    chance = random.Random(1)
    owners = [chance.choice([ACCOUNT, BOB, "carol/binance/live"]) for _ in range(300)]
    await store.append(0, [placed(f"o-{n}", None, owner) for n, owner in enumerate(owners)])
    of_alice = [n + 1 for n, owner in enumerate(owners) if owner == ACCOUNT]
    for after in range(0, 302, 7):
        found = [e.position for e in await store.read_log(0, after, 5, KEY)]
        assert found == [position for position in of_alice if position > after][:5]
