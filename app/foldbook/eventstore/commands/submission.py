"""A command in the bus, and the result its sender waits for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

import msgspec

from foldbook.eventstore.events import AggregateKey, Command, CommandKey, Metadata


class CommandResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The result of an accepted command, sent only after COMMIT.

    ``position`` and ``sequence`` are those of its last event, ``events`` the types. ``replayed``: the command was
    answered before, and this is its first result.
    """

    aggregate_id: str
    shard: int
    position: int
    sequence: int
    events: tuple[str, ...]
    command_id: UUID
    replayed: bool = False


@dataclass(slots=True, eq=False)
class Submission:
    """A command on its way through the bus, and the future that its sender awaits."""

    command: Command
    aggregate_key: AggregateKey
    metadata: Metadata
    expected_sequence: int | None
    future: asyncio.Future[CommandResult]
    fingerprint: bytes = b""
    attempts: int = 0
    is_subject_taken: bool = False
    """Its subject was thought to be new, and the log knew better."""
    doubtful_sequence: int | None = None
    """The sequence of its last event, if an append that nobody knows the end of was done after all."""

    @property
    def command_key(self) -> CommandKey:
        return CommandKey(self.aggregate_key, self.command.command_id)

    @property
    def subject_key(self) -> tuple[AggregateKey, str | None]:
        return (self.aggregate_key, self.command.subject)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def succeed(self, result: CommandResult) -> None:
        if not self.future.done():
            self.future.set_result(result)
