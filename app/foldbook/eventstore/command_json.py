"""Commands as JSON, derived from their declarations.

A *body* has the fields that neither the path nor the call itself gives. A *line* has everything: the type of the
command, all its fields, its id, the expected sequence. For each, a struct that msgspec decodes and a function that
builds the command from it are compiled once, when the program starts. Decoding checks shape and grammar; which values a
given state allows is the aggregate's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache, reduce
from keyword import iskeyword
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo

from foldbook.errors import Refusal
from foldbook.eventstore.declaration import FLAT, AsText, Call, Declaration, InPath
from foldbook.eventstore.events import Command, Metadata
from foldbook.eventstore.strict_json import decode
from foldbook.eventstore.times import parse_time

T = TypeVar("T")

RAW_MESSAGE_BYTES_MAX: Final = 8192
RAW_MESSAGE: Final = "raw_message"

RawMessage = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00]+$",
        max_length=RAW_MESSAGE_BYTES_MAX,
        description="The original message, unchanged, at most 8 KiB of UTF-8. It is stored with the events.",
    ),
]
ExpectedSequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
BareText = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,1000}(?!\n)$")]
"""What a field of type ``str`` may hold: everything that grows has a bound, and PostgreSQL's text has no NUL."""

_TIME = AsText(parse_time, format="date-time")
_TIME_META = Meta(description="RFC 3339, with an offset from UTC.")
_OWN_FIELDS = ("command_id", "received_at")
"""Fields that every command has and that no request's content contains."""


# -- fields ------------------------------------------------------------------------------------------------------


class _Field(NamedTuple):
    """A field of a body or line, and the expression that computes the command's value from it."""

    key: str
    type: Any
    default: Any
    expression: str


class InPathField(NamedTuple):
    """A field of a command that a path names."""

    name: str
    parts: Mapping[str, Any]
    """Name and type of each segment that it spans."""
    read: Callable[[str], Any]
    """Raises ``Refusal`` for text that is not a valid name."""


class _Type(NamedTuple):
    base: Any
    annotations: tuple[Any, ...]
    is_optional: bool

    @classmethod
    def of(cls, declared: Any) -> _Type:
        is_optional = False
        if get_origin(declared) in (Union, UnionType) and NoneType in get_args(declared):
            others = [one for one in get_args(declared) if one is not NoneType]
            declared, is_optional = reduce(or_, others), True
        if get_origin(declared) is Annotated:
            base, *annotations = get_args(declared)
            return cls(base, tuple(annotations), is_optional)
        return cls(declared, (), is_optional)

    def annotation(self, kind: type[T]) -> T | None:
        return next((one for one in self.annotations if isinstance(one, kind)), None)

    @property
    def is_flat(self) -> bool:
        return FLAT in self.annotations

    @property
    def as_text(self) -> AsText | None:
        return self.annotation(AsText) or (_TIME if self.base is datetime else None)

    def only_pattern(self) -> re.Pattern[str] | None:
        """The pattern of text that has no other limit."""
        limits = [one for one in self.annotations if isinstance(one, Meta)]
        if self.base is not str or len(limits) != 1 or limits[0].pattern is None:
            return None
        has_length = limits[0].min_length is not None or limits[0].max_length is not None
        return None if has_length else re.compile(limits[0].pattern)

    def in_json(self) -> Any:
        """The type that msgspec decodes."""
        limits = [one for one in self.annotations if isinstance(one, Meta)]
        base: Any = self.base
        if (text := self.as_text) is not None:
            base = str
            limits += [_TIME_META] if text is _TIME else []
            limits += [] if text.pattern is None else [Meta(pattern=text.pattern)]
            limits += [] if text.format is None else [Meta(extra_json_schema={"format": text.format})]
        else:
            _check_travels_unchanged(base)
            base = BareText if base is str and not limits else base
        annotated = Annotated[base, *limits] if limits else base
        return annotated | None if self.is_optional else annotated


def _check_travels_unchanged(declared: Any) -> None:
    kind = _Type.of(declared)
    if kind.as_text is not None or kind.base is Decimal:
        raise TypeError(f"{declared} inside another type: say how it travels (AsText), or declare its struct FLAT")
    if isinstance(kind.base, type) and issubclass(kind.base, Struct):
        for field in msgspec.structs.fields(kind.base):
            _check_travels_unchanged(field.type)
    for argument in get_args(kind.base):
        if argument is not Ellipsis:
            _check_travels_unchanged(argument)


def content_of(command: type[Command]) -> dict[str, FieldInfo]:
    """The fields that are the command's own, by their JSON key."""
    return {one.encode_name: one for one in msgspec.structs.fields(command) if one.name not in _OWN_FIELDS}


@cache
def identity_of(command: type[Command]) -> str:
    """The key of the field that names the aggregate; ``aggregate_id`` if no single field does."""
    marks = {field.name: f"<{key}>" for key, field in content_of(command).items()}
    probe: Any = command
    named: str = probe(command_id=UUID(int=0), received_at=None, **marks).aggregate_id
    return named[1:-1] if named in marks.values() else "aggregate_id"


