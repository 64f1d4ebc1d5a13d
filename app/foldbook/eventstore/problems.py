"""An error as the sender of a request is told it, whichever way that came in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import asyncpg
import msgspec

from foldbook.echo import log_failure
from foldbook.errors import FoldbookError, Kind, kind_of
from foldbook.postgres.sqlstates import answer
from foldbook.problems import problem_document

UNREGISTERED = Kind(409, "The command was refused")
"""For a code that this program does not know: a replayed refusal that a newer program recorded."""


class Explained(NamedTuple):
    """What the sender of a request is told of an error. ``details`` are named facts, ready for JSON."""

    code: str
    detail: str
    details: Mapping[str, Any] = MappingProxyType({})

    @property
    def kind(self) -> Kind:
        return kind_of(self.code) or UNREGISTERED

    def document(self) -> dict[str, Any]:
        """RFC 9457."""
        return problem_document(self.code, self.kind, self.detail, self.details)


def explain(error: Exception) -> Explained:
    """An unexpected error is logged, and shown without details."""
    match error:
        case FoldbookError():
            explained = Explained(error.code, error.detail, error.details)
            if explained.kind.status == 500:
                log_failure(error)
            return explained
        case asyncpg.PostgresError():
            return explain(answer(error))
        case msgspec.ValidationError():
            return _of_content(str(error))
        case msgspec.DecodeError() | UnicodeDecodeError():
            return Explained("malformed", str(error))
        case RecursionError():
            return Explained("malformed", "it is nested too deeply")
        case _:
            log_failure(error)
            return Explained("internal", "the failure was logged")


_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_SHAPE = re.compile(r", got `|out of range|unknown field|missing required field|^Expected `\w+`$")


def _of_content(message: str) -> Explained:
    """What msgspec found. JSON of the wrong shape is malformed; a value that its field cannot hold breaks a rule of the
    command."""
    found = _PATH.search(message)
    what = _PATH.sub("", message)
    path = found["path"] if found else ""
    if _SHAPE.search(what):
        return Explained("malformed", what, {"path": path} if path else {})
    return Explained("invalid-command", f"{path}: {what}", {"field": path})
