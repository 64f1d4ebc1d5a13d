"""Command calls: requests that carry one command, and how they are answered.

An order is a POST, a price is a PUT. At many thousands a second, a framework's request object and its resolution of
parameters cost several times as much as the command itself. So a call is compiled from the command's declaration: its
body is decoded once, directly into its type, and its result is encoded once. This is the only implementation, whether a
request comes in over the protocol's fast path (``protocol``) or any ASGI server (``foldbook.api.front``).
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter

import msgspec

from foldbook.access.principal import UNKNOWN, Principal, roles_of
from foldbook.api.commands.envelope import envelope_of
from foldbook.api.escapes import name_in, segment_of
from foldbook.api.gate import Reply, refuse_keys
from foldbook.api.problems import Problem, problem_of
from foldbook.api.refusals import log_refusal
from foldbook.eventstore.command_json import CommandBody, content_of, declaration_of, fields_in_path, identity_of
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.documents import ResultDocument
from foldbook.eventstore.declaration import Call
from foldbook.eventstore.events import Command
from foldbook.problems import MEDIA_TYPE
from foldbook.wire.requests import Headers

Bus = CommandBus

CountResponse = Callable[[str, str, int], None]
"""Counts a response: method, path template, status."""

JSON = b"application/json"

_PARAMETER = re.compile(r"\{(\w+)\}")
_PLAIN = (string.ascii_letters + string.digits + "-._~/:").encode()
_ENCODER = msgspec.json.Encoder()


class CommandCall:
    """A call of a command."""

    def __init__(self, command: type[Command], call: Call) -> None:
        self.command_type = command
        self.call = call
        self.method = call.method
        self.name = call.name or command.__name__
        self.body = CommandBody(command, call)
        self.document = ResultDocument(command)
        self.in_path = fields_in_path(command, call)
        words = [part for part in call.path.split("/") if part and not part.startswith("{")]
        self.word = words[-1]
        """The last segment of its path that is not a parameter. It identifies the call."""
        names = {f"{{{field.name}}}": list(field.parts) for field in self.in_path}
        parts = call.path.split("/")
        self.template = "/".join(
            "/".join(f"{{{name}}}" for name in names[part]) if part in names else part for part in parts
        )
        """Its path with one parameter for each segment."""
        self._path = re.compile(
            "/".join(f"({_segments(len(names[part]))})" if part in names else re.escape(part) for part in parts)
        )
        self._readers = [field.read for field in self.in_path]
        self.roles = roles_of(command)
        names_in_path = [field.name for field in self.in_path]
        identity = identity_of(command)
        self._identity = names_in_path.index(identity) if identity in names_in_path else None
        """Which parameter of its path names the aggregate; None: its body does."""
        self._location = None if call.creates is None else _Location(command, call.creates)

    def match(self, path: str) -> tuple[str, ...] | None:
        """The parameters of a canonical path; None if it is not a path of this call."""
        if (found := self._path.fullmatch(path)) is None:
            return None
        return tuple(map(name_in, found.groups())) if "%" in path else found.groups()

    async def reply(self, bus: Bus, principal: Principal, named: Sequence[str], headers: Headers, body: bytes) -> Reply:
        """The response. Raises what is wrong with the request or the command, and first, what the principal may not."""
        principal.require_key()
        values = [read(text) for read, text in zip(self._readers, named, strict=True)]
        principal.check(self.roles, None if self._identity is None else values[self._identity])
        refuse_keys(body, "body")
        content = self.body.decode(body)
        command_id, metadata, expected_sequence = envelope_of(headers, principal)
        form = self.body.form
        command = form.command(content, command_id, datetime.now(UTC), *values)
        if self._identity is None:
            principal.check(self.roles, command.aggregate_id)
        result = await bus.submit(
            command, metadata=form.metadata(content, metadata), expected_sequence=expected_sequence
        )
        document = _ENCODER.encode(self.document(result))
        response_headers = _headers(JSON, document)
        response_headers.append((b"etag", b'"%d"' % result.sequence))
        if self._location is None:
            return Reply(200, response_headers, document)
        response_headers.append((b"location", self._location(command)))
        return Reply(200 if result.replayed else 201, response_headers, document)


def _segments(count: int) -> str:
    return "/".join(["[^/]+"] * count)


class _Location:
    """The path of what a command creates."""

    def __init__(self, command: type[Command], template: str) -> None:
        content, fields = content_of(command), fields_in_path(command, Call(method="", path=template))
        self._format = _PARAMETER.sub("%s", template.replace("%", "%%"))
        self._values = attrgetter(*(content[field.name].name for field in fields))
        self._is_split = [len(field.parts) > 1 for field in fields]
        self._slashes = template.count("/") + sum(len(field.parts) - 1 for field in fields)

    def __call__(self, command: Command) -> bytes:
        path = self._format % self._values(command)
        # Most names need no escapes, and checking that is cheaper.
        if path.count("/") == self._slashes and not path.encode().translate(None, _PLAIN):
            return path.encode()
        values = self._values(command) if len(self._is_split) > 1 else [self._values(command)]
        segments = [
            "/".join(map(segment_of, value.split("/"))) if is_split else segment_of(value)
            for value, is_split in zip(values, self._is_split, strict=True)
        ]
        return (self._format % tuple(segments)).encode()


def command_calls(commands: Iterable[type[Command]]) -> list[CommandCall]:
    return [CommandCall(command, call) for command in commands for call in declaration_of(command).calls]


class CommandCalls:
    """The command calls by path; ``count`` counts every response."""

    def __init__(
        self,
        commands: Iterable[type[Command]],
        bus: Bus,
        count: CountResponse,
        check_live: Callable[[Principal], None],
    ) -> None:
        self._bus = bus
        self._check_live = check_live
        self.count = count
        self.all = command_calls(commands)
        if len({call.name for call in self.all}) < len(self.all):
            raise ValueError("two calls have the same name")
        self.methods = tuple({call.method: None for call in self.all})
        # The calls of a method have different words, so that one lookup finds the only call that a path can be.
        self._calls: dict[tuple[str, str], CommandCall] = {}
        for call in self.all:
            other = self._calls.setdefault((call.method, call.word), call)
            if other is not call:
                raise ValueError(
                    f"two calls share the word {call.word!r}: {call.method} {other.template} and {call.template}"
                )

    def find(self, method: str, path: str) -> tuple[CommandCall, tuple[str, ...]] | None:
        """The call that this request makes, and its path's parameters. ``path``: in the canonical spelling."""
        rest = path
        while rest:
            rest, _, word = rest.rpartition("/")
            call = self._calls.get((method, word))
            if call is not None and (named := call.match(path)) is not None:
                return call, named
        return None

    def at(self, path: str) -> list[CommandCall]:
        """All calls of this path."""
        found = (self.find(method, path) for method in self.methods)
        return [one[0] for one in found if one is not None]

    async def reply(
        self, call: CommandCall, principal: Principal, named: Sequence[str], headers: Headers, body: bytes
    ) -> Reply:
        """The response to a request that the gate admitted, whatever happens."""
        try:
            self._check_live(principal)
            reply = await call.reply(self._bus, principal, named, headers, body)
        except Exception as error:
            return self.refuse(call.method, call.template, problem_of(error), principal)
        self.count(call.method, call.template, reply.status)
        return reply

    def refuse(self, method: str, template: str, problem: Problem, principal: Principal = UNKNOWN) -> Reply:
        self.count(method, template, problem.status)
        log_refusal(problem, principal, method, template)
        return problem_reply(problem)


def problem_reply(problem: Problem) -> Reply:
    document = problem.to_json()
    more = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return Reply(problem.status, [*_headers(MEDIA_TYPE.encode(), document), *more], document)


def _headers(media_type: bytes, document: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", media_type), (b"content-length", b"%d" % len(document))]
