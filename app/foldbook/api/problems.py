"""Every error of the interface, the framework's own included, is one kind of document. Only ``problem_of`` turns
exceptions into problems, and it cannot fail."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec

from foldbook.errors import FoldbookError, kind_of, register
from foldbook.eventstore.problems import UNREGISTERED, Explained, explain
from foldbook.openapi import problem_answer
from foldbook.problems import CODE_OF_STATUS, MEDIA_TYPE, by_status
from foldbook.trading.values import OrdStatus
from foldbook.wire.requests import REFUSALS, RequestRefused

logger = logging.getLogger(__name__)

register(
    {
        "unknown-instrument": (404, "The account has not defined this instrument"),
        "unknown-position": (404, "The account has not traded this symbol"),
        "not-ready": (503, "The engine is not ready"),
        "projection-behind": (504, "The read tables have not reached the position"),
    }
)
GATE_PROBLEMS = (*REFUSALS, "unauthenticated", "forbidden", "foreign-origin", "wrong-host", "rate-limited")
"""What any request can be answered before it is looked at."""

RETRY_AFTER_S = 1


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457, with the members that some codes add."""

    type: Annotated[str, msgspec.Meta(examples=["urn:foldbook:problem:invalid-command"])]
    title: str
    status: int
    detail: str
    field: str | None = None
    path: str | None = None
    expected: int | None = None
    actual: int | None = None
    order_status: OrdStatus | None = None
    min_position: int | None = None
    checkpoint: int | None = None
    in_doubt: bool | None = None


class Problem(FoldbookError):
    """An error as an answer. ``details`` are the document's members in addition to those of RFC 9457."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **details: object) -> None:
        super().__init__(detail, **details)
        self.code = code
        kind = kind_of(code)
        if kind is None:
            logger.error("the code %r is not registered: %s", code, detail)
        self.status, self.title = kind or UNREGISTERED
        self.headers = dict(headers or {})
        if self.status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        if self.status == 401:  # RFC 9110, 15.5.2
            self.headers.setdefault("WWW-Authenticate", "Bearer")

    def document(self) -> dict[str, Any]:
        return Explained(self.code, self.detail, self.details).document()

    def to_json(self) -> bytes:
        return _ENCODER.encode(self.document())


_ENCODER = msgspec.json.Encoder(enc_hook=str)  # a detail of any type can be shown


def body_too_large(bytes_max: int) -> Problem:
    return Problem("body-too-large", f"a body may have at most {bytes_max} bytes")


def problem_of(error: Exception) -> Problem:
    """What the caller sees of ``error``. An unexpected error is logged, and shown without details."""
    match error:
        case Problem():
            return error
        case HTTPException() if error.status_code in CODE_OF_STATUS:
            return _problem_of_framework(error)
        case _:
            code, detail, details = explain(error)
            problem = Problem(code, detail)
            problem.details = dict(details)
            if isinstance(error, FoldbookError) and error.retry_after_s is not None:
                problem.headers["Retry-After"] = str(error.retry_after_s)
            if isinstance(error, RequestRefused):
                problem.headers["Connection"] = "close"
            return problem


def _problem_of_framework(error: HTTPException) -> Problem:
    fields: dict[str, Any] = {}
    detail = error.detail
    match error.extra:
        # A query or header parameter of the wrong type.
        case [{"message": str(message), "key": str(key)}, *_]:
            detail, fields = f"{key}: {message}", {"field": key}
    return Problem(CODE_OF_STATUS[error.status_code], detail, headers=error.headers, **fields)


def problem_response(problem: Problem) -> Response[bytes]:
    return Response(problem.to_json(), status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def answers_of(codes: Iterable[str]) -> dict[int, list[str]]:
    """The codes by their status, the gate's among them."""
    return by_status((*codes, *GATE_PROBLEMS), UNREGISTERED)


def answers_in_openapi(codes: Iterable[str]) -> dict[str, Any]:
    """The same as an operation's answers, for what is no route of the framework's."""
    return {str(status): problem_answer(same_status) for status, same_status in answers_of(codes).items()}


def problem_responses(*codes: str) -> dict[int, ResponseSpec]:
    """The problems that a route can return, for its documentation; the gate's are among them."""
    return {
        status: ResponseSpec(
            ProblemDocument, generate_examples=False, media_type=MEDIA_TYPE, description=", ".join(same_status)
        )
        for status, same_status in answers_of(codes).items()
    }
