"""Problem details (RFC 9457): how an error is shown, whichever interface it is, and read again.

A code is stable; the module that raises it registers its status and title (``foldbook.errors``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from foldbook.echo import shown
from foldbook.errors import Kind, kind_of, register

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:foldbook:problem:"

register(
    {
        "malformed": (400, "The request cannot be read"),
        "not-found": (404, "The resource does not exist"),
        "method-not-allowed": (405, "The resource does not support this method"),
        "body-too-large": (413, "The body is too large"),
        "unsupported-media-type": (415, "The body has an unsupported media type"),
    }
)
CODE_OF_STATUS = {
    400: "malformed",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
}
"""What the framework's own errors are called."""


def problem_document(code: str, kind: Kind, detail: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """The members of RFC 9457, and ``details``, of which none takes the place of those."""
    members = {"type": _TYPE_PREFIX + code, "title": kind.title, "status": kind.status, "detail": shown(detail)}
    further = {name: shown(value) if isinstance(value, str) else value for name, value in details.items()}
    return {**members, **further, **members}


def code_of(problem_type: str) -> str:
    """The code in a document's ``type``."""
    return problem_type.removeprefix(_TYPE_PREFIX)


def by_status(codes: Iterable[str], unregistered: Kind) -> dict[int, list[str]]:
    """Each code once. ``unregistered``: the kind of those that nobody has registered."""
    grouped: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        grouped.setdefault((kind_of(code) or unregistered).status, []).append(code)
    return grouped
