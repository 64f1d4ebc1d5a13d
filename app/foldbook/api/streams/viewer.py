"""Who listens to a stream, and which accounts it may see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from foldbook.api.gate import Headers
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.readers.tail.selection import Selection, View
from foldbook.trading.book import ORDER_BOOK


class Viewer(Protocol):
    """The principal of a key. ``accounts``: patterns, each segment a name or ``*``."""

    @property
    def key_id(self) -> str | None: ...

    @property
    def accounts(self) -> tuple[str, ...]: ...

    @property
    def sees_all(self) -> bool: ...

    def sees(self, account: str) -> bool: ...


Admit = Callable[[Headers], Viewer]
"""Who sends a request with these headers. Raises ``Problem`` for one that may not come in."""


class Everybody:
    """Where there are no keys, everybody sees everything."""

    key_id: str | None = None
    accounts: tuple[str, ...] = ("*/*/*",)
    sees_all = True

    def sees(self, account: str) -> bool:
        return True


def selection_of(viewer: Viewer, account: str | None, type_: str | None) -> Selection:
    """What a viewer gets of what it asks for. ``account``: one that it sees."""
    if account is not None:
        return Selection(AggregateKey(ORDER_BOOK.name, account), type_)
    if viewer.sees_all:
        return Selection(None, type_)
    if len(viewer.accounts) == 1 and "*" not in viewer.accounts[0]:
        return Selection(AggregateKey(ORDER_BOOK.name, viewer.accounts[0]), type_)
    return Selection(None, type_, View(ORDER_BOOK.name, viewer.accounts))
