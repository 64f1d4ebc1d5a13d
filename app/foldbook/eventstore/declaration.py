"""What a command declares: who may send it, how HTTP addresses it, how its fields travel.

A command is declared once, as a class with a ``declaration``. Its body over HTTP, its line of NDJSON, its entry in the
OpenAPI document and its row in the documentation derive from that (``command_json``, ``foldbook.api.commands``).

A field is declared by its type. ``Annotated`` adds what the type alone does not express::

    step: Annotated[Decimal, AsText(Decimal, r"^[0-9]{1,9}$")]                       a value that travels as text
    counter_id: Annotated[str, Meta(pattern="^[a-z]{1,9}$"), InPath("unknown-counter")]     a name in a path
    bounds: Annotated[Bounds, FLAT]                                a struct whose fields are fields of the command

``msgspec.Meta`` limits text, numbers and lists, and describes fields. The types that msgspec reads from JSON travel
unchanged; a ``datetime`` travels as RFC 3339 with an offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec


class AsText(msgspec.Struct, frozen=True):
    """Annotates a type that travels as JSON text. ``read`` raises ``ValueError`` for text that names no value."""

    read: Callable[[str], Any]
    pattern: str | None = None
    """A regular expression that the text must match; checked before ``read``."""
    format: str | None = None
    """The format's name in JSON Schema."""


class InPath(msgspec.Struct, frozen=True):
    """Annotates a name that is part of a path: how many segments it spans, and the problem for text that is not a valid
    name."""

    code: str = "invalid-command"
    """The problem's code for a path whose text does not match the type."""
    detail: str | None = None
    """The problem's detail; by default, what the type requires."""
    parts: Mapping[str, Any] = {}
    """Name and type of each segment, if there are several; the value joins them with slashes. A call whose path does
    not contain them takes them as fields of its body."""

    def __hash__(self) -> int:
        """An optional field is a union of types, and those are hashed."""
        return hash((self.code, self.detail, *self.parts))


class _Flat:
    """The type of ``FLAT``."""


FLAT: Final = _Flat()
"""Annotates a struct whose fields travel as fields of the command."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A way to send the command over HTTP. The body has the fields that neither its path nor ``fixed`` gives."""

    method: str
    path: str
    """A template, such as ``/counters/{counter_id}/add``. No other call with the same method may have the same last
    word outside braces."""
    name: str | None = None
    """By default, the command's name. If there are several calls, each needs its own."""
    description: str | None = None
    """What it does; by default, the command's docstring."""
    fixed: Mapping[str, Any] = {}
    """Fields that the call itself determines."""
    defaults: Mapping[str, Any] = {}
    """Defaults of the body where they differ from the command's."""
    creates: str | None = None
    """The path of what it creates, as a template with the command's fields. The response is 201 with that Location."""
    may_be_empty: bool = False
    """A request without a body counts as a body without fields."""


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """``refusals``: the codes of its domain, in addition to those that apply to every command."""

    role: str
    """Who may send it, apart from those who may do everything."""
    calls: tuple[Call, ...] = ()
    refusals: tuple[str, ...] = ()
    carries_raw_message: bool = False
    """Whether it may carry the message that it was made from, for the metadata of its events."""
