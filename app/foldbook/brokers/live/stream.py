"""The stream of an account's reports. It reads the frames as they come: what is not read waits at the exchange."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec

from foldbook.brokers.live.profile import Profile
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.port import BrokerUnavailable, Report


class LiveStream(AsyncIterator[Report]):
    """Ends with ``BrokerUnavailable``: also with a frame that makes no sense, because nobody knows what it told."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        settings: LiveSettings,
        profile: Profile,
        is_ours: Callable[[str], bool],
        seen: Callable[[Report], None],
    ) -> None:
        self._socket = socket
        self._settings = settings
        self._profile = profile
        self._is_ours = is_ours
        self._seen = seen
        self._early: deque[Any] = deque()
        """Frames that came before the subscription was answered."""

    async def subscribe(self, subscription: str) -> None:
        """Returns when it is in force."""
        try:
            async with asyncio.timeout(self._settings.request_s):
                await self._socket.send_str(subscription)
                while True:
                    frame = await self._frame()
                    if self._profile.is_subscribed(frame):
                        return
                    self._early.append(frame)
        except TimeoutError:
            wrong = "the subscription was not answered"
        except (ValueError, aiohttp.ClientError, OSError) as error:
            wrong = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise BrokerUnavailable(f"the stream of reports cannot be entered: {wrong}")

    async def __anext__(self) -> Report:
        while True:
            frame = self._early.popleft() if self._early else await self._frame()
            try:
                report = self._profile.report(self._settings.account, frame, self._is_ours)
            except (ValueError, msgspec.MsgspecError) as error:
                wrong = str(error) if isinstance(error, ValueError) else type(error).__name__
            else:
                if report is None:
                    continue
                self._seen(report)
                return report
            raise BrokerUnavailable(f"the stream of reports has ended: {wrong}")

    async def _frame(self) -> Any:
        """The next frame, decoded."""
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise BrokerUnavailable(f"the stream of reports has ended: {message.type.name.lower()}")
        try:
            return json.loads(message.data, parse_float=str)
        except ValueError:
            pass  # Its text is of no use to anybody.
        raise BrokerUnavailable("the stream of reports has ended: a frame is not JSON")

    async def close(self) -> None:
        await self._socket.close()
