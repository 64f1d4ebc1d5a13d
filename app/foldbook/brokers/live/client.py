"""ccxt's client of an exchange, with what must not happen ruled out.

ccxt signs requests, counts their weight against the exchange's rate limit and knows its addresses and test system.
Only its implicit methods are used (``privatePostOrder``): they take and give what the exchange's protocol has, as text,
while the unified ones pass amounts through floats and cut them to the exchange's steps. Further:

- An exchange that answers "too many requests" (HTTP 429, 418) hears nothing until the time that it names: who goes on
  is banned for longer.
- Nothing is sent twice. ccxt does not retry unless it is told to; aiohttp sends a GET, PUT or DELETE again when a kept
  connection breaks, and follows redirects. Both are turned off.
- The exchange's own error survives. ccxt makes an exception of its text; what was said, and with which HTTP status,
  decides whether a request is refused or in doubt.
- Credentials are not shown. ccxt's errors have the URL with its signature in it, and its debug log the headers, too.
  Its logger is silent, and none of its texts leave this module.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from foldbook.brokers.live.credentials import Credentials
from foldbook.brokers.live.errors import LiveError, NotSent, Said, Unclear
from foldbook.brokers.live.settings import LiveSettings
from foldbook.market.records import ns_of

HEARTBEAT_S = 20.0
"""A WebSocket that is silent for so long is asked whether it lives; one that does not answer ends."""

FRAME_BYTES_MAX = 1 << 20
ERROR_CHARACTERS_MAX = 500

_SILENT = logging.Logger("ccxt")  # noqa: LOG001
"""Outside the tree of loggers: nothing that configures logging reaches it."""
_SILENT.disabled = True

_TOO_MUCH = (418, 429)
RETRY_AFTER_S = 60
"""If it does not say for how long."""

_LOCAL = ("127.0.0.1", "::1", "localhost")


class _Guard:
    """What ccxt's class of an exchange does otherwise here."""

    logger = _SILENT
    foldbook_clock: Callable[[], datetime]
    foldbook_wait_s: float

    def log(self, *_: object) -> None:
        """ccxt prints requests here, with their headers."""

    def nonce(self) -> int:
        """The time of a request in milliseconds, by the clock that was given."""
        return ns_of(self.foldbook_clock()) // 1_000_000

    async def throttle(self, cost: float | None = None) -> None:
        try:
            async with asyncio.timeout(self.foldbook_wait_s):
                await super().throttle(cost)  # type: ignore[misc]
        except TimeoutError:
            raise NotSent(
                f"the exchange's rate limit left no room for it within {self.foldbook_wait_s:g} s: it was not sent"
            ) from None

    def on_json_response(self, text: str) -> Any:
        """Numbers with a point stay text: no amount becomes a float."""
        return json.loads(text, parse_float=str)

    def handle_errors(
        self, status: int, reason: str, url: str, method: str, headers: Any, body: str, *rest: Any
    ) -> Any:
        try:
            return super().handle_errors(status, reason, url, method, headers, body, *rest)  # type: ignore[misc]
        except Exception as error:
            error.foldbook_said = status, rest[0], body, headers.get("Retry-After")  # type: ignore[attr-defined]
            raise


