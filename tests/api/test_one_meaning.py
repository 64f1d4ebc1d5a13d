"""A request that two readers could read differently is not read at all: 400, and the connection is closed.

RFC 9112 says so of most of them (2.2, 2.3, 3, 3.2, 5.1, 5.2, 6.1, 6.3, 7.1); a proxy in front, which may have read the
other meaning, is why the rest is refused, too.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import foldbook
from foldbook.api.commands.envelope import HEADERS
from foldbook.wire.requests import ONCE
from tests.api.conftest import AT, Engine, order
from tests.api.test_connections import GET, answer, connected

pytestmark = pytest.mark.asyncio(loop_scope="module")

PACKAGE = Path(next(iter(foldbook.__path__)))
KEY = "00000000-0000-4000-8000-00000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(shared_engine: Engine) -> Engine:
    await shared_engine.open()
    return shared_engine


@pytest_asyncio.fixture(loop_scope="module")
async def unchanged(opened: Engine) -> AsyncIterator[Engine]:
    """The log is as long as before, when the test ends."""
    before = (await opened.get("/events", limit=1))["head"]
    yield opened
    assert (await opened.get("/events", limit=1))["head"] == before


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, "Host: localhost", *headers, "", ""]).encode("latin-1")


BODY = json.dumps(order()).encode()
ORDERS = f"POST {AT}/orders HTTP/1.1"
OF_JSON = "Content-Type: application/json"


def command(*headers: str, line: str = ORDERS) -> bytes:
    """An order of the fast path."""
    return head(line, OF_JSON, f"Content-Length: {len(BODY)}", *headers) + BODY


def chunks(*headers: str, size: bytes = b"%x" % len(BODY), trailers: bytes = b"", line: str = ORDERS) -> bytes:
    """An order of the front."""
    return head(line, OF_JSON, *headers) + size + b"\r\n" + BODY + b"\r\n0\r\n" + trailers + b"\r\n"


def question(*headers: str, line: str = "GET /health/live HTTP/1.1") -> bytes:
    return head(line, *headers)


CHUNKED = "Transfer-Encoding: chunked"
TWICE = {
    "Host": "localhost",
    "Content-Type": "application/json",
    "Idempotency-Key": KEY + "1",
    "If-Match": '"1"',
    "X-Actor": "eve",
    "X-Correlation-Id": "c",
    "Authorization": "Bearer x",
    "Origin": "http://localhost",
    "Cookie": "a=b",
    "Sec-Fetch-Site": "same-origin",
    "Expect": "100-continue",
    "Connection": "keep-alive",
    "Upgrade": "h2c",
    "Last-Event-Id": "0:1",
}
TARGETS = {
    "two slashes": f"/{AT}/orders",
    "two slashes within": AT.replace("binance/", "binance//") + "/orders",
    "two slashes at the end": f"{AT}/orders//",
    "an escaped letter": "/%61ccounts" + AT.removeprefix("/accounts") + "/orders",
    "an escaped letter of a name": AT.replace("alice", "%61lice") + "/orders",
    "an escaped dot": f"{AT}/%2e/orders",
    "a dot": f"{AT}/./orders",
    "two dots": f"{AT}/x/../orders",
    "a dot at the end": f"{AT}/orders/.",
    "absolute": f"http://localhost{AT}/orders",
    "absolute of another": f"http://evil.example{AT}/orders",
    "authority": "localhost:80",
    "asterisk": "*",
    "a fragment": f"{AT}/orders#x",
    "no slash": AT[1:] + "/orders",
    "a query alone": "?x=1",
    "not ASCII": AT.replace("alice", "\xe4lice") + "/orders",
    "a control byte": f"{AT}/orders\x01",
    "DEL": f"{AT}/orders\x7f",
    "a tab": f"{AT}/orders\tx",
    "a backslash": AT.replace("/binance", "\\binance") + "/orders",
}
VERSIONS = ("HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "HTTP/3.0", "HTTP/11.1", "http/1.1", "HTTPS/1.1", "HTTP/1.1 ", "")

RAW = {
    "no host": command().replace(b"Host: localhost\r\n", b""),
    "no host of a question": question().replace(b"Host: localhost\r\n", b""),
    "an empty host": command().replace(b"Host: localhost", b"Host: "),
    "two hosts in one": command().replace(b"Host: localhost", b"Host: localhost, evil.example"),
    "trailers": chunks(CHUNKED, trailers=b"X-Actor: eve\r\nIdempotency-Key: %b2\r\n" % KEY.encode()),
    "a trailer of a question": question(CHUNKED) + b"0\r\nX: y\r\n\r\n",
    "length and chunked": chunks(CHUNKED, f"Content-Length: {len(BODY)}"),
    "chunked and length": chunks(f"Content-Length: {len(BODY)}", CHUNKED),
    "gzip, chunked": chunks("Transfer-Encoding: gzip, chunked"),
    "chunked, gzip": chunks("Transfer-Encoding: chunked, gzip"),
    "chunked, chunked": chunks("Transfer-Encoding: chunked, chunked"),
    "chunked twice": chunks(CHUNKED, CHUNKED),
    "identity": command("Transfer-Encoding: identity"),
    "xchunked": chunks("Transfer-Encoding: xchunked"),
    "chunked with a parameter": chunks("Transfer-Encoding: chunked;q=1"),
    "chunked in quotes": chunks('Transfer-Encoding: "chunked"'),
    "an empty encoding": command("Transfer-Encoding: "),
    "chunked of HTTP/1.0": chunks(CHUNKED, line=ORDERS.replace("1.1", "1.0")),
    "two lengths": command(f"Content-Length: {len(BODY) + 1}"),
    "the same length twice": command(f"Content-Length: {len(BODY)}"),
    "two lengths in one": head(ORDERS, OF_JSON, f"Content-Length: {len(BODY)}, {len(BODY)}") + BODY,
    "a negative length": head(ORDERS, OF_JSON, "Content-Length: -1") + BODY,
    "a signed length": head(ORDERS, OF_JSON, f"Content-Length: +{len(BODY)}") + BODY,
    "a length in hexadecimal": head(ORDERS, OF_JSON, f"Content-Length: 0x{len(BODY):x}") + BODY,
    "an empty length": head(ORDERS, OF_JSON, "Content-Length: ") + BODY,
    "a length with a space": head(ORDERS, OF_JSON, "Content-Length: 1 0") + BODY,
    "an enormous length": head(ORDERS, OF_JSON, "Content-Length: 18446744073709551617") + BODY,
    "a signed chunk": chunks(CHUNKED, size=b"+%x" % len(BODY)),
    "a chunk in 0x": chunks(CHUNKED, size=b"0x%x" % len(BODY)),
    "an enormous chunk": chunks(CHUNKED, size=b"10000000000000000%x" % len(BODY)),
    "a chunk with a space": chunks(CHUNKED, size=b" %x" % len(BODY)),
    "a chunk that ends with a bare LF": chunks(CHUNKED).replace(b"\r\n" + BODY, b"\n" + BODY),
    "chunk data without an end": chunks(CHUNKED).replace(BODY + b"\r\n", BODY),
    "a folded header": command("X-A: a\r\n b"),
    "a header folded with a tab": command("X-Correlation-Id: a\r\n\tb"),
    "a fold before the first header": command().replace(b"Host", b" Host"),
    "a space before the colon": command("X-Actor : eve"),
    "a tab before the colon": command("X-Actor\t: eve"),
    "a space in a name": command("X Actor: eve"),
    "a header without a colon": command("X-Actor"),
    "a header without a name": command(": eve"),
    "NUL in a value": command("X-Correlation-Id: a\x00b"),
    "a control byte in a value": command("X-A: a\x01b"),
    "DEL in a value": command("X-A: a\x7fb"),
    "a bare CR in a value": command("X-A: a\rX-Actor: eve"),
    "a bare LF between headers": command("X-A: a\nX-Actor: eve"),
    "a name that is not ASCII": command("X-\xe4: a"),
    "bare LF everywhere": command().replace(b"\r\n", b"\n"),
    "bare CR everywhere": command().replace(b"\r\n", b"\r"),
    "a bare CR after the request line": command().replace(b"1.1\r\n", b"1.1\r"),
    "a tab in the request line": command(line=ORDERS.replace("POST ", "POST\t")),
    "a space before the request line": b" " + command(),
    "a method in lower case": command(line=ORDERS.replace("POST", "post")),
    "a method nobody knows": command(line=ORDERS.replace("POST", "PSOT")),
    "CONNECT": question(line="CONNECT localhost:80 HTTP/1.1"),
    "CONNECT of a path": question(line="CONNECT /health/live HTTP/1.1"),
    "PRI": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another expectation": command("Expect: 200-ok"),
    "an upgrade of what has a body": command("Connection: Upgrade", "Upgrade: websocket"),
    "an upgrade to HTTP/2 of what has a body": command("Connection: Upgrade", "Upgrade: h2c"),
    "an upgrade of what has chunks": chunks(CHUNKED, "Connection: Upgrade", "Upgrade: h2c"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    **{f"{name} twice": command(f"{name}: {value}", f"{name}: {value}") for name, value in TWICE.items()},
    **{
        f"{name} twice of a question": question(f"{name}: {value}", f"{name.upper()}: {value}")
        for name, value in TWICE.items()
    },
    **{f"target: {name}": command(line=f"POST {target} HTTP/1.1") for name, target in TARGETS.items()},
    **{
        f"target of chunks: {name}": chunks(CHUNKED, line=f"POST {target} HTTP/1.1") for name, target in TARGETS.items()
    },
    **{f"version {version!r}": command(line=f"POST {AT}/orders {version}") for version in VERSIONS},
    **{f"version {version!r} of a question": question(line=f"GET /health/live {version}") for version in VERSIONS},
    "target of a question: two slashes": question(line="GET //admin/projections HTTP/1.1"),
    "target of a question: an escaped letter": question(line="GET /%61dmin/projections HTTP/1.1"),
    "target of a question: absolute": question(line="GET http://localhost/admin/projections HTTP/1.1"),
}


@pytest.mark.parametrize("what", RAW)
async def test_what_could_mean_two_things_is_400(unchanged: Engine, what: str) -> None:
    async with connected(unchanged) as (reader, writer):
        writer.write(RAW[what] + GET)
        status, headers, body = await answer(reader)
        assert (status, headers.get("connection")) == (400, "close"), body
        assert json.loads(body)["type"] == "urn:foldbook:problem:malformed"
        assert await asyncio.wait_for(reader.read(), 30) == b"", "nothing that came after it is read"


async def test_what_the_engine_reads_may_be_given_once() -> None:
    read = re.compile(r'\.get\(b"([a-z-]+)"|b"([a-z-]+)" (?:not )?in headers|_ID = b"([a-z-]+)"')
    folders = ("api", "wire")
    text = "".join(path.read_text() for folder in folders for path in (PACKAGE / folder).rglob("*.py"))
    names = {"".join(groups).encode() for groups in read.findall(text)}
    declared = {header.name.lower().encode() for header in HEADERS}
    assert len(names) >= 10
    assert names | declared <= ONCE
