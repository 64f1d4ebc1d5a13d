"""Query parameters: their types, and how their text is read."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from litestar import Request
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from foldbook.api.problems import Problem
from foldbook.eventstore.times import parse_time
from foldbook.trading.values import ACCOUNT_PATTERN, NAME_PATTERN

POSITION_MAX = 2**63 - 1
SHARD_MAX = 1023
LIMIT_DEFAULT = 100
LIMIT_MAX = 1000

MinPosition = Annotated[
    int | None,
    QueryParameter(
        ge=0,
        le=POSITION_MAX,
        description="Wait until the answer shows the log up to this position, for at most 2 seconds.",
    ),
]
Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)]
Shard = Annotated[int, QueryParameter(ge=0, le=SHARD_MAX)]
AfterPosition = Annotated[int, QueryParameter(ge=0, le=POSITION_MAX, description="`next` of the previous page.")]
AfterSymbol = Annotated[str | None, QueryParameter(pattern=NAME_PATTERN, description="`next` of the previous page.")]
NameFilter = Annotated[str | None, QueryParameter(pattern=NAME_PATTERN)]
TextFilter = Annotated[str | None, QueryParameter(pattern=r"^[^\x00-\x1f\x7f]{1,200}(?!\n)$")]
AccountFilter = Annotated[str | None, QueryParameter(pattern=ACCOUNT_PATTERN, description="`user/exchange/broker`")]

_INTEGER = re.compile(r"[0-9]+")


async def check_query_parameters(request: Request[Any, Any, Any]) -> None:
    """Check, before any handler runs, that each parameter is known and given once, and that integers are plain digits.

    A misspelt filter must not count as no filter. Litestar takes the last of two values, and ``1.0`` for an integer.
    """
    is_integer = _query_parameters(request.route_handler)
    seen = set()
    for name, text in request.query_params.multi_items():
        if name not in is_integer:
            raise Problem("malformed", f"this call has no query parameter {name!r}", field=name)
        if name in seen:
            raise malformed(name, "is given twice")
        if is_integer[name] and not _INTEGER.fullmatch(text):
            raise malformed(name, "is not a whole number in plain digits")
        seen.add(name)


@lru_cache(maxsize=1024)
def _query_parameters(handler: BaseRouteHandler) -> dict[str, bool]:
    """The names of a handler's query parameters; True: an integer."""
    return {
        name: field.is_subclass_of(int) or field.has_inner_subclass_of(int)
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }


def words_of(name: str, text: str, known: Collection[str]) -> set[str]:
    """The words between the commas of a parameter's text."""
    words = set(text.split(","))
    if not words <= set(known):
        raise malformed(name, f"takes {', '.join(known)}, separated by commas")
    return words


def key_of(name: str, text: str, pattern: re.Pattern[str]) -> tuple[Any, ...]:
    """The parts of a page key: the groups of ``pattern``."""
    if (match := pattern.fullmatch(text)) is None:
        raise malformed(name, "is not `next` of another page")
    return match.groups()


def time_of(name: str, text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise malformed(name, f"is malformed: {error}") from None


def check_shard(shard: int, shard_count: int) -> None:
    if shard >= shard_count:
        raise malformed("shard", f"must be less than {shard_count}, the number of shards of this log")


def malformed(name: str, what: str) -> Problem:
    """``what`` completes a sentence that begins with the parameter's name."""
    return Problem("malformed", f"{name} {what}", field=name)
