"""Percent-encoding in paths.

A name may contain what a path cannot, even a slash: ``BTC/USDT`` is the segment ``BTC%2FUSDT``. ASGI servers decode a
whole path, after which that slash looks like a separator. So paths are read as they were sent, and compared in one
canonical spelling, whose segments are decoded only once they stand for something.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from foldbook.api.problems import Problem
from foldbook.wire.requests import check_path

_NOT_ESCAPED = "".join(sorted({*string.punctuation} - {*"%/"}))
"""What stands for itself in the canonical spelling, beside letters and digits: what a path may contain unescaped."""

_ESCAPED_BADLY = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def path_of(scope: Mapping[str, Any]) -> str:
    """The canonical spelling of a request's path. Raises ``Problem``, ``RequestRefused``."""
    if (raw := scope.get("raw_path")) is not None:
        check_path(raw)
        return canonical_path(raw)
    # A server need not say how a path was sent. Without that, every slash is a separator.
    return quote(scope["path"], safe=_NOT_ESCAPED + "/")


def canonical_path(raw: bytes) -> str:
    """The one spelling of all that say the same: only what has to be escaped is escaped. Raises ``Problem``."""
    return raw.decode() if _is_plain(raw) else "/".join(map(_canonical, raw.split(b"/")))


def _is_plain(text: bytes) -> bool:
    return b"%" not in text and text.isascii()


def _canonical(segment: bytes) -> str:
    if _is_plain(segment):
        return segment.decode()
    if _ESCAPED_BADLY.search(segment):
        raise Problem("malformed", "a percent sign in the path is not followed by two hexadecimal digits")
    text = unquote_to_bytes(segment)
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Problem("malformed", "the path is not UTF-8") from None
    return quote(text, safe=_NOT_ESCAPED)


def name_in(canonical: str) -> str:
    """The name that a segment of a canonical path, or several of them, stands for.

    A part of a name of several segments has no slash of its own, or it would be another name. If it has one, the text
    is returned as it is, which is no valid name.
    """
    if "%" not in canonical or ("/" in canonical and "%2F" in canonical):
        return canonical
    return unquote(canonical)


def segment_of(name: str) -> str:
    """The segment of a path that stands for a name."""
    return quote(name, safe=":")
