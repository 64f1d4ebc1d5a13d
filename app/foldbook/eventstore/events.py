"""Commands, events, and events as the log recorded them.

A command asks and can be refused; an event is a fact. Both are frozen structs whose fields, in order, are their JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from foldbook.errors import UnknownEvent, UnreadableEvent
from foldbook.eventstore.declaration import Declaration

Payload: TypeAlias = bytes | memoryview | msgspec.Raw | None
"""A recorded event's JSON, as its upcasters leave it; None: they returned null."""


class AggregateKey(NamedTuple):
    """What identifies an aggregate: its type, which is its decider's name, and its id.

    Aggregates of different types may have the same id; then they are in the same shard."""

    type: str
    id: str


class CommandKey(NamedTuple):
    """What identifies a command: its aggregate and its id. Commands of different aggregates may have the same id, so
    that nobody's ids are in anybody else's way."""

    aggregate: AggregateKey
    id: UUID


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to change one aggregate. Its type is the name of its class.

    ``command_id`` identifies the request to its aggregate: sent again, it is answered with the first result.
    ``received_at`` is when it was accepted; the code that decides reads no other clock. Neither is part of the content.
    """

    command_id: UUID
    received_at: datetime

    aggregate_type: ClassVar[str]
    """The name of the decider that decides it."""
    declaration: ClassVar[Declaration | None] = None
    """Who may send it, and how; None: it cannot be sent from outside."""
    creates_subject: ClassVar[bool] = False
    """The subject must be new to the aggregate, which is checked when the command is appended."""

    @property
    def aggregate_id(self) -> str:
        raise NotImplementedError

    @property
    def aggregate_key(self) -> AggregateKey:
        return AggregateKey(self.aggregate_type, self.aggregate_id)

    @property
    def command_key(self) -> CommandKey:
        return CommandKey(self.aggregate_key, self.command_id)

    @property
    def subject(self) -> str | None:
        """What inside the aggregate the command is about."""
        return None

    @property
    def business_time(self) -> datetime:
        """When it happened in the world: ``occurred_at`` of its events, unless they say otherwise."""
        return self.received_at

    def fingerprint(self) -> bytes:
        """16 bytes that are equal for equal content, regardless of the id and the time of receipt."""
        content = msgspec.json.encode((type(self).__name__, *msgspec.structs.astuple(self)[2:]))
        return hashlib.blake2b(content, digest_size=16).digest()


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one aggregate. Its type is the name of its class, its payload the JSON of its fields.

    ``schema_version`` counts the shapes that the payload has had; an upcaster (SQL) turns each into the next.
    """

    schema_version: ClassVar[int] = 1

    @property
    def subject(self) -> str | None:
        """What inside the aggregate the event is about."""
        return None

    @property
    def occurred_at(self) -> datetime | None:
        """When it happened in the world; None: at the business time of its command."""
        return None

    def payload(self) -> bytes:
        """The event as JSON. Decimals are strings without an exponent."""
        # str(Decimal) uses exponents below 1e-6 (decimal arithmetic specification, to-scientific-string). A name that
        # looks like an exponent only costs time.
        encoded = _ENCODER.encode(self)
        if b"E-" in encoded:
            return _ENCODER.encode(_plain(msgspec.to_builtins(self, builtin_types=(Decimal, datetime))))
        return encoded


_ENCODER = msgspec.json.Encoder()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asked for a command, and what caused it; stored with each of its events."""

    actor: str | None = None
    on_behalf_of: str | None = None
    """For whom the actor asked, as the actor says."""
    correlation_id: str | None = None
    causation_id: str | None = None
    raw_message: str | None = None
    """The original message that the command was made from."""


NO_METADATA = Metadata()


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place in the log. ``payload`` and ``metadata`` are the JSON as stored."""

    shard: int
    position: int
    aggregate_type: str
    aggregate_id: str
    sequence: int
    type: str
    schema_version: int
    subject: str | None
    command_id: UUID
    payload: msgspec.Raw
    metadata: msgspec.Raw
    occurred_at: datetime
    recorded_at: datetime


class EventTypes:
    """The event classes that a decider knows, by name: turns recorded payloads back into events.

    Raises ``UnknownEvent`` for a type or a schema version of a newer program, ``UnreadableEvent`` for a payload that
    is not of its type: nothing is guessed.
    """

    def __init__(self, types: Iterable[type[Event]]) -> None:
        self.types = tuple(types)
        self._types = {t.__name__: (t, msgspec.json.Decoder(t)) for t in self.types}

    def decode(self, type_name: str, schema_version: int, payload: Payload) -> Event:
        known = self._types.get(type_name)
        if known is None or schema_version != known[0].schema_version:
            raise UnknownEvent(type_name, schema_version)
        try:
            return known[1].decode(b"null" if payload is None else payload)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableEvent.of(type_name, schema_version, str(error)) from error
