"""Problem details (RFC 9457): every error of the interface, the framework's own included, as one kind of document.

A code is stable; its status and title stand in ``KINDS``. ``problem_of`` is the one place that turns exceptions into
problems.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec

from foldbook.errors import IdempotencyConflict, Overloaded, ProjectionError, Refusal, StoreUnavailable
from foldbook.trading.values import OrdStatus

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:foldbook:problem:"

KINDS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "unknown-account": (404, "No order book is open for this account"),
    "unknown-order": (404, "The account has no such order"),
    "unknown-instrument": (404, "The account has no such instrument"),
    "unknown-position": (404, "The account has not traded this symbol"),
    "unknown-projection": (404, "There is no such projection"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "The resource does not know this method"),
    "already-exists": (409, "It exists already"),
    "duplicate-order": (409, "The order id was used for another order"),
    "idempotency-conflict": (409, "The command id came before with other content"),
    "instrument-in-use": (409, "The account has a position or an open order in the symbol"),
    "order-closed": (409, "The order is closed"),
    "projection-busy": (409, "The projection is busy"),
    "projection-not-stopped": (409, "The projection is not stopped there"),
    "too-many-requests": (409, "Too many requests about the order wait for the broker's answer"),
    "too-many-symbols": (409, "The account has too many symbols"),
    "sequence-conflict": (412, "The aggregate is at another sequence"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body is of another media type"),
    "invalid-command": (422, "The command breaks a rule"),
    "internal": (500, "The engine failed"),
    "projection-failed": (500, "The projection failed"),
    "not-ready": (503, "The engine is not ready"),
    "overloaded": (503, "The engine has too much to do"),
    "unavailable": (503, "The database cannot be reached"),
    "projection-behind": (504, "The read tables have not reached the position"),
}
"""Code: status and title."""

_CODE_OF_STATUS = {
    400: "malformed",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
}
RETRY_AFTER_S = 1


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457, with the members that a code brings along."""

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


class Problem(Exception):
    """An error on its way out. ``fields`` are the document's own members beside those of RFC 9457."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status, self.title = KINDS[code]
        self.fields = fields
        self.headers = dict(headers or {})
        if self.status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))

    def document(self) -> dict[str, Any]:
        return {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.fields,
        }

    def to_json(self) -> bytes:
        return msgspec.json.encode(self.document())


def body_too_large(bytes_max: int) -> Problem:
    return Problem("body-too-large", f"a body has at most {bytes_max} bytes")


def problem_of(error: Exception) -> Problem:
    """The problem that tells a caller of ``error``; what nobody foresaw is logged and told without details."""
    match error:
        case Problem():
            return error
        case Refusal():
            return Problem(error.refusal, error.detail, **dict[str, Any](error.details))
        case Overloaded():
            return Problem("overloaded", str(error), headers={"Retry-After": str(error.retry_after_s)})
        case StoreUnavailable():
            return Problem(
                "unavailable", str(error), headers={"Retry-After": str(error.retry_after_s)}, in_doubt=error.in_doubt
            )
        case IdempotencyConflict():
            return Problem("idempotency-conflict", str(error))
        case ProjectionError():
            return Problem(error.projection_code, str(error))
        case msgspec.ValidationError():
            return _problem_of_content(str(error))
        case msgspec.DecodeError() | UnicodeDecodeError():
            return Problem("malformed", str(error))
        case HTTPException() if error.status_code in _CODE_OF_STATUS:
            return _problem_of_framework(error)
        case _:
            logger.error("a request failed", exc_info=error)
            return Problem("internal", "The failure was logged.")


_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_SHAPE = re.compile(r", got `|out of range|unknown field|missing required field|^Expected `\w+`$")


def _problem_of_content(said: str) -> Problem:
    """What msgspec found: JSON of another shape is malformed; a word or a text that no field of its type can hold
    breaks a rule of the command."""
    found = _PATH.search(said)
    what = _PATH.sub("", said)
    path = found["path"] if found else ""
    if _SHAPE.search(what):
        place: dict[str, Any] = {"path": path} if path else {}
        return Problem("malformed", what, **place)
    return Problem("invalid-command", f"{path}: {what}", field=path)


def _problem_of_framework(error: HTTPException) -> Problem:
    fields: dict[str, Any] = {}
    detail = error.detail
    match error.extra:
        # A query or header parameter that is not what its type says.
        case [{"message": str(message), "key": str(key)}, *_]:
            detail, fields = f"{key}: {message}", {"field": key}
    return Problem(_CODE_OF_STATUS[error.status_code], detail, headers=error.headers, **fields)


def answer_problem(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler for every exception."""
    problem = problem_of(error)
    return Response(problem.to_json(), status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def told(*codes: str) -> dict[int, ResponseSpec]:
    """The problems that a call can answer with, for its documentation."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code][0], []).append(code)
    return {
        status: ResponseSpec(
            ProblemDocument, generate_examples=False, media_type=MEDIA_TYPE, description=", ".join(same_status)
        )
        for status, same_status in by_status.items()
    }
