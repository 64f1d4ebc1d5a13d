"""Who sends a request, and what they may do."""

from __future__ import annotations

from functools import cache

from foldbook.access.roles import (
    EVERY_ACCOUNT,
    OF_EVERYTHING,
    AccountHidden,
    Forbidden,
    Role,
    Roles,
    Unauthenticated,
    matches,
)
from foldbook.eventstore.events import NO_METADATA, Command, Metadata

SEEN_MAX = 10_000
"""Accounts of which it is remembered whether a principal sees them."""


class Principal:
    """The holder of a key. ``name`` None: a request without a key, in an engine that is open to all.

    ``accounts``: patterns. An instance lives as long as its key does, and remembers what it was asked.
    """

    __slots__ = ("_seen", "accounts", "is_known", "key_id", "metadata", "name", "roles", "sees_all")

    def __init__(
        self, key_id: str | None, name: str | None, roles: Roles, accounts: tuple[str, ...], *, is_known: bool = True
    ) -> None:
        self.key_id = key_id
        self.name = name
        self.roles = roles
        self.accounts = accounts
        self.is_known = is_known
        self.sees_all = not OF_EVERYTHING.isdisjoint(roles)
        """The whole log, and not only what accounts have."""
        self.metadata = NO_METADATA if name is None else Metadata(actor=name)
        """Of commands that say nothing more of themselves."""
        self._seen: dict[str, bool] = {}

    @property
    def patterns(self) -> list[str] | None:
        """What a query may show; None: everything."""
        return None if self.sees_all else list(self.accounts)

    @property
    def is_operator(self) -> bool:
        return Role.OPERATOR in self.roles

    def may(self, roles: Roles) -> bool:
        return Role.OPERATOR in self.roles or not self.roles.isdisjoint(roles)

    def sees(self, account: str) -> bool:
        """No pattern covers what is not named like an account, such as the keys: only auditors and operators see it."""
        if self.sees_all:
            return True
        seen = self._seen.get(account)
        if seen is None:
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            seen = self._seen[account] = any(matches(account, pattern) for pattern in self.accounts)
        return seen

    def require_key(self) -> None:
        """Raises ``Unauthenticated``."""
        if not self.is_known:
            raise Unauthenticated("the request has no key: send Authorization: Bearer fbk_...")

    def check(self, roles: Roles, account: str | None = None) -> None:
        """Raises ``Unauthenticated``, ``AccountHidden`` or ``Forbidden``: an account that is not seen does not exist,
        whatever else the key may do."""
        self.require_key()
        if account is not None and not self.sees(account):
            raise AccountHidden(account)
        if not self.may(roles):
            raise Forbidden(f"this needs the role {' or '.join(sorted({Role.OPERATOR, *roles}))}")

    def metadata_of(self, on_behalf_of: str | None, correlation_id: str | None) -> Metadata:
        """Of commands that say for whom they are sent, or what they belong to. Raises ``Forbidden`` if somebody else
        than an operator names whom."""
        if on_behalf_of is None and correlation_id is None:
            return self.metadata
        if on_behalf_of is not None and not self.is_operator:
            raise Forbidden("X-Actor says on whose behalf an operator asks; the actor is the key's name")
        if self.name is None:  # There are no keys, and so nobody else to name.
            return Metadata(actor=on_behalf_of, correlation_id=correlation_id)
        return Metadata(actor=self.name, on_behalf_of=on_behalf_of, correlation_id=correlation_id)


def check_command(principal: Principal, command: Command) -> None:
    """Raises what ``Principal.check`` does. One rule for every way in, whatever carried the command."""
    principal.check(roles_of(type(command)), command.aggregate_id)


@cache
def roles_of(command: type[Command]) -> Roles:
    """Who may send a command, beside operators; nobody, if it has no declaration."""
    return frozenset() if command.declaration is None else frozenset({Role(command.declaration.role)})


UNKNOWN = Principal(None, None, frozenset(), (), is_known=False)
"""Who showed no key."""

ANYONE = Principal(None, None, frozenset({Role.OPERATOR}), (EVERY_ACCOUNT,))
"""Who sends a request to an engine that is open to all."""
