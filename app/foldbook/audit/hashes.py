"""The hashes of the log, computed without a database, as ``event_hash``, ``command_hash`` and ``commit_hash`` of
``sql/eventstore/log`` compute them (defined in ``sql/README.md``).

A row is hashed as a binary record of PostgreSQL: the number of its fields, then for each field its type's number, its
length (-1 for null) and its bytes. Numbers are big-endian, text is UTF-8, and JSON is as PostgreSQL prints ``jsonb``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from struct import Struct
from typing import Any

from foldbook.audit.rows import CommandRow, CommitRow, EventRow

GENESIS = sha256(b"").digest()
"""The previous hash of the first commit of a shard."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Type numbers of pg_type, which are the same in every PostgreSQL.
_BYTEA, _INT8, _INT2, _INT4, _TIMESTAMPTZ, _UUID = 17, 20, 21, 23, 1184, 2950
NUMERIC_DIGITS_MAX = 131_072
"""Before the point; after it, PostgreSQL has fewer."""
_COUNT = Struct("!i")
_FIELD = Struct("!Ii")
_FIXED = {_INT2: Struct("!Iih"), _INT4: Struct("!Iii"), _INT8: Struct("!Iiq"), _TIMESTAMPTZ: Struct("!Iiq")}
_LENGTH = {_INT2: 2, _INT4: 4, _INT8: 8, _TIMESTAMPTZ: 8}


def event_hash(row: EventRow, payload: bytes, metadata: bytes) -> bytes:
    """``payload`` and ``metadata``: the row's, as ``jsonb`` prints them."""
    return _digest(
        _number(_INT8, row.position),
        _text(row.aggregate_type),
        _text(row.aggregate_id),
        _number(_INT8, row.sequence),
        _text(row.type),
        _number(_INT2, row.schema_version),
        _text(row.subject),
        _bytes(_UUID, row.command_id.bytes),
        _bytes(_BYTEA, payload),
        _bytes(_BYTEA, metadata),
        _time(row.occurred_at),
    )


def command_hash(row: CommandRow, reason: bytes | None) -> bytes:
    """``reason``: the row's, as ``jsonb`` prints it."""
    return _digest(
        _bytes(_UUID, row.command_id.bytes),
        _text(row.aggregate_type),
        _text(row.aggregate_id),
        _text(row.type),
        _bytes(_BYTEA, bytes.fromhex(row.fingerprint)),
        _text(row.actor),
        _bytes(_BYTEA, reason),
        _number(_INT8, row.first_position),
        _number(_INT4, row.event_count),
    )


def commit_hash(row: CommitRow, row_hashes: Iterable[bytes]) -> bytes:
    """``row_hashes``: each command's and then its events', by position; then of commands without events, by id and
    hash."""
    return _digest(
        _bytes(_BYTEA, bytes.fromhex(row.previous_hash)),
        _number(_INT4, row.shard),
        _number(_INT8, row.number),
        _number(_INT8, row.first_position),
        _number(_INT8, row.last_position),
        _time(row.recorded_at),
        _bytes(_BYTEA, b"".join(row_hashes) or None),
    )


def jsonb_text(text: bytes) -> bytes:
    """JSON as PostgreSQL prints ``jsonb``: keys sorted by length and then bytewise; of equal keys the last; a space
    after each colon and comma; numbers without exponents, with all their digits.

    Raises :class:`ValueError` for what is not JSON.
    """
    value = json.loads(text, parse_int=_number_of, parse_float=_number_of, parse_constant=_refuse)
    return "".join(_print(value)).encode()


def _print(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        by_key = sorted(value.items(), key=lambda item: (len(key := item[0].encode()), key))
        yield "{"
        for index, (key, member) in enumerate(by_key):
            yield f"{', ' if index else ''}{_quoted(key)}: "
            yield from _print(member)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for index, member in enumerate(value):
            yield ", " if index else ""
            yield from _print(member)
        yield "]"
    elif isinstance(value, Decimal):
        yield f"{abs(value) if value.is_zero() else value:f}"
    elif isinstance(value, str):
        yield _quoted(value)
    else:
        yield {None: "null", True: "true", False: "false"}[value]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number_of(text: str) -> Decimal:
    """A number that ``jsonb`` can hold: a short text with an exponent must not become a long one."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("jsonb has no such number") from None
    if abs(int(number.as_tuple().exponent)) > NUMERIC_DIGITS_MAX or len(text) > 2 * NUMERIC_DIGITS_MAX:
        raise ValueError("jsonb has no such number")
    return number


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _digest(*fields: bytes) -> bytes:
    return sha256(_COUNT.pack(len(fields)) + b"".join(fields)).digest()


def _bytes(type_number: int, value: bytes | None) -> bytes:
    return _FIELD.pack(type_number, -1) if value is None else _FIELD.pack(type_number, len(value)) + value


def _text(value: str | None) -> bytes:
    return _bytes(_BYTEA, None if value is None else value.encode())


def _number(type_number: int, value: int | None) -> bytes:
    if value is None:
        return _FIELD.pack(type_number, -1)
    return _FIXED[type_number].pack(type_number, _LENGTH[type_number], value)


def _time(value: datetime) -> bytes:
    return _number(_TIMESTAMPTZ, (value - _EPOCH) // _MICROSECOND)
