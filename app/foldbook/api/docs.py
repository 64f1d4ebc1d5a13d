"""The OpenAPI document and a page to read and try it, served without any other host."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata, resources
from typing import Any

import msgspec
from litestar import Litestar, Response, get
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath

from foldbook.api.commands import bulk
from foldbook.api.commands.handlers import provide_envelope
from foldbook.api.commands.schemas import CommandLine
from foldbook.api.problems import Problem

_STATIC = resources.files("foldbook.api") / "static"
_FILES = {
    "docs.js": (_STATIC / "docs.js", "text/javascript"),
    "swagger-ui.css": (_STATIC / "swagger-ui" / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (_STATIC / "swagger-ui" / "swagger-ui-bundle.js", "text/javascript"),
}
_HEADERS = {
    # What the page may load, so that nothing ever comes from elsewhere.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "Cache-Control": "no-cache",
}


@lru_cache(maxsize=1)
def openapi_document(handlers: tuple[HTTPRouteHandler, ...], injected: tuple[str, ...]) -> bytes:
    """The OpenAPI 3.1 document of ``handlers``, the parameters ``injected`` left out. It takes half a second: once."""
    described = Litestar(
        handlers,
        logging_config=None,
        dependencies={
            **{name: Provide(lambda: None, sync_to_thread=False) for name in injected},
            "envelope": Provide(provide_envelope, sync_to_thread=False),
        },
        openapi_config=OpenAPIConfig(
            title="Foldbook",
            version=metadata.version("foldbook"),
            description="Commands in, facts in the log, questions out. Errors are problem details (RFC 9457).",
            use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin()],
        ),
    )
    document = described.openapi_schema.to_schema()
    _describe_lines(document)
    return msgspec.json.encode(document)


def _describe_lines(document: dict[str, Any]) -> None:
    """What Litestar cannot know: the lines that ``POST /commands`` reads and writes."""
    (line,), components = msgspec.json.schema_components([CommandLine], ref_template="#/components/schemas/{name}")
    for name, schema in components.items():
        document["components"]["schemas"].setdefault(name, schema)
    answers = [{"$ref": f"#/components/schemas/{name}"} for name in ("CommandAnswer", "ProblemDocument")]
    call = document["paths"]["/commands"]["post"]
    call["requestBody"] = {"required": True, "content": {bulk.MEDIA_TYPE: {"schema": line}}}
    call["responses"]["200"] = {
        "description": "A line for each line",
        "content": {bulk.MEDIA_TYPE: {"schema": {"anyOf": answers}}},
    }


def docs_handlers(document: bytes) -> list[HTTPRouteHandler]:
    page = (_STATIC / "docs.html").read_bytes()
    files = {name: (path.read_bytes(), media_type) for name, (path, media_type) in _FILES.items()}

    @get("/openapi.json", include_in_schema=False)
    async def get_document() -> Response[bytes]:
        return Response(document, media_type="application/json")

    @get("/docs", include_in_schema=False)
    async def get_page() -> Response[bytes]:
        return Response(page, media_type="text/html", headers=_HEADERS)

    @get("/docs/{name:str}", include_in_schema=False)
    async def get_file(name: FromPath[str]) -> Response[bytes]:
        if name not in files:
            raise Problem("not-found", f"there is no /docs/{name}")
        content, media_type = files[name]
        return Response(content, media_type=media_type, headers=_HEADERS)

    return [get_document, get_page, get_file]
