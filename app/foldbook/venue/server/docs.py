"""The venue's own OpenAPI document, and the page to read and try it, served without any other host."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib import metadata, resources

import msgspec
from litestar import Litestar, Response, get
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from foldbook.openapi import complete
from foldbook.problems import by_status
from foldbook.venue.server.problems import UNREGISTERED, VenueProblem
from foldbook.wire.requests import REFUSALS

_STATIC = resources.files("foldbook") / "api" / "static"
"""The page is the one that the engine's API has, too."""
_FILES = {
    "docs.js": (_STATIC / "docs.js", "text/javascript"),
    "swagger-ui.css": (_STATIC / "swagger-ui" / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (_STATIC / "swagger-ui" / "swagger-ui-bundle.js", "text/javascript"),
}
_HEADERS = {
    # The page may load nothing from elsewhere.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "Cache-Control": "no-cache",
}


@cache
def openapi_document(routes: tuple[HTTPRouteHandler, ...], injected: tuple[str, ...]) -> bytes:
    """The OpenAPI 3.1 document of ``routes`` without their ``injected`` parameters. Building it takes half a second."""
    described = Litestar(
        routes,
        logging_config=None,
        dependencies={name: Provide(lambda: None, sync_to_thread=False) for name in injected},
        openapi_config=OpenAPIConfig(
            title="Foldbook venue",
            version=metadata.version("foldbook"),
            description="A simulated exchange. Over WebSocket, /orders takes many orders on one connection, and "
            "/reports and /market are streams. Errors are problem details (RFC 9457).",
            use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin()],
        ),
    )
    document = described.openapi_schema.to_schema()
    complete(document, routes, by_status((*REFUSALS, "body-too-large"), UNREGISTERED), {})
    return msgspec.json.encode(document)


def docs_routes(routes: tuple[HTTPRouteHandler, ...], injected: tuple[str, ...]) -> list[HTTPRouteHandler]:
    @get("/openapi.json", include_in_schema=False)
    async def get_document() -> Response[bytes]:
        document = await asyncio.to_thread(openapi_document, routes, injected)
        return Response(document, media_type="application/json")

    @get("/docs", include_in_schema=False)
    async def get_page() -> Response[bytes]:
        return Response((_STATIC / "docs.html").read_bytes(), media_type="text/html", headers=_HEADERS)

    @get("/docs/{name:str}", include_in_schema=False)
    async def get_file(name: str) -> Response[bytes]:
        if name not in _FILES:
            raise VenueProblem("not-found", f"there is no /docs/{name}")
        content, media_type = _FILES[name]
        return Response(content.read_bytes(), media_type=media_type, headers=_HEADERS)

    return [get_document, get_page, get_file]
