"""Sessions of browsers: a cookie for whoever shows a key."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from msgspec import Struct

from foldbook.access.principal import Principal
from foldbook.access.roles import EVERYBODY, Role, Unauthenticated
from foldbook.api.gate import Gate
from foldbook.api.problems import problem_responses
from foldbook.api.routes import may
from foldbook.api.sessions import cookie


class Session(Struct, frozen=True, kw_only=True):
    """Who the session belongs to. ``name`` None: the engine is open to all."""

    name: str | None
    roles: list[Role]
    accounts: list[str]


def _session_of(principal: Principal) -> Session:
    return Session(name=principal.name, roles=sorted(principal.roles), accounts=list(principal.accounts))


@post("/session", tags=["keys"], status_code=201, responses=problem_responses(), opt=may(EVERYBODY))
async def begin_session(
    request: Request[Any, Any, Any], gate: NamedDependency[Gate], principal: NamedDependency[Principal]
) -> Response[Session]:
    """Begin a session with the key in the Authorization header: later requests of this browser carry its cookie.

    It ends after 12 hours, with its key, or when the engine is started again."""
    headers = {"Cache-Control": "no-store"}
    if principal.key_id is not None:
        if "authorization" not in request.headers:
            raise Unauthenticated("a session begins with a key, not with another session")
        is_secure = request.headers.get("origin", "").startswith("https:")
        headers["Set-Cookie"] = cookie(gate.sessions.begin(principal), is_secure=is_secure)
    return Response(_session_of(principal), status_code=201, headers=headers)


@delete("/session", tags=["keys"], status_code=204, responses=problem_responses(), opt=may(None))
async def end_session(request: Request[Any, Any, Any], gate: NamedDependency[Gate]) -> Response[None]:
    """End the session of this browser, if it has one."""
    gate.sessions.end(request.headers.get("cookie", "").encode("latin-1"))
    return Response(None, status_code=204, headers={"Set-Cookie": cookie("", is_secure=False)})


@get("/session", tags=["keys"], responses=problem_responses(), opt=may(EVERYBODY))
async def get_session(principal: NamedDependency[Principal]) -> Session:
    """Who asks, and what they may do."""
    return _session_of(principal)


CALLS = (begin_session, get_session, end_session)