def fields_in_path(command: type[Command], call: Call) -> list[InPathField]:
    """The fields that the path names, in its order."""
    content = content_of(command)
    names = [part[1:-1] for part in call.path.split("/") if part.startswith("{")]
    if unknown := [name for name in names if name not in content]:
        raise TypeError(f"{call.path}: {command.__name__} has no field {', '.join(unknown)}")
    return [_in_path(name, _Type.of(content[name].type)) for name in names]


def _in_path(name: str, kind: _Type) -> InPathField:
    rule = kind.annotation(InPath) or InPath()
    declared = kind.in_json()
    as_text, pattern = kind.as_text, kind.only_pattern()

    def read(text: str) -> Any:
        # Most names have only a pattern, which takes a sixth of the time that msgspec.convert takes.
        if pattern is not None and pattern.search(text):
            return text
        try:
            value = msgspec.convert(text, declared, strict=False)
            return value if as_text is None else as_text.read(value)
        except ValueError as error:
            detail = rule.detail or str(error)
            if rule.code == "invalid-command":
                raise Refusal(rule.code, f"{name}: {detail}", field=name) from None
            raise Refusal(rule.code, detail) from None

    return InPathField(name, rule.parts or {name: declared}, read)


# -- what is compiled --------------------------------------------------------------------------------------------


class CommandForm:
    """The struct of a body or line, ``type``, and how it becomes a command."""

    def __init__(self, name: str, command: type[Command], call: Call | None, **options: Any) -> None:
        self.command_type = command
        self.carries_raw_message = declaration_of(command).carries_raw_message
        self._texts: dict[str, Callable[[str], Any]] = {}
        self._names: dict[str, Any] = {"_command": command}
        self._keys: set[str] = set()
        in_path = [] if call is None else [field.name for field in fields_in_path(command, call)]
        fields = list(self._fields(command, call or Call(method="", path=""), in_path))
        if self.carries_raw_message:
            fields.append(_Field(RAW_MESSAGE, RawMessage | None, None, ""))
        if call is None:
            fields += [
                _Field("command_id", UUID | None, None, ""),
                _Field("expected_sequence", ExpectedSequence | None, None, ""),
            ]
        _check_keys(name, [field.key for field in fields if field.key])
        if call is not None and (unknown := {*call.fixed, *call.defaults} - self._keys):
            raise TypeError(f"{name}: {command.__name__} has no field {', '.join(sorted(unknown))}")
        self.type: type[Struct] = msgspec.defstruct(
            name,
            [(one.key, one.type, _default(one.default)) for one in fields if one.key],
            frozen=True,
            kw_only=True,
            forbid_unknown_fields=True,
            gc=False,
            **options,
        )
        arguments = ", ".join(one.expression for one in fields if one.expression)
        self._make = self._compile(["command_id", "received_at", *in_path], f"_command({arguments})")
        counted = [str(int("tag" in options)), *(self._colons(one) for one in fields if one.key)]
        self.colons_of: Callable[[Any], int] = self._compile([], " + ".join(counted))
        """How many colons a text needs to express a content (``strict_json.decode``)."""

    def command(self, content: Any, command_id: UUID, received_at: datetime, *in_path: Any) -> Command:
        """``in_path``: the values from the path, in its order. Raises ``Refusal``."""
        try:
            made: Command = self._make(content, command_id, received_at, *in_path)
        except ValueError:
            raise self._refusal(content) from None
        return made

    def metadata(self, content: Any, given: Metadata) -> Metadata:
        """The command's metadata: ``given``, and the raw message if it carries one. Raises ``Refusal``."""
        if not self.carries_raw_message or content.raw_message is None:
            return given
        if len(content.raw_message.encode()) > RAW_MESSAGE_BYTES_MAX:
            raise Refusal(
                "invalid-command", f"{RAW_MESSAGE}: must have at most {RAW_MESSAGE_BYTES_MAX} bytes", field=RAW_MESSAGE
            )
        return msgspec.structs.replace(given, raw_message=content.raw_message)

    def _refusal(self, content: Any) -> Refusal:
        """Which text could not be read, and why."""
        for key, read in self._texts.items():
            if (text := getattr(content, key)) is not None:
                try:
                    read(text)
                except ValueError as error:
                    return Refusal("invalid-command", f"{key}: {error}", field=key)
        raise AssertionError("a text was refused, but now every text can be read")

    def _fields(self, struct: type[Struct], call: Call, in_path: Sequence[str]) -> Iterator[_Field]:
        """Every field of ``struct``; one without a key is not in the JSON."""
        for info in msgspec.structs.fields(struct):
            kind, key = _Type.of(info.type), info.encode_name
            self._keys.add(key)
            if struct is self.command_type and info.name in _OWN_FIELDS:
                yield _Field("", None, None, f"{info.name}={info.name}")
            elif key in in_path:
                yield _Field("", None, None, f"{info.name}={key}")
            elif key in call.fixed:
                self._names[f"_fixed_{key}"] = call.fixed[key]
                yield _Field("", None, None, f"{info.name}=_fixed_{key}")
            elif call.path and (rule := kind.annotation(InPath)) is not None and rule.parts:
                yield from (_Field(part, declared, NODEFAULT, "") for part, declared in rule.parts.items())
                joined = ", ".join(f"content.{part}" for part in rule.parts)
                yield _Field("", None, None, f"{info.name}='/'.join(({joined},))")
            elif kind.is_flat:
                yield from self._flat(info, kind, call)
            else:
                default = call.defaults[key] if key in call.defaults else _default_of(info, kind)
                yield _Field(key, kind.in_json(), default, f"{info.name}={self._expression(key, kind)}")

    def _flat(self, info: FieldInfo, kind: _Type, call: Call) -> Iterator[_Field]:
        self._names[f"_struct_{info.name}"] = kind.base
        inner = list(self._fields(kind.base, call, ()))
        yield from (field._replace(expression="") for field in inner)
        yield _Field("", None, None, f"{info.name}=_struct_{info.name}({', '.join(one.expression for one in inner)})")

    def _expression(self, key: str, kind: _Type) -> str:
        if (text := kind.as_text) is None:
            return f"content.{key}"
        self._texts[key] = self._names[f"_read_{key}"] = text.read
        read = f"_read_{key}(content.{key})"
        return f"None if content.{key} is None else {read}" if kind.is_optional else read

    def _colons(self, field: _Field) -> str:
        """An expression: 1 if the content shows that the field was given, and the colons in a time."""
        value = f"content.{field.key}"
        if field.default is NODEFAULT:
            given = "1"
        elif field.default is None:
            given = f"({value} is not None)"
        else:
            self._names[f"_default_{field.key}"] = field.default
            given = f"({value} != _default_{field.key})"
        if self._texts.get(field.key) is _TIME.read:
            return f"{given} + (0 if {value} is None else {value}.count(':'))"
        return given

    def _compile(self, parameters: Sequence[str], expression: str) -> Callable[..., Any]:
        """A function of the content and ``parameters``. Its source contains names of fields and nothing from requests.
        It is compiled, as dataclasses compile theirs, and so costs no more than a function written by hand."""
        source = f"lambda {', '.join(['content', *parameters])}: {expression}"
        function: Callable[..., Any] = eval(source, self._names)  # noqa: S307
        return function


