"""What a request's headers say about its commands."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from litestar.params import HeaderParameter
from uuid_utils.compat import uuid7

from foldbook.access.principal import Principal
from foldbook.api.gate import refuse_keys
from foldbook.api.problems import Problem
from foldbook.eventstore.events import Metadata
from foldbook.wire.requests import Headers

_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ENTITY_TAG = re.compile(r'"(0|[1-9][0-9]{0,17})"')


_UUID_SCHEMA = {"type": "string", "format": "uuid", "pattern": f"^{_UUID.pattern}$"}
_TAG_SCHEMA = {"type": "string", "pattern": f"^{_ENTITY_TAG.pattern}$", "examples": ['"7"']}
_TEXT_SCHEMA = {"type": "string", "pattern": "^[!-~]([ -~]{0,126}[!-~])?$"}
"""UTF-8 is read, too; but not every client can send it."""


class RequestHeader(NamedTuple):
    """A header of a command, for its documentation."""

    name: str
    description: str
    schema: dict[str, Any]


IDEMPOTENCY_KEY = RequestHeader("Idempotency-Key", "The command id, a UUID. It makes a retry safe.", _UUID_SCHEMA)
IF_MATCH = RequestHeader("If-Match", "The aggregate's sequence that the command is based on, in quotes.", _TAG_SCHEMA)
ON_BEHALF_OF = RequestHeader(
    "X-Actor", "On whose behalf an operator asks. The actor itself is the key's name.", _TEXT_SCHEMA
)
CORRELATION_ID = RequestHeader("X-Correlation-Id", "What the command belongs to.", _TEXT_SCHEMA)
HEADERS = (IDEMPOTENCY_KEY, IF_MATCH, ON_BEHALF_OF, CORRELATION_ID)


OnBehalfOf = Annotated[str | None, HeaderParameter(name=ON_BEHALF_OF.name, description=ON_BEHALF_OF.description)]
"""The header as a route declares it, for its documentation; ``metadata_of`` reads it."""


IdempotencyKey = Annotated[
    str | None, HeaderParameter(name=IDEMPOTENCY_KEY.name, description=IDEMPOTENCY_KEY.description)
]


class Envelope(NamedTuple):
    command_id: UUID
    metadata: Metadata
    expected_sequence: int | None


def envelope_of(headers: Headers, principal: Principal) -> Envelope:
    """Raises ``Problem`` naming the header that cannot be read, and what ``metadata_of`` raises."""
    key = headers.get(b"idempotency-key")
    tag = headers.get(b"if-match")
    return Envelope(
        uuid7() if key is None else _command_id(key),
        metadata_of(headers, principal),
        None if tag is None else _expected_sequence(tag),
    )


def metadata_of(headers: Headers, principal: Principal) -> Metadata:
    """Who asked for it, and what it belongs to. Raises ``Problem`` naming the header that cannot be read, and what
    ``Principal.metadata_of`` does."""
    on_behalf_of = _text(ON_BEHALF_OF, headers.get(b"x-actor"))
    return principal.metadata_of(on_behalf_of, _text(CORRELATION_ID, headers.get(b"x-correlation-id")))


def asked_by(metadata: Metadata) -> str | None:
    """The actor, and for whom, in one text."""
    if metadata.on_behalf_of is None:
        return metadata.actor
    return f"{metadata.actor} for {metadata.on_behalf_of}"


def command_id_of(idempotency_key: str | None) -> UUID:
    """The id of a command that a route makes. Raises ``Problem``."""
    return uuid7() if idempotency_key is None else _command_id(idempotency_key.encode("latin-1", "replace"))


def _command_id(text: bytes) -> UUID:
    decoded = text.decode("latin-1")
    if not _UUID.fullmatch(decoded):
        raise _bad(IDEMPOTENCY_KEY, "must be a UUID")
    return UUID(decoded)


def _expected_sequence(text: bytes) -> int:
    if (tag := _ENTITY_TAG.fullmatch(text.decode("latin-1"))) is None:
        raise _bad(IF_MATCH, 'must be one sequence in quotes, such as "7"')
    return int(tag[1])


def _text(header: RequestHeader, value: bytes | None) -> str | None:
    if value is None:
        return None
    refuse_keys(value, f"header {header.name}")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise _bad(header, "must be UTF-8") from None
    if not _TEXT.fullmatch(text):
        raise _bad(header, "must be 1 to 128 characters without control characters")
    return text


def _bad(header: RequestHeader, what: str) -> Problem:
    return Problem("malformed", f"{header.name} {what}", field=header.name)
