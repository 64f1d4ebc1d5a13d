"""What a command says about itself: who may send it, how HTTP addresses it, how its fields travel.

A command is declared once, as a class with a ``declaration``. Its body over HTTP, its line of NDJSON, its entry in the
OpenAPI document and its row in the documentation are derived from that (``command_json``, ``foldbook.api.commands``).

A field is declared by its type. ``Annotated`` adds what the type alone does not say::

    step: Annotated[Decimal, AsText(Decimal, r"^[0-9]{1,9}$")]                       a value that travels as text
    counter_id: Annotated[str, Meta(pattern="^[a-z]{1,9}$"), InPath("unknown-counter")]     a name in a path
    bounds: Annotated[Bounds, FLAT]                                     a struct whose fields stand beside the others

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
    """Its name in JSON Schema."""


class InPath(msgspec.Struct, frozen=True):
    """Annotates a name that stands in paths: how many segments it spans, and how a path that cannot name one is
    answered."""

    code: str = "invalid-command"
    """The problem with a path whose text does not match the type."""
    detail: str | None = None
    """What the problem says; by default, what the type demands."""
    parts: Mapping[str, Any] = {}
    """Name and type of each segment, if there are several; the value joins them with slashes. A call whose path does
    not have them takes them as fields of its body."""


class _Flat:
    """The type of ``FLAT``."""


FLAT: Final = _Flat()
"""Annotates a struct whose fields travel as fields of the command."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A way to send the command over HTTP. What its path does not name and ``fixed`` does not give is in the body."""

    method: str
    path: str
    """A template, such as ``/counters/{counter_id}/add``. Its last word outside braces belongs to this call alone: no
    other call with this method may have it."""
    name: str | None = None
    """By default, the command's. Each of several calls needs one."""
    description: str | None = None
    """What it does; by default, the docstring of the command."""
    fixed: Mapping[str, Any] = {}
    """Fields that the call itself determines."""
    defaults: Mapping[str, Any] = {}
    """Defaults of the body where they differ from the command's."""
    creates: str | None = None
    """The path of what it creates, as a template over the command's fields. The response is 201 with that Location."""
    may_be_empty: bool = False
    """A request without a body means a body without fields."""


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """``refusals``: the codes of its own domain, beside those that any command can be answered with."""

    role: str
    """Who may send it, besides those who may do everything."""
    calls: tuple[Call, ...] = ()
    refusals: tuple[str, ...] = ()
    carries_raw_message: bool = False
    """It may bring along the message that it was made from, for the metadata of its events."""
