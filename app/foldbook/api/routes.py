"""What stands before every route of Litestar: may this principal call it, and is its body acceptable?

A route says in its options who may call it: ``opt=may(READERS)``. One that does not is refused when the application is
built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler

from foldbook.access.principal import UNKNOWN, Principal
from foldbook.access.roles import Roles
from foldbook.api.commands.envelope import metadata_of
from foldbook.api.gate import (
    PRINCIPAL,
    SAFE_METHODS,
    Application,
    Bodies,
    ClientGone,
    Receive,
    Scope,
    Send,
    has_body,
    refuse_keys,
)
from foldbook.api.paths import account_of
from foldbook.api.problems import problem_of, problem_response
from foldbook.api.refusals import log_refusal
from foldbook.eventstore.events import Metadata
from foldbook.eventstore.strict_json import refuse_repeated_keys
from foldbook.wire.requests import Headers, headers_of

ROLES = "roles"
"""The option of a route that says who may call it."""


def may(roles: Roles | None) -> dict[str, Any]:
    """The options of a route that these roles may call, beside operators. None: everybody, with or without a key."""
    return {ROLES: roles}


def roles_of_route(route: HTTPRouteHandler) -> Roles | None:
    roles: Roles | None = route.opt[ROLES]
    return roles


def check_routes(routes: Iterable[HTTPRouteHandler]) -> None:
    """Raises ``ValueError`` for a route that does not say who may call it."""
    for route in routes:
        if ROLES not in (route.opt or {}):
            raise ValueError(f"{sorted(route.paths)} does not say who may call it")


def answer_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler for every exception."""
    problem = problem_of(error)
    principal: Principal = cast(dict[str, Any], request.scope).get(PRINCIPAL, UNKNOWN)
    log_refusal(problem, principal, request.method, cast(dict[str, Any], request.scope).get("path_template", "unknown"))
    return problem_response(problem)


def principal_of_request(request: Request[Any, Any, Any]) -> Principal:
    principal: Principal = cast(dict[str, Any], request.scope)[PRINCIPAL]
    return principal


def metadata_of_request(request: Request[Any, Any, Any]) -> Metadata:
    """Of a command that a route makes. Raises what ``metadata_of`` does."""
    return metadata_of(headers_of(request.scope["headers"]), principal_of_request(request))


class GatedRoutes:
    """An ASGI application in front of the routes of ``app``, whose framework answers what this raises.

    ``check_live``: is the key still in force, after a body that took its time?
    """

    def __init__(self, app: Application, bodies: Bodies, check_live: Callable[[Principal], None]) -> None:
        self._app = app
        self._bodies = bodies
        self._check_live = check_live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            roles: Roles | None = scope["route_handler"].opt.get(ROLES, frozenset())
            if roles is not None and scope["method"] != "OPTIONS":
                self._authorize(scope, roles)
            refuse_keys(b"%b?%b" % (scope["path"].encode(), scope["query_string"]), "URL")
            headers = headers_of(scope["headers"])
            is_body = has_body(headers)
            if is_body or scope["method"] not in SAFE_METHODS:
                self._bodies.check(headers)
            if is_body and roles is not None:  # A call that needs no key takes no body, and keeps none for anybody.
                try:
                    receive = _again(await self._checked_body(receive, headers), receive)
                except ClientGone:
                    return
                self._check_live(scope[PRINCIPAL])
        await self._app(scope, receive, send)

    def _authorize(self, scope: Scope, roles: Roles) -> None:
        principal: Principal = scope[PRINCIPAL]
        principal.require_key()
        named = scope["path_params"]
        account = account_of(named["user"], named["exchange"], named["broker"]) if "broker" in named else None
        principal.check(roles, account)

    async def _checked_body(self, receive: Receive, headers: Headers) -> bytes:
        body = await self._bodies.read(receive, headers)
        refuse_keys(body, "body")
        refuse_repeated_keys(body)
        return body


def _again(body: bytes, then: Receive) -> Receive:
    """Receives a body that was already read, then what comes after it."""
    rest = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        message: dict[str, Any] | None = next(rest, None)
        return await then() if message is None else message

    return receive
