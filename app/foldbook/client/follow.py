"""Follows the log of an engine: each event once, in order, for as long as one wants.

The checkpoint is the id of the last event. A connection that is lost is opened again after it, so nothing is missed and
nothing comes twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec

from foldbook.client.server_sent import Message, Parser
from foldbook.errors import FoldbookError, LogChanged
from foldbook.eventstore.backoff import Backoff
from foldbook.problems import code_of

SILENT_MAX_S = 45.0
"""Three of the engine's comments did not come: the connection is dead."""
CONNECT_TIMEOUT_S = 10.0
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.1, 5.0

_TRANSIENT = (408, 425, 429)
_LOST = (aiohttp.ClientError, OSError, TimeoutError)

logger = logging.getLogger(__name__)


class StreamError(FoldbookError, code="stream-refused", title="The engine refuses the stream"):
    """It would refuse it again: the address, the key or the checkpoint is wrong, or the log is another one."""


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the log. ``document``: the JSON that ``GET /events`` has of it."""

    shard: int
    position: int
    type: str
    document: bytes

    @property
    def id(self) -> str:
        """The checkpoint after it."""
        return f"{self.shard}:{self.position}"

    def decoded(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.document)
        return decoded


async def follow(
    url: str,
    key: str | None = None,
    *,
    after: str | None = None,
    account: str | None = None,
    type: str | None = None,  # noqa: A002 - the name it has in the interface
    caught_up: Callable[[str], None] | None = None,
) -> AsyncGenerator[StreamEvent, None]:
    """The events after a checkpoint, ``<shard>:<position>``, then those that come. ``after`` None: from the beginning;
    ``now``: only those that come.

    ``caught_up`` is called with the checkpoint whenever the present is reached. Raises ``StreamError``, and
    ``LogChanged`` if the log does not have what was told, as after a failover to a replica that lagged behind.
    """
    stream = _Stream(url, key, after, {"account": account, "type": type}, caught_up)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENT_MAX_S)
    backoff = Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
    is_lost = False
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            why = "the engine ended it"
            try:
                async with aclosing(stream.connection(session)) as events:
                    async for event in events:
                        if is_lost:
                            logger.info("the stream of events is there again, after %s", stream.checkpoint)
                        is_lost = False
                        backoff.reset()
                        if event is not None:
                            yield event
            except _LOST as error:
                why = str(error) or error.__class__.__name__
            if not is_lost:
                logger.warning("the stream of events is lost after %s, and tried again: %s", stream.checkpoint, why)
            is_lost = True
            await asyncio.sleep(backoff.next_s())


class _Stream:
    """What is kept from one connection to the next."""

    def __init__(
        self,
        url: str,
        key: str | None,
        after: str | None,
        filters: dict[str, str | None],
        caught_up: Callable[[str], None] | None,
    ) -> None:
        self._url = f"{url.rstrip('/')}/stream/events"
        self._headers = {"Accept": "text/event-stream"} | ({} if key is None else {"Authorization": f"Bearer {key}"})
        self._parameters = {"seals": "true"} | {name: text for name, text in filters.items() if text is not None}
        self._caught_up = caught_up
        self.checkpoint = after
        self._log_id: str | None = None
        self._position = -1
        self._sealed: tuple[str, int, str] | None = None
        """A checkpoint that was told with the hash of its commit, and its position."""

    async def connection(self, session: aiohttp.ClientSession) -> AsyncGenerator[StreamEvent | None, None]:
        """What one connection brings; None: something that is no event."""
        given = self._parameters | self._begin()
        async with session.get(self._url, params=given, headers=self._headers, allow_redirects=False) as response:
            if response.status != 200:
                await _refused(response)
            parser = Parser()
            while piece := await response.content.readany():
                for message in parser.feed(piece):
                    yield self._read(message)

    def _begin(self) -> dict[str, str]:
        """Where to begin. After the last seal if there was one: so the engine notices if the log is another one."""
        if self._sealed is not None:
            after, _, hash_ = self._sealed
            return {"after": after, "hash": hash_}
        return {} if self.checkpoint is None else {"after": self.checkpoint}

    def _read(self, message: Message) -> StreamEvent | None:
        if message.event == "log":
            self._check_log(msgspec.json.decode(message.data)["log_id"])
        elif message.event == "caught-up" and self._caught_up is not None:
            self._caught_up(message.id)
        shard, _, position = message.id.partition(":")
        if message.id and int(position) >= self._position:
            self.checkpoint = message.id
        if message.event == "sealed":
            self._sealed = (message.id, int(position), msgspec.json.decode(message.data)["hash"])
        if not message.data or message.event in ("log", "caught-up", "sealed"):
            return None
        if int(position) <= self._position:
            if self._sealed is not None and int(position) > self._sealed[1]:
                return None  # After the seal, and told before the connection was lost.
            raise StreamError(f"the engine told {message.id} after {shard}:{self._position}")
        self._position = int(position)
        return StreamEvent(shard=int(shard), position=self._position, type=message.event, document=message.data)

    def _check_log(self, log_id: str) -> None:
        if self._log_id not in (None, log_id):
            raise StreamError(f"the log is another one: {log_id}, and it was {self._log_id}")
        self._log_id = log_id


async def _refused(response: aiohttp.ClientResponse) -> None:
    """Raises ``StreamError``, or one of ``_LOST`` if it may be answered otherwise later."""
    text = await response.text()
    if response.status >= 500 or response.status in _TRANSIENT:
        raise aiohttp.ClientPayloadError(f"status {response.status}: {text[:200]}")
    code = None
    try:
        problem = msgspec.json.decode(text)
        detail, code = problem["detail"], code_of(str(problem.get("type", "")))
    except (msgspec.DecodeError, KeyError, TypeError):
        detail = text[:200]
    if code == LogChanged.code:
        raise LogChanged(detail)
    raise StreamError(f"{response.status}: {detail}")
