"""Sessions of browsers: a cookie in place of a key.

A page cannot keep a key safely, and an EventSource or a WebSocket cannot send one. So whoever showed a key gets a
cookie that no script can read and that no other site's page can send (``HttpOnly``, ``SameSite=Strict``). A session has
the rights of its key and is worth nothing without it. The sessions are in this process only: a restart ends them.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

from foldbook.access.principal import Principal

COOKIE = "foldbook_session"
SESSION_S = 12 * 3_600.0
SESSIONS_MAX = 10_000
SESSIONS_OF_KEY_MAX = 32
"""One more ends the oldest of that key."""


class Sessions:
    """Only digests of the cookies are kept."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._sessions: dict[str, tuple[Principal, float]] = {}
        """Whose it is, and its end, by digest, in the order of their ends."""

    def begin(self, principal: Principal) -> str:
        """The cookie's value."""
        value = secrets.token_urlsafe(32)
        self._forget_ended()
        own = [digest for digest, (holder, _) in self._sessions.items() if holder is principal]
        if len(own) >= SESSIONS_OF_KEY_MAX:
            del self._sessions[own[0]]
        elif len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[_digest(value.encode())] = (principal, self._now_s() + SESSION_S)
        return value

    def end(self, cookies: bytes) -> None:
        self._sessions.pop(_digest(_value_in(cookies)), None)

    def principal_of(self, cookies: bytes) -> Principal | None:
        """``cookies``: the header of a request. None: there is no session, or it has ended."""
        principal, end_s = self._sessions.get(_digest(_value_in(cookies)), (None, 0.0))
        return principal if end_s > self._now_s() else None

    def _forget_ended(self) -> None:
        now_s = self._now_s()
        while self._sessions and next(iter(self._sessions.values()))[1] <= now_s:
            del self._sessions[next(iter(self._sessions))]


def cookie(value: str, *, is_secure: bool) -> str:
    """The Set-Cookie header; an empty value deletes the cookie."""
    lifetime = f"; Max-Age={SESSION_S:.0f}" if value else "; Max-Age=0"
    return f"{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{lifetime}" + ("; Secure" if is_secure else "")


def _value_in(cookies: bytes) -> bytes:
    """Empty: there is none, or it is given twice, and who knows which of them counts. Not by ``http.cookies``: before
    Python 3.12.6, what it takes for a value in quotes costs the square of its length (CVE-2024-7592)."""
    pairs = (pair.strip(b" \t").partition(b"=") for pair in cookies.split(b";"))
    values = [value for name, _, value in pairs if name == COOKIE.encode()]
    return values[0] if len(values) == 1 else b""


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
