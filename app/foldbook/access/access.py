"""Keys: the decider.

Its state is the keys that are in force. A name belongs to one of them at a time, so that the actor of a command says
whose key it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import immutables
import msgspec

from foldbook.access.commands import COMMANDS, AccessCommand, IssueKey, RevokeKey
from foldbook.access.events import EVENT_TYPES, KeyEvent, KeyIssued, KeyRevoked
from foldbook.access.roles import EVERY_ACCOUNT, OF_EVERYTHING, Role, is_pattern
from foldbook.errors import Refusal, register
from foldbook.eventstore.decider import Decider

KEYS_MAX = 1_000
"""Keys in force."""
PATTERNS_MAX = 100
"""Patterns of one key."""

register(
    {
        "unknown-key": (404, "No such key is in force"),
        "key-name-taken": (409, "Another key in force has this name"),
        "too-many-keys": (409, "Too many keys are in force"),
    }
)


class Key(msgspec.Struct, frozen=True, gc=False):
    name: str
    roles: tuple[Role, ...]
    accounts: tuple[str, ...]
    digest: str
    expires_at: datetime | None = None

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class Keys(msgspec.Struct, frozen=True, gc=False):
    """By key id."""

    live: immutables.Map[str, Key] = immutables.Map()


def decide(command: AccessCommand, keys: Keys) -> Sequence[KeyEvent]:
    """The events of ``command``. Raises ``Refusal``."""
    if isinstance(command, IssueKey):
        return _issue(command, keys)
    if isinstance(command, RevokeKey):
        return _revoke(command, keys)
    raise TypeError(f"{type(command).__name__} is not a command of access")


def _issue(command: IssueKey, keys: Keys) -> Sequence[KeyEvent]:
    _check(command)
    expired = [key_id for key_id, key in keys.live.items() if key.is_expired(command.received_at)]
    live = {key_id: key for key_id, key in keys.live.items() if key_id not in expired}
    if command.key_id in keys.live or any(key.name == command.name for key in live.values()):
        raise Refusal("key-name-taken", f"a key named {command.name} is in force: revoke it first, or choose a name")
    if len(live) >= KEYS_MAX:
        raise Refusal("too-many-keys", f"at most {KEYS_MAX} keys may be in force")
    return (
        *(KeyRevoked(key_id=key_id, reason="expired") for key_id in sorted(expired)),
        KeyIssued(
            key_id=command.key_id,
            name=command.name,
            roles=command.roles,
            accounts=command.accounts,
            digest=command.digest,
            expires_at=command.expires_at,
        ),
    )


def _check(command: IssueKey) -> None:
    if not command.roles or len(set(command.roles)) < len(command.roles):
        raise _invalid("roles", "must be one or more roles, each once")
    if not 1 <= len(command.accounts) <= PATTERNS_MAX:
        raise _invalid("accounts", f"must be 1 to {PATTERNS_MAX} patterns")
    for pattern in command.accounts:
        if not is_pattern(pattern):
            raise _invalid("accounts", f"{pattern!r} is not user/exchange/broker, with * for any name")
    if not OF_EVERYTHING.isdisjoint(command.roles) and EVERY_ACCOUNT not in command.accounts:
        raise _invalid("accounts", f"must be {EVERY_ACCOUNT} for an auditor or an operator")
    if command.expires_at is not None and command.expires_at <= command.received_at:
        raise _invalid("expires_at", "must be in the future")


def _invalid(field: str, what: str) -> Refusal:
    return Refusal("invalid-command", f"{field} {what}", field=field)


def _revoke(command: RevokeKey, keys: Keys) -> Sequence[KeyEvent]:
    if command.key_id not in keys.live:
        raise Refusal("unknown-key", f"no key {command.key_id} is in force")
    return (KeyRevoked(key_id=command.key_id, reason=command.reason),)


def evolve(keys: Keys, event: KeyEvent) -> Keys:
    match event:
        case KeyIssued():
            key = Key(event.name, event.roles, event.accounts, event.digest, event.expires_at)
            return Keys(keys.live.set(event.key_id, key))
        case KeyRevoked():
            return Keys(keys.live.delete(event.key_id))
        case _:
            raise TypeError(f"{type(event).__name__} is not an event of access")


ACCESS: Decider[Keys] = Decider(
    name=AccessCommand.aggregate_type,
    state_type=Keys,
    initial=Keys(),
    command_types=COMMANDS,
    event_types=EVENT_TYPES,
    decide=decide,
    evolve=evolve,
)
