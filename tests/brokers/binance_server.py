"""A server on 127.0.0.1 that speaks Binance spot's protocol over real sockets, and misbehaves on request.

REST API v3 with HMAC signatures and the user data stream of the WebSocket API. What it does about orders is in
``binance_exchange``; here are signatures, sockets and faults.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from tests.brokers.binance_exchange import Exchange
from tests.brokers.binance_shapes import ApiError

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
"""The pair of Binance's documentation."""

REORDER_WAITS_S = 0.2
LATE_S = 0.05


@dataclass
class Faults:
    """For the next so many times; ``scope``: which requests lose_ack, lose_request, status_500, nonsense and hang
    are for."""

    lose_ack: int = 0
    lose_request: int = 0
    status_500: int = 0
    nonsense: int = 0
    hang: int = 0
    hang_ms: int = 0
    delay_ms: int = 0
    drop: int = 0
    repeat: int = 0
    reorder: int = 0
    disconnect: int = 0
    forget_dedup: int = 0
    refuse_late: int = 0
    scope: str = "any"

    def take(self, name: str, scope: str = "any") -> bool:
        left: int = getattr(self, name)
        if left <= 0 or self.scope not in ("any", scope):
            return False
        setattr(self, name, left - 1)
        return True


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    params: dict[str, str]


