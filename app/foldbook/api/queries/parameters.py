"""Query parameters: their types, and how their text is read."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from litestar import Request
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from foldbook.api.problems import Problem
from foldbook.api.queries.reader import Reader
from foldbook.eventstore.times import parse_time
from foldbook.trading.values import ACCOUNT_PATTERN, NAME_PATTERN, SYMBOL, SYMBOL_PATTERN

CURRENCY_PATTERN = rf"^{SYMBOL}(?:\|quote)?(?!\n)$"
"""The pattern of what the ledger has amounts of."""

POSITION_MAX = 2**63 - 1
SHARD_MAX = 1023
HASH_PATTERN = "[0-9a-f]{64}"
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
CommitHash = Annotated[
    str | None,
    QueryParameter(
        pattern=rf"^{HASH_PATTERN}(?!\n)$",
        description="`sealed.hash` of a page whose `sealed.position` is `after`: 409 if the log has another.",
    ),
]
AfterSymbol = Annotated[str | None, QueryParameter(pattern=SYMBOL_PATTERN, description="`next` of the previous page.")]
NameFilter = Annotated[str | None, QueryParameter(pattern=NAME_PATTERN)]
SymbolFilter = Annotated[
    str | None, QueryParameter(pattern=SYMBOL_PATTERN, description="A symbol, such as `BTC/USDT` or `ES=F`.")
]
TextFilter = Annotated[str | None, QueryParameter(pattern=r"^[^\x00-\x1f\x7f]{1,200}(?!\n)$")]
AfterCurrency = Annotated[
    str | None, QueryParameter(pattern=CURRENCY_PATTERN, description="`next` of the previous page.")
]
CurrencyFilter = Annotated[
    str | None,
    QueryParameter(
        pattern=CURRENCY_PATTERN,
        description="A currency, or for a symbol whose currency is not known, the symbol or `<symbol>|quote`.",
    ),
]
AsOf = Annotated[
    str | None,
    QueryParameter(
        schema_extra={"format": "date-time"},
        description="Show what was recorded up to this time (`recorded_at`, the database's clock).",
    ),
]
AsOfPosition = Annotated[
    int | None,
    QueryParameter(ge=0, le=POSITION_MAX, description="Show what the log said at this log position."),
]
AccountFilter = Annotated[str | None, QueryParameter(pattern=ACCOUNT_PATTERN, description="`user/exchange/broker`")]

_INTEGER = re.compile(r"[0-9]+")


async def check_query_parameters(request: Request[Any, Any, Any]) -> None:
    """Check, before any handler runs, that each parameter is known and given once, that none is missing, and that
    integers are plain digits.

    A misspelt filter must not count as no filter. Litestar takes the last of two values, and ``1.0`` for an integer.
    """
    known = _query_parameters(request.route_handler)
    seen = set()
    for name, text in request.query_params.multi_items():
        if name not in known:
            raise Problem("malformed", f"this call has no query parameter {name!r}", field=name)
        if name in seen:
            raise malformed(name, "is given twice")
        if known[name].is_integer and not _INTEGER.fullmatch(text):
            raise malformed(name, "is not a whole number in plain digits")
        seen.add(name)
    for name, parameter in known.items():
        if parameter.is_required and name not in seen:
            raise malformed(name, "is missing")


class _Parameter(NamedTuple):
    is_integer: bool
    is_required: bool


@lru_cache(maxsize=1024)
def _query_parameters(handler: BaseRouteHandler) -> dict[str, _Parameter]:
    """A handler's query parameters by name."""
    return {
        name: _Parameter(field.is_subclass_of(int) or field.has_inner_subclass_of(int), field.is_required)
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }


def after_key(*patterns: re.Pattern[str]) -> QueryParameter:
    """Where a page begins: ``next`` of the previous one, which has one of these forms."""
    forms = "|".join(pattern.pattern for pattern in patterns)
    return QueryParameter(schema_extra={"pattern": f"^(?:{forms})?$"}, description="`next` of the previous page.")


def words(known: Collection[str], description: str) -> QueryParameter:
    """Some of ``known``, separated by commas."""
    word = f"(?:{'|'.join(known)})"
    return QueryParameter(schema_extra={"pattern": f"^{word}(?:,{word})*$"}, description=description)


def words_of(name: str, text: str, known: Collection[str]) -> set[str]:
    """The words between the commas of a parameter's text."""
    named = set(text.split(","))
    if not named <= set(known):
        raise malformed(name, f"takes {', '.join(known)}, separated by commas")
    return named


class LogTypes(NamedTuple):
    """The names of the types that this program knows: what a log of it can hold."""

    aggregates: Collection[str]
    events: Collection[str]


def check_known(name: str, text: str | None, known: Collection[str]) -> None:
    """A type that does not exist must not be searched for in the whole log, nor count as one without events."""
    if text is not None and text not in known:
        raise malformed(name, f"must be one of {', '.join(sorted(known))}")


def key_of(name: str, text: str, pattern: re.Pattern[str]) -> tuple[Any, ...]:
    """The parts of a page key: the groups of ``pattern``."""
    if (match := pattern.fullmatch(text)) is None:
        raise malformed(name, "is not `next` of another page")
    return match.groups()


def check_one_of(**given: str | int | None) -> None:
    """Raises ``Problem`` if more than one of the parameters is given."""
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise malformed(names[0], f"and {names[1]} exclude each other")


async def log_position_of(reader: Reader, shard: int, as_of: str | None, as_of_position: int | None) -> int | None:
    """The log position as of which to answer; None: the latest. Raises ``Problem``."""
    check_one_of(as_of=as_of, as_of_position=as_of_position)
    if as_of is None:
        return as_of_position
    row = await reader.ask("eventstore.position_at", shard, time_of("as_of", as_of))
    position: int = row["position_at"]
    return position


def later_of(*positions: int | None) -> int | None:
    return max((one for one in positions if one is not None), default=None)


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
