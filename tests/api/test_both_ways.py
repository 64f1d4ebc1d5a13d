"""The same request is answered the same, whichever way it takes: the protocol's fast path, or through the front."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import NAMESPACE_DNS, uuid5

import pytest

from foldbook.api.commands.protocol import CommandProtocol
from foldbook.api.front import Front
from tests.api.conftest import Engine, order

KEY = {"Idempotency-Key": "KEY"}
JSON = {"Content-Type": "application/json"}
PLACED = json.dumps(order("placed")).encode()
REPORT: dict[str, Any] = {"order_id": "placed", "exec_type": "TRADE", "exec_id": "e-1", "last_qty": "1", "last_px": "1"}
HEADERS = ("content-type", "etag", "location", "allow", "retry-after")
"""Those that are compared."""


class Request(NamedTuple):
    what: str
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = JSON
    status: int = 200


def posted(what: str, path: str, body: object, status: int, headers: dict[str, str] = JSON) -> Request:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(what, "POST", path, text, headers, status)


AT = "/accounts/USER/binance/simulated"
OPEN = {"user": "USER", "exchange": "binance", "broker": "simulated"}
TOO_MUCH = b"{}".ljust((1 << 20) + 1)

REQUESTS = [
    posted("an account", "/accounts", OPEN, 201),
    posted("the account again", "/accounts", OPEN, 409),
    posted("an account of no broker", "/accounts", OPEN | {"broker": "paper"}, 422),
    posted("an order", f"{AT}/orders", PLACED, 201, JSON | KEY),
    posted("its retry", f"{AT}/orders", PLACED, 200, JSON | KEY),
    posted("its key for another", f"{AT}/orders", order("other"), 409, JSON | KEY),
    posted("its id for another", f"{AT}/orders", order("placed", quantity="9"), 409),
    posted("a bad amount", f"{AT}/orders", order(quantity="1e5"), 422),
    posted("an amount that is a number", f"{AT}/orders", order(quantity=1), 400),
    posted("a field too many", f"{AT}/orders", order(colour="red"), 400),
    posted("a key twice", f"{AT}/orders", PLACED[:-1] + b',"side":"SELL"}', 400),
    posted("a key twice, then a bad value", f"{AT}/orders", PLACED[:-1] + b',"side":"NORTH"}', 400),
    posted("a key twice, escaped", f"{AT}/orders", PLACED[:-1] + b',"\\u0073ide":"SELL"}', 400),
    posted("not JSON", f"{AT}/orders", b"{", 400),
    posted("no body", f"{AT}/orders", b"", 400),
    posted("too much", f"{AT}/orders", TOO_MUCH, 413),
    posted("another media type", f"{AT}/orders", PLACED, 415, {"Content-Type": "text/plain"}),
    posted("a charset", f"{AT}/orders", order("charset"), 201, {"Content-Type": "Application/JSON; charset=utf-8"}),
    posted("no media type", f"{AT}/orders", order("none"), 415, {}),
    posted("query parameters", f"{AT}/orders?colour=red", PLACED, 400),
    posted("a bad key", f"{AT}/orders", PLACED, 400, JSON | {"Idempotency-Key": "7"}),
    posted("a bad condition", f"{AT}/orders", PLACED, 400, JSON | {"If-Match": "7"}),
    posted("a condition that fails", f"{AT}/orders", order("late"), 412, JSON | {"If-Match": '"0"'}),
    posted("a bad actor", f"{AT}/orders", PLACED, 400, JSON | {"X-Actor": "a" * 129}),
    posted("an unknown account", "/accounts/nobody/binance/simulated/orders", PLACED, 404),
    posted("a path that cannot name an account", "/accounts/USER/binance/paper/orders", PLACED, 404),
    Request("a cancel without a body", "POST", f"{AT}/orders/placed/cancel", None, {}),
    Request("a cancel with none", "POST", f"{AT}/orders/placed/cancel", b"", {}),
    posted("a cancel with null", f"{AT}/orders/placed/cancel", b"null", 200),
    posted("a cancel with a field", f"{AT}/orders/placed/cancel", {"reason": "x"}, 400),
    posted("a cancel of nothing known", f"{AT}/orders/nothing/cancel", {}, 404),
    posted("a cancel of what cannot be an order id", f"{AT}/orders/-/cancel", {}, 404),
    posted("a replace without a body", f"{AT}/orders/placed/replace", b"", 400),
    posted("a report", f"{AT}/execution-reports", REPORT | {"raw_message": "8=FIX\u0001"}, 200),
    posted("a long raw message", f"{AT}/execution-reports", REPORT | {"raw_message": "ü" * 5000}, 422),
    posted("a bad time", f"{AT}/execution-reports", REPORT | {"occurred_at": "2026-02-30T00:00:00Z"}, 422),
    Request("a price", "PUT", f"{AT}/prices/BTC-USDT", b'{"price":"1.50"}'),
    Request("a price of what cannot be a symbol", "PUT", f"{AT}/prices/-", b'{"price":"1"}', JSON, 422),
    Request("a price of a pair", "PUT", f"{AT}/prices/BTC%2FUSDT:USDT", b'{"price":"1"}'),
    Request("a price of an option", "PUT", f"{AT}/prices/AAPL%20%20240119C00150000", b'{"price":"1"}'),
    Request("a price of an index", "PUT", f"{AT}/prices/^SPX", b'{"price":"2"}'),
    Request("the same price of the index, escaped", "PUT", f"{AT}/prices/%5eSPX", b'{"price":"2"}'),
    Request("a price of an escape twice", "PUT", f"{AT}/prices/BTC%252FUSDT", b'{"price":"1"}', JSON, 422),
    Request("a price of what ends with a space", "PUT", f"{AT}/prices/BTC%20", b'{"price":"1"}', JSON, 422),
    Request("a price of a bad escape", "PUT", f"{AT}/prices/100%", b'{"price":"1"}', JSON, 400),
    Request("a price of what is not UTF-8", "PUT", f"{AT}/prices/%FF", b'{"price":"1"}', JSON, 400),
    Request("a price of what has a fragment", "PUT", f"{AT}/prices/ES#F", b'{"price":"1"}', JSON, 400),
    Request("a price with a needless escape", "PUT", f"{AT}/prices/%45S", b'{"price":"1"}', JSON, 400),
    Request("a price at a trailing slash", "PUT", f"{AT}/prices/ES/", b'{"price":"1"}'),
    Request(
        "a price of an account with a slash", "PUT", "/accounts/US%2FER/b/live/prices/ES", b'{"price":"1"}', JSON, 404
    ),
    Request("a price of two segments in one", "PUT", "/accounts/USER%2Fbinance/simulated/prices/ES", b"{}", JSON, 404),
    Request("a cancel of an order id with a slash", "POST", f"{AT}/orders/placed%2Fcancel", b"", {}, 405),
    Request("limits", "PUT", f"{AT}/risk", b'{"max_order_rate":{"count":1000,"interval_s":2}}'),
    Request(
        "a key twice, further in",
        "PUT",
        f"{AT}/risk",
        b'{"max_order_rate":{"count":1,"interval_s":2,"count":3}}',
        JSON,
        400,
    ),
    Request("a halt without a body", "POST", f"{AT}/halt", None, {}),
    posted("a halt with a field too many", f"{AT}/halt", {"state": "ACTIVE"}, 400),
    posted("a resume", f"{AT}/resume", {"reason": "well"}, 200),
    Request("GET of what is only a command", "GET", f"{AT}/halt", None, {}, 405),
    Request("DELETE of what is both", "DELETE", f"{AT}/orders", None, {}, 405),
    Request("OPTIONS of what is both", "OPTIONS", f"{AT}/orders", None, {}, 204),
    Request("PUT of what is only a query", "PUT", f"{AT}/book", b"{}", JSON, 405),
    Request("GET of many commands", "GET", "/commands", None, {}, 405),
    posted("many commands, one a key twice", "/commands", b'{"type":"RequestCancel","type":"RequestCancel"}', 200),
    posted("many commands of another media type", "/commands", b"", 415, {"Content-Type": "text/csv"}),
    posted("many commands with one key", "/commands", b"", 400, JSON | KEY),
    posted("many commands with a parameter", "/commands?x=1", b"", 400),
    posted("nothing", f"{AT}/nothing", {}, 404),
    posted(
        "a skip of another media type", "/admin/projections/orders/skip", b"{}", 415, {"Content-Type": "text/plain"}
    ),
    posted("a skip with a key twice", "/admin/projections/orders/skip", b'{"position":1,"position":2}', 400),
    posted("a skip that is too long", "/admin/projections/orders/skip", TOO_MUCH, 413),
    posted("a reset of another media type", "/admin/projections/x/reset", b"x", 415, {"Content-Type": "text/plain"}),
]


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def plain(head: list[str], body: bytes | None) -> bytes:
    """A connection that is kept alive, a length that is known."""
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *length, "", ""]).encode() + (body or b"")


def closing(head: list[str], body: bytes | None) -> bytes:
    return plain([*head, "Connection: close"], body)


def chunked(head: list[str], body: bytes | None) -> bytes:
    """In two pieces, so that the length shows at the end."""
    text = body or b""
    pieces = [piece for piece in (text[:10], text[10:]) if piece]
    lines = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return "\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode() + lines


def key_of(user: str) -> str:
    return str(uuid5(NAMESPACE_DNS, user))


Way = Callable[[list[str], bytes | None], bytes]


async def ask(engine: Engine, way: Way, request: Request, user: str) -> Response:
    """On a connection of its own."""
    path = request.path.replace("USER", user)
    headers = [f"{name}: {value.replace('KEY', key_of(user))}" for name, value in request.headers.items()]
    head = [f"{request.method} {path} HTTP/1.1", "Host: localhost", *headers]
    body = None if request.body is None else request.body.replace(b"USER", user.encode())
    reader, writer = await asyncio.open_connection(*engine.address)
    try:
        async with asyncio.timeout(20):
            writer.write(way(head, body))
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            received = dict(line.lower().split(": ", 1) for line in lines)
            if received.get("transfer-encoding") == "chunked":
                text = await reader.readuntil(b"0\r\n\r\n")
            else:
                text = await reader.readexactly(int(received.get("content-length", "0")))
    finally:
        writer.close()
    return Response(int(first.split()[1]), received, text)


def comparable(response: Response, user: str) -> tuple[int, dict[str, str], str]:
    """Without what differs from account to account and from command to command."""
    text = response.body.decode().replace(key_of(user), "KEY").replace(user, "USER")
    try:
        document = json.loads(text)
    except ValueError:
        pass
    else:
        for name in ("command_id", "position"):
            document.pop(name, None)
        text = json.dumps(document, sort_keys=True)
    headers = {name: response.headers[name].replace(user, "USER") for name in HEADERS if name in response.headers}
    return response.status, headers, text


async def test_whichever_way_a_request_takes_it_is_answered_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: Counter[str] = Counter()
    fast, front = CommandProtocol._respond, Front._execute

    async def count_fast(self: CommandProtocol, exchange: Any) -> None:
        taken["fast"] += 1
        await fast(self, exchange)

    async def count_front(self: Front, *rest: Any) -> None:
        taken["front"] += 1
        await front(self, *rest)

    monkeypatch.setattr(CommandProtocol, "_respond", count_fast)
    monkeypatch.setattr(Front, "_execute", count_front)
    ways: dict[str, Way] = {"plain": plain, "close": closing, "chunk": chunked}
    for request in REQUESTS:
        found = {}
        for name, way in ways.items():
            response = await ask(engine, way, request, name)
            found[name] = comparable(response, name)
        assert found["plain"][0] == request.status, (request.what, found["plain"])
        assert found["plain"] == found["close"] == found["chunk"], request.what
    # The comparison is worth nothing unless both ways were taken.
    assert taken["fast"] > 30
    assert taken["front"] > 60


async def test_allow_names_every_method_of_a_path(engine: Engine) -> None:
    at = "/accounts/alice/binance/simulated"
    for path, methods in {
        f"{at}/orders": "GET, OPTIONS, POST",
        f"{at}/orders/o-1/cancel": "OPTIONS, POST",
        f"{at}/instruments/X": "GET, OPTIONS, PUT",
        f"{at}/prices/X": "OPTIONS, PUT",
        "/accounts": "OPTIONS, POST",
        "/accounts/": "OPTIONS, POST",
        "/commands": "OPTIONS, POST",
    }.items():
        for method in ("DELETE", "OPTIONS", "PATCH"):
            response = await engine.client.request(method, path)
            assert (response.status_code, response.headers["allow"]) == (
                204 if method == "OPTIONS" else 405,
                methods,
            ), path
    counted = (await engine.client.get("/metrics")).text
    template = "/accounts/{user}/{exchange}/{broker}/orders"
    assert f'foldbook_http_requests_total{{method="DELETE",path="{template}",status="405"}} 1.0' in counted


async def test_the_media_type_of_no_body_does_not_matter_to_a_question(engine: Engine) -> None:
    response = await engine.client.get("/health/live", headers={"Content-Type": "text/plain"})
    assert response.status_code == 200


async def test_the_root_says_where_to_go(engine: Engine) -> None:
    welcome = await engine.get("/")
    for name in ("docs", "openapi"):
        assert (await engine.client.get(welcome[name])).status_code == 200
    assert welcome["ready"] == "/health/ready"
    head = await engine.client.head("/")
    assert (head.status_code, head.content) == (200, b"")
