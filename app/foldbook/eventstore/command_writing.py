"""The other direction of ``command_json``: a command as the line from which ``CommandLines`` makes it again."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, get_args

import msgspec

from foldbook.eventstore.command_json import RAW_MESSAGE, content_of, declaration_of
from foldbook.eventstore.declaration import FLAT
from foldbook.eventstore.events import Command, Metadata

_ENCODER = msgspec.json.Encoder()


class _Field(NamedTuple):
    key: str
    name: str
    default: Any
    type: Any
    is_flat: bool


def line_of(command: Command, metadata: Metadata, expected_sequence: int | None = None) -> bytes:
    """Everything but who asks and when: that is said by who brings it. A field that has its default is left out."""
    line: dict[str, Any] = {"type": type(command).__name__, "command_id": command.command_id}
    line.update(_content(command, _fields(type(command))))
    if expected_sequence is not None:
        line["expected_sequence"] = expected_sequence
    if metadata.raw_message is not None and declaration_of(type(command)).carries_raw_message:
        line[RAW_MESSAGE] = metadata.raw_message
    return _ENCODER.encode(line)


def _content(struct: msgspec.Struct, fields: tuple[_Field, ...]) -> Iterator[tuple[str, Any]]:
    for field in fields:
        value = getattr(struct, field.name)
        if field.is_flat:
            yield from _content(value, _flat_fields(field.type))
        elif value != field.default:
            # Amounts travel in plain notation, which str(Decimal) is not always.
            yield field.key, f"{value:f}" if isinstance(value, Decimal) else value


@cache
def _fields(command: type[Command]) -> tuple[_Field, ...]:
    return tuple(_field(key, info) for key, info in content_of(command).items())


@cache
def _flat_fields(struct: type[msgspec.Struct]) -> tuple[_Field, ...]:
    return tuple(_field(info.encode_name, info) for info in msgspec.structs.fields(struct))


def _field(key: str, info: msgspec.structs.FieldInfo) -> _Field:
    base, *annotations = get_args(info.type) or (info.type,)
    return _Field(key, info.name, info.default, base, FLAT in annotations)