def _check_keys(name: str, keys: Sequence[str]) -> None:
    if len({*keys, "type"}) <= len(keys):
        raise TypeError(f"{name}: a field has the same name as another, or as one that every line has")
    if odd := [key for key in keys if not key.isidentifier() or iskeyword(key)]:
        raise TypeError(f"{name}: {', '.join(odd)} cannot be the name of a field")


def _default_of(info: FieldInfo, kind: _Type) -> Any:
    if info.default_factory is not NODEFAULT:
        return info.default_factory()
    if info.default is not NODEFAULT and info.default is not None and kind.as_text is not None:
        return f"{info.default:f}" if isinstance(info.default, Decimal) else str(info.default)
    return info.default


def _default(value: Any) -> Any:
    return msgspec.field() if value is NODEFAULT else value


def declaration_of(command: type[Command]) -> Declaration:
    """Raises ``TypeError`` if it has none."""
    if (declaration := command.declaration) is None:
        raise TypeError(f"{command.__name__} has no declaration")
    return declaration


class CommandBody:
    """The body of a call, and how it becomes the command."""

    def __init__(self, command: type[Command], call: Call) -> None:
        self.form = CommandForm(f"{call.name or command.__name__}Body", command, call)
        self._decoder = msgspec.json.Decoder(self.form.type)
        self._empty: Any = self.form.type() if call.may_be_empty else None

    def decode(self, text: bytes) -> Any:
        """Raises ``msgspec.DecodeError``."""
        if self._empty is not None and (not text or text.strip() == b"null"):
            return self._empty
        return decode(self._decoder, text, self.form.colons_of)


class Line(NamedTuple):
    """A command as read from a line."""

    command: Command
    metadata: Metadata
    expected_sequence: int | None


class CommandLines:
    """All commands, one per line: ``{"type": "...", ...}``."""

    def __init__(self, commands: Iterable[type[Command]]) -> None:
        self.forms = [CommandForm(f"{one.__name__}Line", one, None, tag=one.__name__) for one in commands]
        self._form_of = {form.type: form for form in self.forms}
        self.type: Any = reduce(or_, self._form_of)
        """The union of their structs."""
        self._decoder = msgspec.json.Decoder(self.type)

    def _colons_of(self, content: Any) -> int:
        return self._form_of[type(content)].colons_of(content)

    def read(self, text: bytes, new_id: Callable[[], UUID], received_at: datetime, given: Metadata) -> Line:
        """``given``: the metadata of all lines. Raises ``msgspec.DecodeError``, ``Refusal``."""
        content: Any = decode(self._decoder, text, self._colons_of)
        form = self._form_of[type(content)]
        command = form.command(content, content.command_id or new_id(), received_at)
        return Line(command, form.metadata(content, given), content.expected_sequence)
