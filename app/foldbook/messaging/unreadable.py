"""A message with properties that cannot be decoded: it is read without them, and says so.

RabbitMQ passes on what a sender says of a message. For a text that is no UTF-8, a time beyond all calendars or a type
that nobody knows, pamqp raises and aiormq ends the connection; then RabbitMQ sends the message again, for ever.
"""

from __future__ import annotations

import struct
from datetime import datetime

from pamqp import commands, decode
from pamqp.common import FieldTable

REPLACED = "\ufffd"
UNREADABLE = "x-foldbook-unreadable"
"""A header of a message whose headers cannot be decoded; there is no other then."""


def install() -> None:
    """From now on, in this process."""
    decode.METHODS.update(shortstr=_text, timestamp=_time, table=_table)
    decode.TABLE_MAPPING[b"T"] = _time


def unreadable_in(properties: commands.Basic.Properties) -> str | None:
    """Which of them cannot be read; None: all can."""
    if UNREADABLE in (properties.headers or {}):
        return "headers"
    return next((name for name, value in properties if isinstance(value, str) and REPLACED in value), None)


def _text(value: bytes) -> tuple[int, str]:
    end = value[0] + 1
    return end, value[1:end].decode("utf-8", "replace")


def _time(value: bytes) -> tuple[int, datetime | None]:
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, None


def _table(value: bytes) -> tuple[int, FieldTable]:
    try:
        return decode.field_table(value)
    except (ValueError, TypeError, IndexError, struct.error):
        (length,) = struct.unpack_from(">I", value)
        return 4 + length, {UNREADABLE: True}
