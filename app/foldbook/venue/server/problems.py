"""Every error of the venue's interface is one kind of document, with a stable code."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException
from litestar.openapi.datastructures import ResponseSpec

from foldbook.echo import log_failure
from foldbook.errors import FoldbookError, Kind, kind_of, register
from foldbook.problems import CODE_OF_STATUS, MEDIA_TYPE, by_status, problem_document

register(
    {
        "invalid-request": (422, "The request breaks a rule"),
        "unknown-order": (404, "The account has no such order"),
        "order-rejected": (422, "The venue rejected the order"),
        "replace-rejected": (422, "The venue rejected the replace"),
        "order-not-open": (409, "The order is not open"),
        "unsupported": (405, "The venue does not do this"),
        "venue-full": (503, "The venue has no room for more of these"),
        "no-position": (409, "The account has no position in the symbol"),
        "no-price": (409, "No price is known"),
        "unknown-execution": (404, "The account has no such trade"),
        "fills-to-come": (409, "There have not been so many reports"),
        "fills-gone": (410, "The fills are not remembered any more"),
        "already-busted": (409, "The trade was busted before"),
    }
)

UNREGISTERED = Kind(500, "The venue failed")


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457. ``order_status``: of the order that is not open, likewise told as ``order``."""

    type: str
    title: str
    status: int
    detail: str
    order_status: str | None = None
    order: dict[str, Any] | None = None


class VenueProblem(FoldbookError):
    """An error as an answer."""

    def __init__(self, code: str, detail: str, **details: object) -> None:
        super().__init__(detail, **details)
        self.code = code


def problem_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and document. An unexpected error is logged, and shown without details."""
    code, detail, details = "internal", "the failure was logged", {}
    match error:
        case FoldbookError():
            code, detail, details = error.code, error.detail, error.details
        case HTTPException() if error.status_code in CODE_OF_STATUS:
            code, detail = CODE_OF_STATUS[error.status_code], _detail_of(error)
        case SerializationException() | msgspec.MsgspecError():
            code, detail = "malformed", str(error)
        case RecursionError():
            code, detail = "malformed", "it is nested too deeply"
        case _:
            log_failure(error)
    kind = kind_of(code) or UNREGISTERED
    return kind.status, problem_document(code, kind, detail, details)


def _detail_of(error: HTTPException) -> str:
    match error.extra:
        case [{"message": str(message), "key": str(key)}, *_]:
            return f"{key}: {message}"
    return error.detail


def answer_problem(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler for every exception."""
    status, document = problem_of(error)
    return Response(msgspec.json.encode(document), status_code=status, media_type=MEDIA_TYPE)


def problem_responses(*codes: str) -> dict[int, ResponseSpec]:
    """The problems that a route can return, for its documentation."""
    return {
        status: ResponseSpec(
            ProblemDocument, generate_examples=False, media_type=MEDIA_TYPE, description=", ".join(same_status)
        )
        for status, same_status in by_status(codes, UNREGISTERED).items()
    }
