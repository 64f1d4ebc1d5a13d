"""The credentials of an account at an exchange: from the environment, or from a file that only its owner can read.

They are held by an object that shows nothing of them, and go nowhere but into the signature of a request.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foldbook.brokers.live.errors import LiveError

PREFIX = "FOLDBOOK_LIVE_"
FILE_VARIABLE = "FOLDBOOK_LIVE_CREDENTIALS"
HIDDEN = "***"

_PLAIN = re.compile(r"[a-z0-9_]+\Z")
_MEMBERS = {"key", "secret", "sandbox"}


class Credentials:
    """``key`` and ``secret`` of an account. ``is_sandbox``: they are those of the exchange's test system."""

    __slots__ = ("is_sandbox", "key", "secret")

    def __init__(self, key: str, secret: str, *, is_sandbox: bool = False) -> None:
        self.key = key
        self.secret = secret
        self.is_sandbox = is_sandbox

    def __repr__(self) -> str:
        return f"Credentials({HIDDEN}, is_sandbox={self.is_sandbox})"

    def __reduce__(self) -> str:
        raise TypeError("credentials are not to be stored")

    def hidden_in(self, text: str) -> str:
        """The text without them, and without signatures."""
        for secret in (self.secret, self.key):
            text = text.replace(secret, HIDDEN)
        return _SIGNATURE.sub(rf"\1{HIDDEN}", text)


_SIGNATURE = re.compile(r"(signature[\"']?\s*[=:]\s*[\"']?)[A-Za-z0-9%+/=_-]+", re.IGNORECASE)


def tables_of(environment: Mapping[str, str]) -> Mapping[str, Any] | None:
    """What is in the file that the environment names, for a process that can't read it later. None: there is no such
    file, or it is not as it should be, which ``credentials_of`` says."""
    try:
        return _read(Path(environment[FILE_VARIABLE]))
    except (KeyError, LiveError):
        return None


def credentials_of(
    account: str, environment: Mapping[str, str], tables: Mapping[str, Any] | None = None
) -> Credentials:
    """The credentials of an account such as ``alice/binance/live``.

    ``FOLDBOOK_LIVE_BINANCE_ALICE_KEY`` and ``..._SECRET``, and ``..._SANDBOX`` (``true`` or ``false``), if user and
    exchange are of lower-case letters, digits and ``_`` alone: two accounts must never share a variable. Else, and for
    who does not want secrets in the environment, the table of the account in the TOML file that
    ``FOLDBOOK_LIVE_CREDENTIALS`` names, with ``key``, ``secret`` and ``sandbox``. ``tables``: what was read from that
    file before. Raises ``LiveError``.
    """
    user, exchange, _ = account.split("/")
    if _PLAIN.match(user) and _PLAIN.match(exchange):
        stem = f"{PREFIX}{exchange}_{user}_".upper()
        given = {name: environment[stem + name.upper()] for name in _MEMBERS if stem + name.upper() in environment}
        if given:
            return _credentials(given | {"sandbox": _flag(stem, given.get("sandbox", "false"))}, f"{stem}*")
        advice = f"set {stem}KEY and {stem}SECRET, or {FILE_VARIABLE}"
    else:
        advice = f"its name fits no variable: set {FILE_VARIABLE}"
    path = environment.get(FILE_VARIABLE)
    if path is None:
        raise LiveError(f"there are no credentials of {account}: {advice}")
    table = (_read(Path(path)) if tables is None else tables).get(account)
    if not isinstance(table, dict):
        raise LiveError(f"{path} has no table [{account!r}] with the credentials of that account")
    return _credentials(table, f"the table [{account!r}] of {path}")


def _credentials(given: Mapping[str, Any], where: str) -> Credentials:
    key, secret, sandbox = given.get("key"), given.get("secret"), given.get("sandbox", False)
    is_complete = isinstance(key, str) and isinstance(secret, str) and key.strip() and secret.strip()
    if not is_complete or not isinstance(sandbox, bool) or not set(given) <= _MEMBERS:
        raise LiveError(f"{where} must have key and secret, both text, and may have sandbox, true or false")
    return Credentials(str(key).strip(), str(secret).strip(), is_sandbox=sandbox)


def _flag(stem: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise LiveError(f"{stem}SANDBOX must be true or false")
    return text == "true"


def _read(path: Path) -> dict[str, Any]:
    """The tables of the file. Nobody else may be able to read it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                raise LiveError(f"{path} holds credentials and can be read by others (mode {mode:04o}): chmod 600 it")
            text = file.read()
    except OSError as error:
        raise LiveError(f"the credentials in {path} cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(text.decode())
    except ValueError:
        pass  # Its text may quote a line of the file.
    raise LiveError(f"{path} is not valid TOML")
