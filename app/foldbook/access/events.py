"""What happened to keys. The log shows who could do what, at any time; no key can be made from it."""

from __future__ import annotations

from datetime import datetime

from foldbook.access.roles import Role
from foldbook.eventstore.events import Event, EventTypes


class KeyEvent(Event, frozen=True, kw_only=True):
    key_id: str

    @property
    def subject(self) -> str:
        return self.key_id


class KeyIssued(KeyEvent, frozen=True, kw_only=True):
    """``digest``: the SHA-256 of the key, in hex."""

    name: str
    roles: tuple[Role, ...]
    accounts: tuple[str, ...]
    digest: str
    expires_at: datetime | None = None


class KeyRevoked(KeyEvent, frozen=True, kw_only=True):
    """``reason`` "expired": its time was over when another key was issued."""

    reason: str | None = None


EVENT_TYPES = EventTypes((KeyIssued, KeyRevoked))
