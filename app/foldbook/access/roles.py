"""Roles, and the accounts for which a key has them."""

from __future__ import annotations

import re
from enum import StrEnum

from foldbook.errors import FoldbookError

SEGMENT = r"(?:\*|[A-Za-z0-9][A-Za-z0-9._:-]{0,63})"
PATTERN = rf"{SEGMENT}/{SEGMENT}/{SEGMENT}"
"""A pattern of accounts: ``user/exchange/broker``, where a star stands for any name."""

EVERY_ACCOUNT = "*/*/*"


class Role(StrEnum):
    """What a key may do, for the accounts that it has.

    Everybody but ``broker`` reads. An operator may do everything, and an auditor read everything: they have every
    account, and see what belongs to none.
    """

    TRADER = "trader"
    """Places, replaces and cancels orders."""
    RISK = "risk"
    """Sets limits, halts and resumes."""
    BROKER = "broker"
    """Tells executions, prices, instruments and adjustments."""
    READER = "reader"
    AUDITOR = "auditor"
    """Reads the whole log, verifies and exports it."""
    OPERATOR = "operator"


Roles = frozenset[Role]

NOBODY: Roles = frozenset()
"""Operators only."""
READERS: Roles = frozenset({Role.TRADER, Role.RISK, Role.READER, Role.AUDITOR})
AUDITORS: Roles = frozenset({Role.AUDITOR})
RECONCILERS: Roles = frozenset({Role.BROKER, Role.RISK})
EVERYBODY: Roles = frozenset(Role)
"""Every key."""

OF_EVERYTHING: Roles = frozenset({Role.AUDITOR, Role.OPERATOR})
"""Roles that a key has for every account, or not at all."""


class Unauthenticated(FoldbookError, code="unauthenticated", status=401, title="The request needs a valid key"):
    """No key, or one that is unknown, revoked or expired."""


class Forbidden(FoldbookError, code="forbidden", status=403, title="The key may not do this"):
    pass


class AccountHidden(FoldbookError):
    """The key may not see the account. The answer is that of an account that does not exist."""

    code = "unknown-account"

    def __init__(self, account: str) -> None:
        super().__init__(f"no order book is open for account {account}")


_PATTERN = re.compile(PATTERN)


def is_pattern(text: str) -> bool:
    return _PATTERN.fullmatch(text) is not None


def matches(account: str, pattern: str) -> bool:
    """Is the account one of the pattern's? What has not three segments is none."""
    names, wanted = account.split("/"), pattern.split("/")
    return len(names) == len(wanted) and all(want in ("*", name) for name, want in zip(names, wanted, strict=True))
