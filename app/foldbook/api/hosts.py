"""Which hosts are ours, and from where a page may call.

A page of any site can make a browser send requests to this machine, and a name that its owner points at 127.0.0.1 (DNS
rebinding) makes them look local. So the Host header must name one of ours, and a request that a page makes must come
from a page of the same origin (Fetch standard, 3.2 and 3.3).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable

from foldbook.api.problems import Problem
from foldbook.errors import register
from foldbook.wire.requests import RequestRefused

register(
    {
        "wrong-host": (421, "The Host header does not name this engine"),
        "foreign-origin": (403, "The request comes from a page of another origin"),
    }
)

LOCAL = ("localhost", "127.0.0.1", "::1")

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_KNOWN_MAX = 100


def hosts_of(address: str, allowed: Iterable[str] = ()) -> frozenset[str]:
    """``address``: what the API listens on; ``allowed``: what else it is called."""
    listens = {address, *((socket.gethostname(),) if address in ("0.0.0.0", "::") else ())}  # noqa: S104
    return frozenset(
        name.strip().strip("[]").rstrip(".").lower() for name in (*LOCAL, *listens, *allowed) if name.strip()
    )


class Hosts:
    """``names``: ours, without a port."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._known: set[bytes] = set()
        """Headers that were found to be good."""

    def check(self, host: bytes | None, origin: bytes | None, site: bytes | None, mode: bytes | None) -> None:
        """``site``, ``mode``: what the browser says of the request (Sec-Fetch-Site, Sec-Fetch-Mode). Raises
        ``Problem``."""
        if host not in self._known:
            self._check_host(host)
        assert host is not None, "it was checked"
        if origin is not None and origin not in (b"http://" + host, b"https://" + host):
            raise Problem("foreign-origin", "the Origin header names another origin than the Host header")
        # An image or a script of another site has no Origin. A link that somebody follows does no harm.
        if site == b"cross-site" and mode != b"navigate":
            raise Problem("foreign-origin", "the browser says that the request comes from another site")

    def _check_host(self, host: bytes | None) -> None:
        text = "" if host is None else host.decode("latin-1").lower()
        found = _HOST.fullmatch(text)
        if found is None:  # RFC 9112, 3.2
            raise RequestRefused("the Host header is not a host", field="host")
        if not self._is_ours(found[1].strip("[]")):
            raise Problem("wrong-host", "the Host header does not name this engine; see FOLDBOOK_ALLOWED_HOSTS")
        if len(self._known) < _KNOWN_MAX:
            assert host is not None, "it is not empty"
            self._known.add(host)

    def _is_ours(self, name: str) -> bool:
        return name.rstrip(".") in self._names
