"""What a request's headers say about its commands."""

from __future__ import annotations

import re
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from foldbook.api.gate import Headers
from foldbook.api.problems import Problem
from foldbook.eventstore.events import NO_METADATA, Metadata

_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ENTITY_TAG = re.compile(r'"(0|[1-9][0-9]{0,17})"')


class RequestHeader(NamedTuple):
    """A header of a command, for its documentation."""

    name: str
    description: str


IDEMPOTENCY_KEY = RequestHeader("Idempotency-Key", "The command id, a UUID. It makes a retry safe.")
IF_MATCH = RequestHeader("If-Match", "The aggregate's sequence that the command is based on, in quotes.")
ACTOR = RequestHeader("X-Actor", "Who asked for the command.")
CORRELATION_ID = RequestHeader("X-Correlation-Id", "What the command belongs to.")


class Envelope(NamedTuple):
    command_id: UUID
    metadata: Metadata
    expected_sequence: int | None


def envelope_of(headers: Headers) -> Envelope:
    """Raises ``Problem`` naming the header that cannot be read."""
    key = headers.get(b"idempotency-key")
    tag = headers.get(b"if-match")
    return Envelope(
        uuid7() if key is None else _command_id(key),
        metadata_of(headers),
        None if tag is None else _expected_sequence(tag),
    )


def metadata_of(headers: Headers) -> Metadata:
    """Who asked for it, and what it belongs to. Raises ``Problem`` naming the header that cannot be read."""
    actor, correlation_id = headers.get(b"x-actor"), headers.get(b"x-correlation-id")
    if actor is None and correlation_id is None:
        return NO_METADATA
    return Metadata(actor=_text(ACTOR, actor), correlation_id=_text(CORRELATION_ID, correlation_id))


def actor_of(text: str | None) -> str | None:
    """The X-Actor of a request that is not a command. Raises ``Problem``."""
    return _text(ACTOR, None if text is None else text.encode())


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
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise _bad(header, "must be UTF-8") from None
    if not _TEXT.fullmatch(text):
        raise _bad(header, "must be 1 to 128 characters without control characters")
    return text


def _bad(header: RequestHeader, what: str) -> Problem:
    return Problem("malformed", f"{header.name} {what}", field=header.name)