class BinanceServer:
    """``ahead_s``: how far its clock is ahead of the one it was given. ``is_deaf``: new streams answer no ping."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.ahead_s = 0.0
        self.is_deaf = False
        self.faults = Faults()
        self.answers: dict[str, deque[tuple[int, str, dict[str, str]]]] = {}
        self.received: list[Received] = []
        self.exchange = Exchange(lambda: clock() + timedelta(seconds=self.ahead_s), self._emit)
        self.rest_url = self.ws_url = ""
        self._subscribers: dict[web.WebSocketResponse, asyncio.Queue[str]] = {}
        self._held: str | None = None
        self._signed = {
            ("POST", "order"): ("submit", self._place),
            ("DELETE", "order"): ("cancel", self.exchange.cancel),
            ("GET", "order"): ("question", self.exchange.query),
            ("GET", "openOrders"): ("question", self.exchange.open_orders),
            ("GET", "myTrades"): ("question", self.exchange.my_trades),
            ("GET", "account"): ("question", self.exchange.account),
        }

    def answer(self, call: str, status: int, body: object, **headers: str) -> None:
        """Answer the next ``POST order``, say, with this, and do nothing. Text goes out as it is."""
        text = body if isinstance(body, str) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault(call, deque()).append((status, text, named))

    def sent(self, method: str, path: str = "order") -> list[Received]:
        """The requests that came, signed rightly or not."""
        return [each for each in self.received if (each.method, each.path) == (method, path)]

    @property
    def stream_count(self) -> int:
        return len(self._subscribers)

    # -- REST --------------------------------------------------------------------------------------------------------

    async def rest(self, request: web.Request) -> web.StreamResponse:
        method, path = request.method, request.match_info["path"]
        # What is signed is the text that was sent, not its meaning.
        raw = request.rel_url.raw_query_string if method in ("GET", "DELETE") else await request.text()
        params = dict(parse_qsl(raw))
        self.received.append(Received(method, path, params))
        scope = self._signed.get((method, path), ("question", None))[0]
        if self.faults.take("lose_request", scope):
            return _broken(request)
        prepared = self.answers.get(f"{method} {path}")
        if prepared:
            status, text, headers = prepared.popleft()
            return web.Response(status=status, text=text, headers={"Content-Type": "application/json"} | headers)
        status, body = self._answer(method, path, raw, params, request.headers.get("X-MBX-APIKEY"))
        return await self._misbehave(request, scope, status, body)

    async def _misbehave(self, request: web.Request, scope: str, status: int, body: Any) -> web.StreamResponse:
        faults = self.faults
        if faults.take("hang", scope):
            await asyncio.sleep(faults.hang_ms / 1000)
        if faults.delay_ms:
            await asyncio.sleep(faults.delay_ms / 1000)
        if faults.take("lose_ack", scope):
            return _broken(request)
        if faults.take("status_500", scope):
            return web.Response(status=500, text="<html>Internal Server Error</html>", content_type="text/html")
        if faults.take("nonsense", scope):
            return web.Response(text="%$ moo", content_type="text/plain")
        return web.json_response(body, status=status, headers={"X-MBX-USED-WEIGHT-1M": "1"})

    def _answer(self, method: str, path: str, raw: str, params: dict[str, str], key: str | None) -> tuple[int, Any]:
        if (method, path) == ("GET", "time"):
            return 200, {"serverTime": self.exchange.now_ms()}
        if (method, path) == ("GET", "exchangeInfo"):
            return 200, self.exchange.exchange_info()
        known = self._signed.get((method, path))
        if known is None:
            return 404, {"code": -1002, "msg": "no such endpoint"}
        try:
            payload, _, signature = raw.rpartition("&signature=")
            self._check(payload, signature, params, key)
            return 200, known[1](params)
        except ApiError as error:
            return error.status, error.body

    def _place(self, params: dict[str, str]) -> dict[str, Any]:
        if self.faults.take("refuse_late"):
            answer, reject = self.exchange.place_doomed(params)
            asyncio.get_running_loop().call_later(LATE_S, reject)
            return answer
        return self.exchange.place(params, forgets=self.faults.take("forget_dedup"))

    def _check(self, payload: str, signature: str, params: dict[str, Any], key: str | None) -> None:
        if key != KEY:
            raise ApiError(401, -2015, "Invalid API-key, IP, or permissions for action.")
        timestamp, window = int(params["timestamp"]), int(params.get("recvWindow", 5000))
        now_ms = self.exchange.now_ms()
        if timestamp >= now_ms + 1000:
            raise ApiError(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now_ms - timestamp > window:
            raise ApiError(400, -1021, "Timestamp for this request is outside of the recvWindow.")
        wanted = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, signature):
            raise ApiError(400, -1022, "Signature for this request is not valid.")

    # -- the stream --------------------------------------------------------------------------------------------------

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=not self.is_deaf)
        await socket.prepare(request)
        sender: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                if message.type is WSMsgType.PING:
                    continue  # It is deaf: as if the machine had lost its network.
                call = json.loads(message.data)
                answer = self._subscribe(call)
                await socket.send_json({"id": call["id"]} | answer)
                if answer["status"] == 200:
                    queue: asyncio.Queue[str] = asyncio.Queue()
                    self._subscribers[socket] = queue
                    sender = asyncio.create_task(self._send_all(socket, queue))
        finally:
            self._subscribers.pop(socket, None)
            if sender is not None:
                sender.cancel()
        return socket

    def _subscribe(self, call: dict[str, Any]) -> dict[str, Any]:
        params = dict(call["params"])
        signature = params.pop("signature", "")
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        try:
            self._check(payload, signature, params, params.get("apiKey"))
        except ApiError as error:
            return {"status": error.status, "error": error.body}
        if call["method"] != "userDataStream.subscribe.signature":
            return {"status": 400, "error": {"code": -1020, "msg": "This operation is not supported."}}
        return {"status": 200, "result": {"subscriptionId": 0}}

    async def _send_all(self, socket: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:
        while True:
            frame = await queue.get()
            if self.faults.delay_ms:
                await asyncio.sleep(self.faults.delay_ms / 1000)
            if not frame:
                await socket.close()
                return
            await socket.send_str(frame)

    def tell(self, event: dict[str, Any]) -> None:
        """Send an event to all streams as it is."""
        self._put(json.dumps({"subscriptionId": 0, "event": event}))

    def _emit(self, event: dict[str, Any]) -> None:
        frame = json.dumps({"subscriptionId": 0, "event": event})
        if self.faults.take("disconnect"):
            self._put("")
        elif self.faults.take("drop"):
            pass
        elif self.faults.take("reorder"):
            self._held = frame
            asyncio.get_running_loop().call_later(REORDER_WAITS_S, self._release)
        else:
            self._put(frame)
            if self.faults.take("repeat"):
                self._put(frame)
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            self._put(self._held)
            self._held = None

    def _put(self, frame: str) -> None:
        """An empty frame closes the stream."""
        for queue in self._subscribers.values():
            queue.put_nowait(frame)

    async def close_streams(self) -> None:
        for socket in list(self._subscribers):
            await socket.close()


def _broken(request: web.Request) -> web.Response:
    """The connection ends without an answer."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


@asynccontextmanager
async def binance_server(clock: Callable[[], datetime]) -> AsyncIterator[BinanceServer]:
    server = BinanceServer(clock)
    app = web.Application()
    app.router.add_route("*", "/api/v3/{path:.+}", server.rest)
    app.router.add_get("/ws-api/v3", server.stream)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.rest_url, server.ws_url = f"http://{host}:{port}", f"ws://{host}:{port}/ws-api/v3"
    try:
        yield server
    finally:
        await server.close_streams()
        await runner.cleanup()
