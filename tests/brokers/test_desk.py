"""Recording: what becomes of a command that the log does not take at once."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from uuid_utils.compat import uuid7

from foldbook.brokers import desk as desks
from foldbook.brokers.desk import Desk
from foldbook.errors import IdempotencyConflict, Overloaded, Refusal, StoreUnavailable
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.postgres_store import LeaseLost
from tests.brokers.gateway_world import now
from tests.builders import ACCOUNT, report

RESULT = CommandResult(aggregate_id=ACCOUNT, shard=0, position=1, sequence=1, events=("x",), command_id=uuid7())


class Bus:
    """Answers as a test says: with a result, or an error at once (``Overloaded``) or later."""

    def __init__(self, *answers: CommandResult | Exception) -> None:
        self.answers = list(answers)
        self.metadata: list[Any] = []

    def submit(self, command: object, *, metadata: object) -> asyncio.Future[CommandResult]:
        self.metadata.append(metadata)
        answer = self.answers.pop(0)
        if isinstance(answer, Overloaded):
            raise answer
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future


class Lost:
    def __init__(self) -> None:
        self.errors: asyncio.Queue[BaseException] = asyncio.Queue()


def desk_of(bus: Bus, lost: Lost) -> Desk:
    nothing: Any = None
    return Desk(
        nothing,
        cast(Any, bus),
        nothing,
        now=now,
        new_id=uuid7,
        order_of=nothing,
        lost=lost.errors.put_nowait,
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "RETRY_PAUSE_S_MIN", 0.001)


async def test_a_command_is_tried_until_the_log_takes_it() -> None:
    bus = Bus(Overloaded("full"), StoreUnavailable("away"), RESULT)
    desk = desk_of(bus, Lost())
    assert await desk.record(report("NEW"), '{"raw": 1}').done == RESULT
    assert desk.counts.recorded == 1
    assert [metadata.raw_message for metadata in bus.metadata] == ['{"raw": 1}'] * 3


@pytest.mark.parametrize("error", [Refusal("unknown-order", "no such order"), IdempotencyConflict("other content")])
async def test_what_the_book_refuses_is_not_tried_again(error: Exception) -> None:
    bus = Bus(error)
    assert await desk_of(bus, Lost()).record(report("NEW")).done is None
    assert not bus.answers


async def test_a_lost_lease_ends_the_term() -> None:
    lost, error = Lost(), LeaseLost("another process has it")
    recording = desk_of(Bus(error), lost).record(report("NEW"))
    assert await lost.errors.get() is error
    assert not recording.done.done()


async def test_a_desk_that_was_stopped_tries_no_more() -> None:
    bus = Bus(Overloaded("full"), RESULT)
    desk = desk_of(bus, Lost())
    desk.record(report("NEW"))
    await desk.stop()
    await asyncio.sleep(0.01)  # longer than the pause
    assert bus.answers == [RESULT]


async def test_who_does_not_wait_for_a_recording_does_not_stop_it() -> None:
    bus = Bus(RESULT)
    desk = desk_of(bus, Lost())
    recording = desk.record(report("NEW"))
    recording.done.cancel()
    await asyncio.sleep(0)
    assert desk.counts.recorded == 1


async def test_what_must_be_found_out_first_is_on_its_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "RECORDINGS_MAX", 1)
    desk, found_out = desk_of(Bus(), Lost()), asyncio.Event()

    async def record() -> CommandResult | None:
        await found_out.wait()
        return RESULT

    recording = desk.record_later(record(), "find out")
    room = asyncio.create_task(desk.room())
    await asyncio.sleep(0)
    assert not room.done()
    found_out.set()
    assert await recording.done == RESULT
    await room


async def test_what_is_on_its_way_into_the_log_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "RECORDINGS_MAX", 2)
    waiting: list[asyncio.Future[CommandResult]] = []

    class Slow(Bus):
        def submit(self, command: object, *, metadata: object) -> asyncio.Future[CommandResult]:
            waiting.append(asyncio.get_running_loop().create_future())
            return waiting[-1]

    desk = desk_of(Slow(), Lost())
    first, second = desk.record(report("NEW")), desk.record(report("NEW"))
    room = asyncio.create_task(desk.room())
    await asyncio.sleep(0)
    assert not room.done()
    waiting[0].set_result(RESULT)
    assert await first.done == RESULT
    await room
    waiting[1].set_result(RESULT)
    assert await second.done == RESULT
