"""The OpenAPI document and a page to read and try it, served without any other host.

Litestar describes its routes; the commands' declarations describe the commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import metadata, resources

import msgspec
from litestar import Litestar, Response, get, route
from litestar.di import Provide
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath
from msgspec import Struct

from foldbook.api.commands.calls import command_calls
from foldbook.api.commands.envelope import HEADERS
from foldbook.api.commands.openapi import command_paths
from foldbook.api.problems import Problem, answers_of
from foldbook.api.queries import log
from foldbook.api.queries.parameters import LogTypes
from foldbook.api.routes import may, roles_of_route
from foldbook.api.sessions import COOKIE
from foldbook.api.streams.openapi import stream_paths
from foldbook.eventstore.events import Command
from foldbook.openapi import complete, templates_of

_STATIC = resources.files("foldbook.api") / "static"
_FILES = {
    "docs.js": (_STATIC / "docs.js", "text/javascript"),
    "swagger-ui.css": (_STATIC / "swagger-ui" / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (_STATIC / "swagger-ui" / "swagger-ui-bundle.js", "text/javascript"),
}
_POLICY = (
    # Nothing from elsewhere, and no script but from our files.
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'unsafe-inline'",  # Swagger UI sets styles
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
_HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_SCHEMES = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key: `fbk_...`. The first start makes one, `operator.key` in the data folder.",
    },
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "What `POST /session` gives a page."},
}
"""How a request shows who sends it."""


class Welcome(Struct, frozen=True, kw_only=True):
    """Where to go from ``/``."""

    name: str = "foldbook"
    version: str
    docs: str = "/docs"
    openapi: str = "/openapi.json"
    ready: str = "/health/ready"


@lru_cache(maxsize=2)
def openapi_document(
    routes: tuple[HTTPRouteHandler, ...],
    injected: tuple[str, ...],
    commands: tuple[type[Command], ...],
    log_types: LogTypes,
) -> bytes:
    """The OpenAPI 3.1 document of ``routes``, without their ``injected`` parameters, and of ``commands``. Building it
    takes half a second, once."""
    described = Litestar(
        routes,
        logging_config=None,
        dependencies={name: Provide(lambda: None, sync_to_thread=False) for name in injected},
        openapi_config=OpenAPIConfig(
            title="Foldbook",
            version=metadata.version("foldbook"),
            description="Commands in, facts in the log, questions out. Errors are problem details (RFC 9457).",
            use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin()],
        ),
    )
    document = described.openapi_schema.to_schema()
    complete(document, routes, answers_of(()), {header.name: header.schema for header in HEADERS})
    paths, schemas = command_paths(commands, command_calls(commands))
    for path, operations in {**paths, **stream_paths(log_types.events)}.items():
        document["paths"].setdefault(path, {}).update(operations)
    known = {"type": log_types.events, "aggregate_type": log_types.aggregates}
    for parameter in document["paths"][log.EVENTS]["get"]["parameters"]:
        if parameter["name"] in known:
            parameter["schema"]["enum"] = sorted(known[parameter["name"]])
    document["components"]["securitySchemes"] = _SCHEMES
    document["security"] = [{name: []} for name in _SCHEMES]
    for method, path in _open_to_all(routes):
        document["paths"][path][method]["security"] = []
    # Of a type that both use, the commands' description says more, such as that there are no other fields.
    document["components"]["schemas"] |= schemas
    return msgspec.json.encode(document)


def _open_to_all(routes: Iterable[HTTPRouteHandler]) -> Iterator[tuple[str, str]]:
    """Method and path of each route that needs no key."""
    for one in routes:
        if roles_of_route(one) is None:
            yield from ((method.lower(), path) for path in templates_of(one) for method in one.http_methods)


def docs_routes(document: bytes) -> list[HTTPRouteHandler]:
    page = (_STATIC / "docs.html").read_bytes()
    files = {name: (path.read_bytes(), media_type) for name, (path, media_type) in _FILES.items()}
    welcome = Welcome(version=metadata.version("foldbook"))

    @route("/", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False, opt=may(None))
    async def get_welcome() -> Response[Welcome]:
        return Response(welcome)

    @get("/openapi.json", include_in_schema=False, opt=may(None))
    async def get_document() -> Response[bytes]:
        return Response(document, media_type="application/json")

    @get("/docs", include_in_schema=False, opt=may(None))
    async def get_page() -> Response[bytes]:
        return Response(page, media_type="text/html", headers=_HEADERS)

    @get("/docs/{name:str}", include_in_schema=False, opt=may(None))
    async def get_file(name: FromPath[str]) -> Response[bytes]:
        if name not in files:
            raise Problem("not-found", f"there is no /docs/{name}")
        content, media_type = files[name]
        return Response(content, media_type=media_type, headers=_HEADERS)

    return [get_welcome, get_document, get_page, get_file]
