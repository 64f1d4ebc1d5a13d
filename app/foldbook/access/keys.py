"""What a key looks like, and what is kept of it.

A key is ``fbk_<id>_<secret>``: the id is no secret, the secret is 256 random bits. Only the SHA-256 of the whole is
kept. A password hash would make a guess dearer, but nobody guesses 256 bits.
"""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

from foldbook.access.roles import Unauthenticated

SECRET_BYTES = 32

KEY_ID = r"[0-9a-f]{12}"
_KEY = re.compile(rf"fbk_{KEY_ID}_[0-9a-f]{{64}}")
_BEARER = re.compile(r"[Bb]earer +(\S{1,200}) *")
_KEY_IN = re.compile(_KEY.pattern.encode())


def key_id_of(command_id: UUID) -> str:
    """The id of the key that a command issues: the same if the command is sent again."""
    return command_id.hex[-12:]


def key_of(key_id: str, secret: bytes) -> str:
    return f"fbk_{key_id}_{secret.hex()}"


def is_key_id(text: str) -> bool:
    return re.fullmatch(KEY_ID, text) is not None


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def holds_key(text: bytes) -> bool:
    """Does a key stand in the text? Where it may be recorded or shown, it must not."""
    return b"fbk_" in text and _KEY_IN.search(text) is not None


def without_keys(text: bytes) -> bytes:
    return _KEY_IN.sub(b"fbk_***", text) if b"fbk_" in text else text


def shown_in(authorization: str) -> str:
    """The key in a header Authorization (RFC 6750, 2.1). Raises ``Unauthenticated``."""
    if (found := _BEARER.fullmatch(authorization)) is None:
        raise Unauthenticated("the Authorization header must be: Bearer fbk_...")
    return found[1]


def digest_of(key: str) -> str:
    """What is kept, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()
