"""All streams of a process: what they need, when it runs, and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

from foldbook.api.commands.calls import CountResponse
from foldbook.api.gate import Application, Gate
from foldbook.api.streams.events import EventStream
from foldbook.api.streams.market import MarketStream
from foldbook.api.streams.market_hub import MarketHub
from foldbook.api.streams.open_streams import OpenStreams
from foldbook.eventstore.readers.listener import LOG_CHANNEL, Listener
from foldbook.eventstore.readers.tail.history import History
from foldbook.eventstore.readers.tail.tail import Tail


class StreamApplications(NamedTuple):
    """What answers the calls."""

    events: Application
    market: Application
    open: OpenStreams


class Streams:
    """``tails``: one for each shard. Call ``listen`` before the listener is started."""

    def __init__(self, tails: Sequence[Tail], history: History, hub: MarketHub, open_streams: OpenStreams) -> None:
        self._tails = tails
        self._history = history
        self._hub = hub
        self.open = open_streams

    def listen(self, listener: Listener) -> None:
        for tail in self._tails:
            listener.listen(LOG_CHANNEL, tail.hint)

    async def drop_connections(self) -> None:
        await self._history.drop_connections()

    def applications(self, gate: Gate, count: CountResponse, event_types: Collection[str]) -> StreamApplications:
        """Behind ``gate``. When a key is revoked, its streams end."""
        if gate.keyring is not None:
            gate.keyring.on_change(partial(self.open.end_dead, gate.keyring.is_live))
        return StreamApplications(
            EventStream(self._tails, self._history, self.open, gate, count, event_types),
            MarketStream(self._hub, self.open, gate, count),
            self.open,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The streams can be read inside."""
        async with AsyncExitStack() as stack:
            await self._history.start()
            stack.push_async_callback(self._history.stop)
            for tail in self._tails:
                await tail.start()
                stack.push_async_callback(tail.stop)
            stack.push_async_callback(self._hub.stop)
            yield
