"""The query string of a stream, with the rules that all calls have."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl

from foldbook.api.gate import refuse_keys
from foldbook.api.problems import Problem
from foldbook.api.queries.parameters import malformed

FIELDS_MAX = 16


def parameters_in(query: bytes, known: Collection[str]) -> dict[str, str]:
    """Each known parameter that is given, once. Raises ``Problem``."""
    refuse_keys(query, "URL")
    given: dict[str, str] = {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise Problem("malformed", f"the query string cannot be read: {error}") from None
    for name, text in pairs:
        if name not in known:
            raise Problem("malformed", f"this call has no query parameter {name!r}", field=name)
        if name in given:
            raise malformed(name, "is given twice")
        given[name] = text
    return given
