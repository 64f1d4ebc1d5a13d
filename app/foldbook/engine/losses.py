"""What processes saw in the log and the log does not have, as it is kept in the database until somebody settles it."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from foldbook.eventstore.seen import describe_lost

_OPEN = "select number, shard, after_position, last_position, process, found_at::text from eventstore.losses_open()"
_SETTLE = "select eventstore.settle_losses(%s)"

Connection = psycopg.Connection[tuple[Any, ...]]


class OpenLoss(NamedTuple):
    """The positions after ``after_position`` up to ``last_position``; if there are none, commands without events."""

    number: int
    shard: int
    after_position: int
    last_position: int
    process: str
    found_at: str

    @property
    def what(self) -> str:
        return describe_lost(self.shard, self.after_position, self.last_position)


def open_losses(connection: Connection) -> list[OpenLoss]:
    return [OpenLoss(*row) for row in connection.execute(_OPEN)]


def settle(connection: Connection, until: int) -> None:
    """Somebody has dealt with them, up to this number."""
    connection.execute(_SETTLE, (until,))
