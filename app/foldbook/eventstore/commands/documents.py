"""The document that answers a command: the place of its last event in the log."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from foldbook.eventstore.command_json import identity_of
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Command


@cache
def result_type(identity: str) -> type[msgspec.Struct]:
    """The document's type. The field ``identity`` names the aggregate."""
    title = "".join(word.title() for word in identity.split("_"))
    return msgspec.defstruct(
        f"{title}CommandResult",
        [
            (identity, str),
            ("shard", int),
            ("position", int),
            ("sequence", int),
            ("events", tuple[str, ...]),
            ("command_id", UUID),
            ("replayed", bool),
        ],
        frozen=True,
        gc=False,
    )


class ResultDocument:
    """Makes the documents that answer the commands of one type."""

    def __init__(self, command: type[Command]) -> None:
        self.type: Any = result_type(identity_of(command))

    def __call__(self, result: CommandResult) -> Any:
        return self.type(
            result.aggregate_id,
            result.shard,
            result.position,
            result.sequence,
            result.events,
            result.command_id,
            result.replayed,
        )
