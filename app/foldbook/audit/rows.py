"""The rows of the log in an export. Their fields are the columns of the three tables. Hashes and fingerprints are
hexadecimal; JSON is written as ``jsonb`` prints it."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import msgspec

NULL = b"null"


class CommitRow(msgspec.Struct, frozen=True, gc=False):
    shard: int
    number: int
    first_position: int
    last_position: int
    recorded_at: datetime
    previous_hash: str
    hash: str


class CommandRow(msgspec.Struct, frozen=True, gc=False):
    """``reason`` is JSON's null if the command was accepted."""

    shard: int
    command_id: UUID
    aggregate_type: str
    aggregate_id: str
    type: str
    fingerprint: str
    actor: str | None
    outcome: str
    reason: msgspec.Raw
    first_position: int | None
    event_count: int
    commit: int
    recorded_at: datetime
    hash: str

    @property
    def stored_reason(self) -> bytes | None:
        """Why it was refused, as JSON; None if it was accepted."""
        return None if bytes(self.reason) == NULL else bytes(self.reason)


class EventRow(msgspec.Struct, frozen=True, gc=False):
    shard: int
    position: int
    aggregate_type: str
    aggregate_id: str
    sequence: int
    type: str
    schema_version: int
    subject: str | None
    command_id: UUID
    payload: msgspec.Raw
    metadata: msgspec.Raw
    occurred_at: datetime
    recorded_at: datetime
    hash: str


Row: TypeAlias = CommitRow | CommandRow | EventRow
