"""The transport over RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType

from aio_pika.abc import AbstractConnection

from foldbook.market.feeds.told import Source
from foldbook.messaging.amqp_commands import ANSWER_S, AmqpCommands
from foldbook.messaging.amqp_market import AmqpSource
from foldbook.messaging.connection import RabbitLink
from foldbook.messaging.consuming import Consumer
from foldbook.messaging.topology import EVENTS, word


class AmqpHints:
    """Calls ``hint`` when the relay has published an event of ``account``. One that waits is enough."""

    def __init__(self, url: str, account: str, hint: Callable[[], None]) -> None:
        self._link = RabbitLink("the hints", url, self._listen)
        self._key = ".".join(("*", *map(word, account.split("/")), "*"))
        self._hint = hint

    async def start(self) -> None:
        await self._link.start()

    async def stop(self) -> None:
        await self._link.stop()

    async def _listen(self, connection: AbstractConnection) -> None:
        async with connection.channel(publisher_confirms=False) as channel:
            exchange = await channel.declare_exchange(EVENTS, "topic", durable=True)
            queue = await channel.declare_queue(
                exclusive=True, auto_delete=True, arguments={"x-max-length": 1, "x-overflow": "drop-head"}
            )
            await queue.bind(exchange, self._key)
            consumer = await Consumer.open_on(connection, queue.name, lambda _: self._hint())
            await consumer.start()
            self._link.is_well()
            self._hint()
            await consumer.ended()


class AmqpTransport:
    """``venue``: whose market data it is; None: of all."""

    def __init__(
        self, url: str, key: str | None, shard_count: int, venue: str | None, *, answer_s: float = ANSWER_S
    ) -> None:
        self.commands = AmqpCommands(url, key, shard_count, answer_s=answer_s)
        self._url = url
        self._venue = venue
        self._hints: list[AmqpHints] = []
        self._stack = AsyncExitStack()

    def market(self, symbols: Sequence[str]) -> Source:
        return AmqpSource(self._url, symbols, self._venue)

    def listen(self, account: str, hint: Callable[[], None]) -> None:
        self._hints.append(AmqpHints(self._url, account, hint))

    async def __aenter__(self) -> AmqpTransport:
        await self._stack.enter_async_context(self.commands)
        for hints in self._hints:
            await hints.start()
            self._stack.push_async_callback(hints.stop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()
