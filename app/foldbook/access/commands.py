"""The commands that issue and revoke keys.

They declare no call: over HTTP each has a route of its own, because the answer to the first shows the key, once."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from foldbook.access.keys import KEY_ID
from foldbook.access.roles import Role
from foldbook.eventstore.events import Command

AGGREGATE_ID = "keys"
"""All keys are one aggregate: who could do what, and when, is one history."""

HolderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}(?!\n)$")]
REASON_PATTERN = r"^[^\x00-\x1f\x7f]{1,200}(?!\n)$"


class AccessCommand(Command, frozen=True, kw_only=True):
    aggregate_type = "access"

    @property
    def aggregate_id(self) -> str:
        return AGGREGATE_ID


class IssueKey(AccessCommand, frozen=True, kw_only=True):
    """Issue a key. ``digest``: what is kept of it (``keys``)."""

    key_id: Annotated[str, Meta(pattern=rf"^{KEY_ID}$")]
    name: HolderName
    roles: tuple[Role, ...]
    accounts: tuple[str, ...]
    expires_at: datetime | None = None
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]

    @property
    def subject(self) -> str:
        return self.key_id

    def fingerprint(self) -> bytes:
        """Without the digest: sent again, the command comes with another secret, and is the same."""
        content = msgspec.json.encode(
            (type(self).__name__, self.key_id, self.name, self.roles, self.accounts, self.expires_at)
        )
        return hashlib.blake2b(content, digest_size=16).digest()


class RevokeKey(AccessCommand, frozen=True, kw_only=True):
    """Revoke a key, for good."""

    key_id: str
    reason: Annotated[str, Meta(pattern=REASON_PATTERN)] | None = None

    @property
    def subject(self) -> str:
        return self.key_id


COMMANDS = (IssueKey, RevokeKey)