class Client:
    """One account's way to its exchange. Raises ``Said``, ``NotSent`` and ``Unclear``, and nothing that ccxt raises."""

    def __init__(
        self,
        exchange: str,
        options: Mapping[str, Any],
        settings: LiveSettings,
        credentials: Credentials,
        clock: Callable[[], datetime],
    ) -> None:
        self._credentials = credentials
        self._request_s = settings.request_s
        self._clock = clock
        self._quiet_until: datetime | None = None
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self._ccxt: Any = _class_of(exchange)(
            {
                "apiKey": credentials.key,
                "secret": credentials.secret,
                "session": None,  # It is ours, and is opened with the first request.
                "enableRateLimit": True,
                # By default ccxt spaces requests evenly: an order would wait for a dear question before it.
                "rateLimiterAlgorithm": "rollingWindow",
                "timeout": int(settings.request_s * 1000),
                "options": {"maxRetriesOnFailure": 0, "adjustForTimeDifference": False, **options},
            }
        )
        self._ccxt.ssl_context = _ssl_context()
        self._ccxt.foldbook_clock = clock
        self._ccxt.foldbook_wait_s = settings.rate_wait_s
        if credentials.is_sandbox:
            self._ccxt.set_sandbox_mode(True)

    def __repr__(self) -> str:
        return f"Client({self._ccxt.id})"

    @property
    def urls(self) -> dict[str, Any]:
        """Where ccxt sends requests: an exchange's profile knows its names."""
        urls: dict[str, Any] = self._ccxt.urls["api"]
        return urls

    def hidden_in(self, text: str) -> str:
        """The text without credentials, and not longer than a person reads."""
        return self._credentials.hidden_in(text)[:ERROR_CHARACTERS_MAX]

    async def call(self, method: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Call an implicit method of ccxt's once. The answer is decoded JSON; text is one that makes no sense."""
        if self._quiet_until is not None and self._clock() < self._quiet_until:
            raise NotSent(f"the exchange asked for silence until {self._quiet_until.isoformat()}: it was not sent")
        self._open()
        # Raised outside the handlers: a traceback must not have ccxt's errors in its context.
        try:
            answer = await getattr(self._ccxt, method)(dict(params or {}))
        except NotSent as error:
            wrong: Exception = NotSent(str(error))
        except Exception as error:  # noqa: BLE001, RUF100 - whatever it is, its text is not shown
            wrong = self._meaning(error)
        else:
            if isinstance(answer, dict | list):
                return answer
            wrong = Unclear("the exchange's answer is not JSON")
        raise wrong

    def _open(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise Unclear("the client was closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=_ssl_context(), keepalive_timeout=30)
            self._session = self._ccxt.session = aiohttp.ClientSession(middlewares=(_send_once,), connector=connector)
        return self._session

    def _meaning(self, error: Exception) -> Exception:
        said = getattr(error, "foldbook_said", None)
        if said is not None:
            status, body, text, retry_after = said
            if status in _TOO_MUCH:
                wait_s = int(retry_after) if retry_after and retry_after.isdigit() else RETRY_AFTER_S
                self._quiet_until = self._clock() + timedelta(seconds=wait_s)
            return Said(status, body, self.hidden_in(text))
        cause = error.__cause__
        name = type(error).__name__ if cause is None else f"{type(error).__name__}, {type(cause).__name__}"
        return Unclear(f"the exchange did not answer ({name})")

    def signed(self, params: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """The parameters of a request over WebSocket, with key, time and signature."""
        signed: dict[str, Any] = self._ccxt.sign_params(dict(params or {}))
        return signed

    async def connect(self, url: str) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket. Raises ``Unclear``."""
        session = self._open()
        try:
            async with asyncio.timeout(self._request_s):
                return await session.ws_connect(url, heartbeat=HEARTBEAT_S, max_msg_size=FRAME_BYTES_MAX)
        except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError) as error:
            name = type(error).__name__
        raise Unclear(f"the exchange's stream cannot be entered ({name})")

    async def close(self) -> None:
        # Without a session there is nothing that ccxt would have to close.
        self._is_closed = True
        session, self._session = self._session, None
        self._ccxt.session = None
        if session is not None:
            await session.close()


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        response = await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        # By these aiohttp would know that it may send a request again.
        raise aiohttp.ClientConnectionError(type(error).__name__) from None
    if 300 <= response.status < 400:
        response.close()
        raise aiohttp.ClientConnectionError(f"redirected with HTTP {response.status}")
    return response


def own_url(url: str, *schemes: str) -> str:
    """An address that was set instead of the exchange's. Credentials travel encrypted, but within this machine."""
    parts = urlsplit(url)
    if parts.scheme not in schemes or (not parts.scheme.endswith("s") and parts.hostname not in _LOCAL):
        raise LiveError(f"{parts.scheme}://{parts.hostname} is no address for credentials: use {schemes[-1]}")
    return url.rstrip("/")


@cache
def _class_of(exchange: str) -> Any:
    """ccxt's class of the exchange, guarded."""
    try:
        pro = importlib.import_module("ccxt.pro")
    except ImportError:
        raise LiveError("a live account needs ccxt: pip install 'foldbook[live]'") from None
    return type(f"Guarded{exchange.capitalize()}", (_Guard, getattr(pro, exchange)), {})


@cache
def _ssl_context() -> ssl.SSLContext:
    import certifi

    return ssl.create_default_context(cafile=certifi.where())
