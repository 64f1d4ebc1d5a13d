"""The gateway's rules, one account at a time: what is sent, what is recorded, and what is not."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from msgspec.structs import replace
from uuid_utils.compat import uuid7

from foldbook.brokers.desk import Desk
from foldbook.brokers.port import (
    Acknowledged,
    BrokerUnavailable,
    Capabilities,
    InDoubt,
    Outcome,
    Refused,
    Report,
    ReportKind,
)
from foldbook.brokers.reports import command_id_of
from foldbook.brokers.work import AccountWork
from foldbook.errors import StoreUnavailable
from foldbook.eventstore.events import Metadata
from foldbook.eventstore.postgres_store import LeaseLost
from foldbook.trading.commands import BookCommand, RecordAttempt, RecordDoubt, RecordExecution
from foldbook.trading.values import ExecType, OrderType, RequestKind, TimeInForce
from tests.brokers.gateway_world import now
from tests.builders import ACCOUNT, attempt, cancel, open_account, place, report
from tests.trading.lives import Life
from tests.waiting import until


class World:
    """Bus, broker and lease of one account, as a test says. What is recorded is heard only when ``hear`` says so."""

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.life = Life()
        self.life.execute(open_account())
        self.recorded: list[BookCommand] = []
        self.metadata: list[Metadata] = []
        self.sent: list[object] = []
        self.capabilities = Capabilities(
            order_types=frozenset(OrderType),
            times_in_force=frozenset(TimeInForce),
            replaces=True,
            id_alphabet="abcdefghijklmnopqrstuvwxyz0123456789:-",
            id_length_max=64,
            settle_s=0.0,
            send_s=5.0,
        )
        self.lease_error: Exception | None = None
        self.lost: list[BaseException] = []
        self._outcomes = list(outcomes)
        self.desk = Desk(
            cast(Any, self),
            cast(Any, self),
            cast(Any, self),
            now=now,
            new_id=uuid7,
            order_of=cast(Any, None),
            lost=self.lost.append,
        )
        self.work = AccountWork(ACCOUNT, self.life.book, len(self.life.events), self.desk, cast(Any, None))

    # as the bus

    def submit(self, command: Any, *, metadata: Metadata | None = None) -> Any:
        """Of the bus, with metadata; of the broker, without."""
        if metadata is None:
            return self._send(command)
        self.recorded.append(command)
        self.metadata.append(metadata)
        return asyncio.get_running_loop().create_future()

    # as the lease

    async def wait_for(self, _seconds: float) -> None:
        if self.lease_error is not None:
            raise self.lease_error

    # as the broker

    async def _send(self, what: object) -> Outcome:
        self.sent.append(what)
        outcome = self._outcomes.pop(0) if self._outcomes else Acknowledged()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def cancel(self, ref: object, request_id: str) -> Outcome:
        return await self._send((ref, request_id))

    # as the log

    def hear(self, *commands: BookCommand) -> None:
        for command in commands:
            events = self.life.execute(command)
            self.work.hear(len(self.life.events), command.command_id, events)

    def last(self, kind: type[BookCommand]) -> Any:
        return next(command for command in reversed(self.recorded) if type(command) is kind)


async def attempted(world: World) -> RecordAttempt:
    """An order that is placed, and the attempt to send it, recorded but not heard of."""
    world.work.make_ready()
    world.hear(place())
    recorded = world.last(RecordAttempt)
    assert isinstance(recorded, RecordAttempt)
    return recorded


async def test_nothing_is_sent_before_its_attempt_comes_back_from_the_log() -> None:
    world = World()
    recorded = await attempted(world)
    await asyncio.sleep(0.01)
    assert world.sent == []
    world.hear(recorded)
    await until(lambda: len(world.sent) == 1)
    await until(lambda: world.desk.counts.sent == 1)


async def test_what_another_process_has_attempted_is_in_doubt_and_is_not_sent() -> None:
    world = World()
    recorded = await attempted(world)
    world.hear(attempt(attempt=1, client_order_id=recorded.client_order_id))
    doubt = world.last(RecordDoubt)
    assert (doubt.request, doubt.attempt) == (RequestKind.SUBMIT, 1)
    await asyncio.sleep(0.01)
    assert world.sent == []


@pytest.mark.parametrize(
    "outcome", [InDoubt(reason="lost"), TimeoutError(), StoreUnavailable("away"), ConnectionResetError(), ValueError()]
)
async def test_what_has_no_clear_answer_is_in_doubt_and_neither_refused_nor_sent_again(
    outcome: Outcome | Exception,
) -> None:
    world = World(outcome)
    recorded = await attempted(world)
    world.hear(recorded)
    await until(lambda: any(type(command) is RecordDoubt for command in world.recorded))
    assert [type(command) for command in world.recorded] == [RecordAttempt, RecordDoubt]
    assert len(world.sent) == 1
    assert world.lost == []


async def test_a_clear_refusal_is_a_rejection() -> None:
    world = World(Refused(reason="no", raw='{"no": 1}'))
    world.hear(recorded := await attempted(world))
    assert recorded is world.recorded[0]
    await until(lambda: any(type(command) is RecordExecution for command in world.recorded))
    told = world.last(RecordExecution)
    assert (told.exec_type, told.reason) == (ExecType.REJECTED, "no")
    assert world.metadata[-1].raw_message == '{"no": 1}'


async def test_without_the_lease_nothing_is_sent_and_the_term_ends() -> None:
    world = World()
    world.lease_error = LeaseLost("another process has it")
    world.hear(await attempted(world))
    await until(lambda: bool(world.lost))
    assert world.lost == [world.lease_error]
    assert world.sent == []
    assert [type(command) for command in world.recorded] == [RecordAttempt], "the next one finds it unanswered"


async def test_before_it_is_reconciled_only_cancels_are_attempted() -> None:
    world = World()
    recorded = await attempted(world)
    world.hear(recorded, report("NEW"))
    world.work.make_unready("the connection was lost")
    world.hear(place("o-2"), cancel("o-1"))
    attempts = [command for command in world.recorded if isinstance(command, RecordAttempt)]
    assert [(one.order_id, one.request) for one in attempts[1:]] == [("o-1", RequestKind.CANCEL)]
    world.work.make_ready()
    assert world.last(RecordAttempt).order_id == "o-2"


async def test_a_report_in_other_words_is_the_same_command() -> None:
    """And one about another account is another, though the broker may say the same of both."""
    told = Report(kind=ReportKind.ORDER, account=ACCOUNT, exec_type=ExecType.NEW, broker_order_id="b-1", raw="{}")
    others = (
        replace(told, account="bob/binance/simulated"),
        replace(told, broker_order_id="b-2"),
        replace(told, time=now()),
    )
    assert command_id_of(told, "o-1") == command_id_of(replace(told, raw='{"in": "other words"}'), "o-1")
    assert len({command_id_of(one, "o-1") for one in (told, *others)} | {command_id_of(told, "o-2")}) == 5


async def test_events_that_do_not_follow_those_before_are_not_heard() -> None:
    """The log was put back, say, and has grown again since: the term ends, and the next one reads the book anew."""
    world = World()
    world.hear(place())
    before, events = world.work.sequence, world.life.execute(cancel())
    with pytest.raises(BrokerUnavailable):
        world.work.hear(len(world.life.events) + 1, cancel().command_id, events)
    assert world.work.sequence == before
