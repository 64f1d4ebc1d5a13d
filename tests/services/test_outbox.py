"""Commands keep their order, and each is done once, while the log comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from foldbook.errors import FoldbookError, IdempotencyConflict, Overloaded, Refusal, StoreUnavailable
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import NO_METADATA, Command, Metadata
from foldbook.services.strategy import outbox
from foldbook.services.strategy.outbox import send
from foldbook.trading.commands import BookCommand
from tests.builders import place


class Bus:
    """Answers as it is told to: by order id, what to raise at each attempt before the command is done."""

    def __init__(self, **failures: list[FoldbookError]) -> None:
        self.failures = failures
        self.done: list[str] = []
        self.attempts = 0

    def submit(self, command: Command, *, metadata: Metadata) -> asyncio.Future[CommandResult]:
        self.attempts += 1
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        name = str(command.subject)
        if (failures := self.failures.get(name)) and not isinstance(failures[0], Refusal):
            error = failures.pop(0)
            if isinstance(error, Overloaded):
                raise error
            future.set_exception(error)
        elif failures:
            future.set_exception(failures[0])
        else:
            if name not in self.done:
                self.done.append(name)
            position = self.done.index(name) + 1
            future.set_result(
                CommandResult(
                    aggregate_id="a",
                    shard=0,
                    position=position,
                    sequence=position,
                    events=(),
                    command_id=command.command_id,
                )
            )
        return future


def commands(*names: str) -> list[BookCommand]:
    return [place(name) for name in names]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BACKOFF_S_MIN", 0.001)
    monkeypatch.setattr(outbox, "BACKOFF_S_MAX", 0.001)


async def sent(bus: Bus, given: Sequence[BookCommand]) -> outbox.Sent:
    return await send(bus, given, NO_METADATA)  # type: ignore[arg-type]


async def test_commands_are_sent_in_their_order() -> None:
    bus = Bus()
    names = [f"o{n}" for n in range(3 * outbox.SEND_MAX + 5)]
    result = await sent(bus, commands(*names))
    assert bus.done == names
    assert bus.attempts == len(names)
    assert (result.position, result.refused) == (len(names), [])


@pytest.mark.parametrize("error", [StoreUnavailable("gone", in_doubt=True), Overloaded("full")], ids=["gone", "full"])
async def test_one_without_an_answer_is_sent_again_with_all_that_follow_it(
    error: FoldbookError, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus(b=[error, error])
    result = await sent(bus, commands("a", "b"))
    assert bus.done == ["a", "b"]
    assert result.position == 2
    assert sum("does not answer" in record.message for record in caplog.records) == 1


async def test_a_refusal_is_an_answer() -> None:
    refusal = Refusal("duplicate-order", "no")
    bus = Bus(b=[refusal], c=[StoreUnavailable("gone")])
    given = commands("a", "b", "c")
    result = await sent(bus, given)
    assert bus.done == ["a", "c"]
    assert result.refused == [(given[1], refusal)]


async def test_an_id_that_was_used_for_something_else_is_an_error() -> None:
    with pytest.raises(IdempotencyConflict):
        await sent(Bus(a=[IdempotencyConflict("no")]), commands("a"))


async def test_nothing_is_nothing() -> None:
    assert await sent(Bus(), []) == outbox.Sent(0, [])
