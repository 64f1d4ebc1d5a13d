"""The rows of the log in an export. Their fields are the columns of the three tables. Hashes and fingerprints are
hexadecimal; JSON is written as ``jsonb`` prints it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

import msgspec

NULL = b"null"

Int: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]


class CommitRow(msgspec.Struct, frozen=True, gc=False):
    shard: Int
    number: Int
    first_position: Int
    last_position: Int
    recorded_at: Time
    previous_hash: str
    hash: str


class CommandRow(msgspec.Struct, frozen=True, gc=False):
    """``reason`` is JSON's null if the command was accepted."""

    shard: Int
    command_id: UUID
    aggregate_type: str
    aggregate_id: str
    type: str
    fingerprint: str
    actor: str | None
    outcome: str
    reason: msgspec.Raw
    first_position: Int | None
    event_count: Int
    commit: Int
    recorded_at: Time
    hash: str

    @property
    def stored_reason(self) -> bytes | None:
        """Why it was refused, as JSON; None if it was accepted."""
        return None if bytes(self.reason) == NULL else bytes(self.reason)


class EventRow(msgspec.Struct, frozen=True, gc=False):
    shard: Int
    position: Int
    aggregate_type: str
    aggregate_id: str
    sequence: Int
    type: str
    schema_version: Int
    subject: str | None
    command_id: UUID
    payload: msgspec.Raw
    metadata: msgspec.Raw
    occurred_at: Time
    recorded_at: Time
    hash: str


Row: TypeAlias = CommitRow | CommandRow | EventRow
