"""What a service needs to run apart from the engine: one port, and two ways to be connected.

Commands go out and their results come back, market data comes in, and a hint says that the log has something new of an
account. What that is, the service reads from the log itself: it has a database URL, and polls. So a hint that is lost
costs half a second and nothing else. Market data goes out by a ``Sink`` (``foldbook.market.feeds.told``).

``local`` connects to an engine on the same machine, ``amqp`` over RabbitMQ. Both pass one suite of tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol

from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import NO_METADATA, Command, Metadata
from foldbook.market.feeds.told import Source


class Commands(Protocol):
    """Takes commands, as ``CommandBus`` does: the future has the result once that is durable, or raises ``Refusal``,
    ``IdempotencyConflict``, ``Overloaded`` or ``StoreUnavailable``; ``submit`` itself may raise ``Overloaded``.

    Over a transport it may also raise ``CommandFailed``. The actor is then not ``metadata.actor``, but the name of the
    key that the transport shows, and only an operator's key may say ``on_behalf_of`` whom it asks.
    """

    def submit(
        self, command: Command, *, metadata: Metadata = NO_METADATA, expected_sequence: int | None = None
    ) -> asyncio.Future[CommandResult]: ...

    async def execute(
        self, command: Command, *, metadata: Metadata = NO_METADATA, expected_sequence: int | None = None
    ) -> CommandResult: ...


class Transport(Protocol):
    """Connected between ``__aenter__`` and ``__aexit__``. It connects again whenever it has to."""

    @property
    def commands(self) -> Commands: ...

    def market(self, symbols: Sequence[str]) -> Source:
        """The market data of these symbols; none: of all."""
        ...

    def listen(self, account: str, hint: Callable[[], None]) -> None:
        """Call ``hint`` when the log may have something new of the account. Call this before ``__aenter__``."""
        ...

    async def __aenter__(self) -> Transport: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
