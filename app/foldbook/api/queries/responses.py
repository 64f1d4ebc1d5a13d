"""How queries are declared, and how the documents that SQL built are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from litestar import Response, get
from litestar.datastructures import ResponseHeader
from litestar.handlers import HTTPRouteHandler

from foldbook.access.roles import READERS
from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.addresses import ADDRESSES
from foldbook.api.queries.reader import Row
from foldbook.api.routes import may

_POSITION = [
    ResponseHeader(
        name="X-Position", description="The position of the log that the document shows", documentation_only=True
    )
]
_PROBLEMS = ("malformed", "unavailable", "projection-behind")

Declare = Callable[[Callable[..., Any]], HTTPRouteHandler]


def query(path: str, *problems: str) -> Declare:
    """Declare the handler of a query. ``problems``: its codes in addition to those of every query."""
    return get(
        path,
        tags=["queries"],
        responses=problem_responses(*problems, "unknown-account", *_PROBLEMS),
        response_headers=_POSITION,
        opt=may(READERS),
    )


def account_query(path: str, *problems: str) -> Declare:
    """Declare the handler of a query to one account. ``problems``: its codes in addition to those of every query.

    The handler may take what its path addresses: ``account``, ``order``, ``position``, ``instrument``.
    """
    return get(
        path,
        tags=["queries"],
        responses=problem_responses(*problems, "unknown-account", *_PROBLEMS),
        response_headers=_POSITION,
        dependencies=ADDRESSES,
        opt=may(READERS),
    )


class Address(Protocol):
    def missing(self, row: Row, /) -> Problem: ...


def document_response(row: Row, address: Address | None = None) -> Response[Any]:
    """The document in ``row``, with the position that it shows.

    Raises the problem of ``address`` if there is no document. Without an address there always is one.
    """
    document = row["document"]
    if document is None:
        assert address is not None, "a query without an address always has a document"
        raise address.missing(row)
    headers = {"X-Position": str(row["position"])}
    return Response(compact(document), media_type="application/json", headers=headers)


def compact(json: bytes) -> bytes:
    """Space JSON as msgspec does; PostgreSQL spaces it in three ways. A page of 1000 orders takes 0.6 ms."""
    return msgspec.json.format(json, indent=-1)
