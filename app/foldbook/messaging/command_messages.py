"""A command as a message: who may send it, and what it asks for.

::

    routing key         the shard of the command's aggregate
    message_id          the command's id; the body may have it too, and then it is the same
    reply_to            the queue for the answer; without one, nobody is told
    correlation_id      comes back with the answer
    expiration          milliseconds after which nobody wants it done any more; counts from timestamp, if that is given
    authorization       a header: Bearer fbk_...
    x-correlation-id    a header: what the command belongs to
    x-actor             a header: on whose behalf an operator asks
    body                the command, as a line of POST /commands

The answer has the same correlation_id. Its body is the document that HTTP would have answered: the result, or the
problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from pamqp import commands as spec

from foldbook.access.keyring import Keyring
from foldbook.access.keys import holds_key, shown_in
from foldbook.access.principal import ANYONE, Principal, check_command
from foldbook.access.rates import Rates
from foldbook.access.roles import Unauthenticated
from foldbook.errors import FoldbookError, register
from foldbook.eventstore.command_json import CommandLines, Line
from foldbook.eventstore.commands.documents import ResultDocument
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Command, Metadata
from foldbook.eventstore.problems import Explained
from foldbook.eventstore.store import shard_of
from foldbook.messaging.dead_letters import AUTHORIZATION
from foldbook.messaging.unreadable import unreadable_in

CORRELATION_ID = "x-correlation-id"
ON_BEHALF_OF = "x-actor"
DELIVERY_COUNT = "x-delivery-count"
"""How often a quorum queue delivered the message before, and did not hear that it was done."""

BODY_BYTES_MAX = 1 << 20
DELIVERIES_MAX = 10
"""A message that ended whoever took it so often is not tried again."""
OWN_QUEUES = "foldbook."

_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,128}")

register(
    {
        "wrong-shard": (421, "The command belongs to another shard"),
        "expired": (410, "Nobody wants the command done any more"),
        "redelivered": (409, "The message was delivered too often"),
    }
)


class Poison(FoldbookError):
    """A message that nobody can do anything with: ``code`` says why."""

    def __init__(self, code: str, detail: str, **details: object) -> None:
        super().__init__(detail, **details)
        self.code = code


class Asked(NamedTuple):
    """What a message asks for. ``expires_at``: from then on, nobody wants it any more."""

    line: Line
    expires_at: datetime | None

    def check_in_time(self, now: datetime) -> None:
        """Raises ``Poison``."""
        if self.expires_at is not None and now >= self.expires_at:
            raise Poison("expired", f"it was wanted until {self.expires_at.isoformat()}")


class CommandMessages:
    """Reads commands from messages, and writes their answers. ``keyring`` None: the engine is open to all, and
    nobody's requests are counted."""

    def __init__(
        self,
        commands: Iterable[type[Command]],
        keyring: Keyring | None,
        rates: Rates,
        shard_count: int,
        now: Callable[[], datetime],
    ) -> None:
        commands = tuple(commands)
        self._lines = CommandLines(commands)
        self._documents = {command: ResultDocument(command) for command in commands}
        self._keyring = keyring
        self._rates = rates
        self._shard_count = shard_count
        self.now = now

    def read(self, shard: int, properties: spec.Basic.Properties, body: bytes) -> Asked:
        """Raises what is wrong with it, of any kind; ``RateLimited``, if only its sender's pace is; and
        ``StoreUnavailable`` if nobody knows the keys yet."""
        headers = properties.headers or {}
        if (wrong := unreadable_in(properties)) is not None:
            raise Poison("malformed", f"{wrong} cannot be decoded", field=wrong)
        if properties.reply_to is not None and reply_to_of(properties) is None:
            raise Poison("malformed", "reply_to must be a queue of the sender's", field="reply_to")
        deliveries = headers.get(DELIVERY_COUNT)
        if isinstance(deliveries, int) and deliveries > DELIVERIES_MAX:
            raise Poison("redelivered", f"it was delivered {deliveries} times, and each time something went wrong")
        principal = self._principal_of(headers)
        if len(body) > BODY_BYTES_MAX:
            raise Poison("body-too-large", f"a command may have at most {BODY_BYTES_MAX} bytes")
        if holds_key(body):
            raise Poison("malformed", "a key stands in the command: send it as authorization only, and revoke this one")
        now = self.now()
        line = self._lines.read(body, lambda: _id_of(properties), now, metadata_of(headers, principal))
        command = line.command
        if properties.message_id is not None and command.command_id != _id_of(properties):
            raise Poison("malformed", "message_id and command_id are not the same")
        check_command(principal, command)
        own = shard_of(command.aggregate_id, self._shard_count)
        if own != shard:
            raise Poison("wrong-shard", f"{command.aggregate_id} is in shard {own} of {self._shard_count}, not {shard}")
        asked = Asked(line, _expiry(properties, now))
        asked.check_in_time(now)
        return asked

    def result(self, command: Command, result: CommandResult) -> bytes:
        return _ENCODER.encode(self._documents[type(command)](result))

    def problem(self, explained: Explained) -> bytes:
        return _ENCODER.encode(explained.document())

    def _principal_of(self, headers: Mapping[str, Any]) -> Principal:
        if self._keyring is None:
            return ANYONE
        authorization = headers.get(AUTHORIZATION)
        if authorization is None:
            raise Unauthenticated("the message has no key: send the header authorization: Bearer fbk_...")
        principal = self._keyring.principal_of(shown_in(str(authorization)))
        if principal.key_id is not None:
            self._rates.take(principal.key_id)
        return principal


_ENCODER = msgspec.json.Encoder(enc_hook=str)  # a detail of any type can be shown


def metadata_of(headers: Mapping[str, Any], principal: Principal) -> Metadata:
    """Raises ``Poison`` for a header that cannot be read, and what ``Principal.metadata_of`` does."""
    return principal.metadata_of(_text(headers, ON_BEHALF_OF), _text(headers, CORRELATION_ID))


def _text(headers: Mapping[str, Any], name: str) -> str | None:
    text = headers.get(name)
    if text is not None and not (isinstance(text, str) and _TEXT.fullmatch(text)):
        raise Poison("malformed", f"{name} must be 1 to 128 characters without control characters", field=name)
    if text is not None and holds_key(text.encode()):
        raise Poison("malformed", f"a key stands in {name}: send it as authorization only", field=name)
    return text


def _id_of(properties: spec.Basic.Properties) -> UUID:
    """The command's id, if the body has none. One that was made up would be another at the next delivery."""
    if properties.message_id is None:
        raise Poison("malformed", "the command needs an id: message_id, or command_id in the body")
    try:
        return UUID(properties.message_id)
    except ValueError:
        raise Poison("malformed", "message_id must be a UUID", field="message_id") from None


def reply_to_of(properties: spec.Basic.Properties) -> str | None:
    """Where the answer goes; None: nowhere. It is sent with our rights, so not to one of our own queues."""
    reply_to = properties.reply_to
    return None if not reply_to or reply_to.startswith(OWN_QUEUES) else reply_to


def _expiry(properties: spec.Basic.Properties, now: datetime) -> datetime | None:
    if properties.expiration is None:
        return None
    try:
        return (properties.timestamp or now) + timedelta(milliseconds=int(properties.expiration))
    except (ValueError, OverflowError):
        raise Poison("malformed", "expiration must be milliseconds", field="expiration") from None
