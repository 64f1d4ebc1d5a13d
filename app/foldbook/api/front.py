"""The front answers command calls, ``POST /commands`` and streams, on any server, and passes everything else on.

It is in front of Litestar. A method that a path does not have is answered here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from foldbook.access.principal import UNKNOWN, Principal
from foldbook.api.commands import bulk
from foldbook.api.commands.bulk import BulkCommands
from foldbook.api.commands.calls import CommandCall, CommandCalls
from foldbook.api.escapes import path_of
from foldbook.api.gate import PRINCIPAL, Application, Bodies, ClientGone, Gate, Receive, Reply, Scope, Send, respond
from foldbook.api.problems import Problem, problem_of
from foldbook.api.streams import events, market
from foldbook.api.streams.streams import StreamApplications
from foldbook.wire.connections import CONNECTION
from foldbook.wire.requests import Headers, headers_of

_ONLY_HERE = {bulk.PATH: {"POST"}, events.PATH: {"GET"}, market.PATH: {"GET"}}
"""The methods of paths that are answered here, beside those of commands."""


class Front:
    """An ASGI application in front of ``app``. ``others``: the methods that ``app`` has, by the template of their path.

    To ``app`` it passes paths in the canonical spelling (``escapes``).
    """

    def __init__(
        self,
        app: Application,
        calls: CommandCalls,
        bulk_commands: BulkCommands,
        streams: StreamApplications,
        gate: Gate,
        bodies: Bodies,
        others: Mapping[str, Collection[str]],
    ) -> None:
        self._app = app
        self.calls = calls
        self.gate = gate
        self.bodies = bodies
        self._bulk = bulk_commands
        self._streams = streams
        self.end_streams = streams.open.close
        self._others = _places(others)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._upgrade(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        try:
            principal = self._admit(scope, method)
            path = path_of(scope).rstrip("/")
        except Exception as error:
            await respond(send, self.calls.refuse(method, "unknown", problem_of(error)))
            return
        scope = {**scope, "path": path or "/", PRINCIPAL: principal}
        if (found := self.calls.find(method, path)) is not None:
            await self._execute(*found, scope, receive, send)
        elif path == bulk.PATH and method == "POST":
            await self._bulk(scope, receive, send)
        elif path == events.PATH and method == "GET":
            await self._streams.events(scope, receive, send)
        elif path == market.PATH and method == "GET":
            await respond(send, self.calls.refuse(method, path, market.without_upgrade(principal), principal))
        elif (here := self._without_app(method, path)) is not None:
            await respond(send, self._without_call(method, *here))
        else:
            await self._app(scope, receive, send)

    def _admit(self, scope: Scope, method: str) -> Principal:
        """Who sends the request. Raises what the gate does, and ``TooManyConnections``."""
        principal = self.gate.admit(headers_of(scope["headers"]), method)
        if (connection := scope.get(CONNECTION)) is not None:
            connection.claim(principal.key_id)
        return principal

    async def _upgrade(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # The client asks to connect.
        principal = UNKNOWN
        try:
            # A page of another site can ask for it, too: it is checked like a request that changes something.
            principal = self._admit(scope, "POST")
            path = path_of(scope).rstrip("/")
        except Exception as error:
            await market.refuse(scope, send, self.calls.refuse("GET", "unknown", problem_of(error), principal))
            return
        if path == market.PATH:
            await self._streams.market({**scope, PRINCIPAL: principal}, receive, send)
        else:
            problem = Problem("not-found", "there is no such WebSocket")
            await market.refuse(scope, send, self.calls.refuse("GET", "unknown", problem, principal))

    async def _execute(
        self, call: CommandCall, named: tuple[str, ...], scope: Scope, receive: Receive, send: Send
    ) -> None:
        principal: Principal = scope[PRINCIPAL]
        headers = headers_of(scope["headers"])
        try:
            principal.require_key()  # Before its body is read, and kept.
            body = await self._body(scope, headers, receive)
        except ClientGone:
            return
        except Exception as error:
            reply = self.calls.refuse(call.method, call.template, problem_of(error), principal)
        else:
            reply = await self.calls.reply(call, principal, named, headers, body)
        await respond(send, reply)

    async def _body(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        if scope["query_string"]:
            raise Problem("malformed", "commands take no query parameters")
        self.bodies.check(headers)
        return await self.bodies.read(receive, headers)

    def _without_app(self, method: str, path: str) -> tuple[str, set[str]] | None:
        """Template and methods of a known path, if ``app`` does not know the method there."""
        if path in _ONLY_HERE:
            return path, _ONLY_HERE[path]
        here = self.calls.at(path)
        if not here and method == "GET":
            return None  # Most requests. If the path has no GET, ``app`` says so.
        other = next((one for one in self._others if one.pattern.fullmatch(path or "/")), None)
        if other is None and not here:
            return None
        others = set() if other is None else other.methods
        template = here[0].template if here or other is None else other.template
        return None if method in others else (template, others | {call.method for call in here})

    def _without_call(self, method: str, template: str, methods: set[str]) -> Reply:
        allow = ", ".join(sorted(methods | {"OPTIONS"}))
        if method == "OPTIONS":
            self.calls.count(method, template, 204)
            return Reply(204, [(b"allow", allow.encode())], b"")
        problem = Problem("method-not-allowed", f"this path does not support {method}", headers={"Allow": allow})
        return self.calls.refuse(method, template, problem)


class _Place(NamedTuple):
    """A path of ``app``, and its methods."""

    template: str
    pattern: re.Pattern[str]
    methods: set[str]


def _places(others: Mapping[str, Collection[str]]) -> list[_Place]:
    """By how many parameters they have: a path that is named wins."""
    found: dict[str, _Place] = {}
    for template, methods in sorted(others.items(), key=lambda one: one[0].count("{")):
        text = "/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in template.split("/"))
        found.setdefault(text, _Place(template, re.compile(text), set())).methods.update(methods)
    return list(found.values())
