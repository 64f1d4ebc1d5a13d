"""What a request must be so that everybody who reads it reads the same.

A proxy, a firewall or a log in front of this server reads requests, too. Where two readers could differ (RFC 9112, 11.2
and 2.2, 3.2, 5, 6), the request is refused and its connection closed: what comes after it may have been meant as a part
of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from foldbook.errors import FoldbookError, register

Headers = Mapping[bytes, bytes]
"""By lower-case name."""

TARGET_BYTES_MAX = 16 << 10
"""Of the path and the query string. RFC 9112, 3: at least 8,000."""
HEAD_BYTES_MAX = 64 << 10
"""Of all headers; likewise of bytes in a row that are neither a head nor a piece of a body, as a chunk's extension."""
HEADERS_MAX = 128
PIPELINED_MAX = 64
"""Requests of a connection that were read, and not answered."""

register(
    {
        "malformed": (400, "The request cannot be read"),
        "request-timeout": (408, "The request did not arrive in time"),
        "target-too-long": (414, "The path and the query string are too long"),
        "rate-limited": (429, "The key sends too many requests"),
        "headers-too-large": (431, "The headers are too large"),
    }
)
REFUSALS = ("malformed", "request-timeout", "target-too-long", "headers-too-large", "overloaded")
"""How any request can be answered while it is being read."""


class RequestRefused(FoldbookError):
    """A request that is not answered otherwise; the connection is closed after that."""

    def __init__(self, detail: str, code: str = "malformed", **details: object) -> None:
        super().__init__(detail, **details)
        self.code = code


ONCE = frozenset(
    {
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"idempotency-key",
        b"if-match",
        b"last-event-id",
        b"origin",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
        b"x-actor",
        b"x-correlation-id",
    }
)
"""The headers that mean something here: which of two would count?"""


def headers_of(raw: Iterable[tuple[bytes, bytes]], version: str = "1.1") -> Headers:
    """Raises ``RequestRefused`` for headers that do not say one thing."""
    if not isinstance(raw, list):
        raw = list(raw)
    headers = dict(raw)
    if len(headers) < len(raw):
        _refuse_repetition(raw)
    if b"host" not in headers and version == "1.1":  # RFC 9112, 3.2
        raise _odd("host", "there is no Host header")
    if b"transfer-encoding" in headers:
        _check_coding(headers, version)
    if b"expect" in headers and headers[b"expect"].lower() != b"100-continue":
        raise _odd("expect", "the only expectation that can be met is 100-continue")
    return headers


def _refuse_repetition(raw: Iterable[tuple[bytes, bytes]]) -> None:
    seen = set()
    for name, _ in raw:
        if name in seen and name in ONCE:
            raise _odd(name.decode(), f"the header {name.decode()} is given twice")
        seen.add(name)


def _check_coding(headers: Headers, version: str) -> None:
    """RFC 9112, 6.1: a message with a length, too, ought to be handled as an error, and one of HTTP/1.0 as faulty."""
    if headers[b"transfer-encoding"].lower() != b"chunked":
        raise _odd("transfer-encoding", "the only transfer coding that is read is chunked")
    if b"content-length" in headers or version != "1.1":
        raise _odd("transfer-encoding", "a chunked body has no Content-Length, and is of HTTP/1.1")


def _odd(field: str, detail: str) -> RequestRefused:
    return RequestRefused(detail, field=field)


_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_:-][A-Za-z0-9._:-]*+)++/?")
"""A path that nothing is wrong with: most are of this kind."""
_CHARACTERS = re.compile(rb"[!\"$-\[\]-~]*+")
"""What may stand in a path: no fragment, and no backslash, which browsers take for a slash."""
_NEEDLESS = re.compile(rb"%(?:2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)
"""An escape of a letter, a digit or one of ``-._~``, which need none (RFC 3986, 2.3)."""


KNOWN_MAX = 4_096
KNOWN_BYTES_MAX = 256
_known: set[bytes] = set()
"""Targets that were found to be good: most requests have one of a few."""


def check_target(target: bytes) -> None:
    """Raises ``RequestRefused`` unless it is in origin-form (RFC 9112, 3.2.1), and its path has one spelling.

    A target in absolute-form names a second host, which would have to be checked, too; only a proxy is sent it.
    """
    if target in _known:
        return
    if len(target) <= KNOWN_BYTES_MAX and _PLAIN.fullmatch(target):
        if len(_known) < KNOWN_MAX:
            _known.add(target)
        return
    if len(target) > TARGET_BYTES_MAX:
        raise RequestRefused(f"a path and a query string have at most {TARGET_BYTES_MAX} bytes", "target-too-long")
    if not target.startswith(b"/"):
        raise RequestRefused("the request names no path: /accounts, say")
    path, _, query = target.partition(b"?")
    check_path(path)
    if b"#" in query or not query.isascii():
        raise RequestRefused("the query string has a character that it cannot have")


def check_path(path: bytes) -> None:
    """Raises ``RequestRefused`` for a path that somebody could take for another: with an empty segment, ``.``, ``..``,
    or an escaped letter."""
    if _PLAIN.fullmatch(path) or path == b"/":
        return
    if not _CHARACTERS.fullmatch(path):
        raise RequestRefused("the path has a character that it cannot have unescaped")
    if b"//" in path:
        raise RequestRefused("the path has an empty segment")
    if _NEEDLESS.search(path):
        raise RequestRefused("the path has an escaped letter, digit, or one of -._~: they are written as they are")
    if not {b".", b".."}.isdisjoint(path.split(b"/")):
        raise RequestRefused("the path has a segment . or ..")
