"""Questions about positions: as they are, as they were, and how they came to be."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from foldbook.api.paths import OF_ACCOUNT, account_of, is_symbol
from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.documents import Position, PositionHistory, PositionPage
from foldbook.api.queries.orders import (
    ACCOUNT_PROBLEMS,
    LIMIT_DEFAULT,
    POSITION,
    POSITION_MAX,
    AfterPosition,
    AfterSymbol,
    Limit,
    MinPosition,
    answer,
    page,
    unknown_account,
)
from foldbook.api.queries.reader import Reader
from foldbook.trading.values import NAME

OF_POSITIONS = f"{OF_ACCOUNT}/positions"
OF_POSITION = f"{OF_POSITIONS}/{{symbol:str}}"

PROJECTION = "positions"

AsOf = Annotated[
    datetime | None,
    QueryParameter(description="What was recorded up to that time, by the database's clock: `recorded_at`."),
]
AsOfPosition = Annotated[
    int | None,
    QueryParameter(ge=0, le=POSITION_MAX, description="What the log says up to that position of it."),
]

_QUESTION = "select * from trading.query_positions($1, $2, $3, $4, $5, $6)"


@get(OF_POSITIONS, tags=["queries"], responses=problem_responses(*ACCOUNT_PROBLEMS), response_headers=POSITION)
async def get_positions(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    as_of: AsOf = None,
    as_of_position: AsOfPosition = None,
    after: AfterSymbol = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[PositionPage]:
    """The positions of an account, by symbol: those that are flat, too.

    With `as_of` or `as_of_position`: as the log told them then. A later bust or correction does not change that.
    """
    account = account_of(user, exchange, broker)
    shard = reader.shard_of(account)
    asked = await _reached(reader, shard, as_of, as_of_position, min_position)
    row = await reader.row(_QUESTION, shard, account, None, asked, after or "", limit)
    if not row["is_account_known"]:
        raise unknown_account(account)
    return page("positions", row)


@get(
    OF_POSITION,
    tags=["queries"],
    responses=problem_responses("unknown-position", *ACCOUNT_PROBLEMS),
    response_headers=POSITION,
)
async def get_position(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    symbol: FromPath[str],
    as_of: AsOf = None,
    as_of_position: AsOfPosition = None,
    min_position: MinPosition = None,
) -> Response[Position]:
    """The position in one symbol.

    With `as_of` or `as_of_position`: as the log told it then. A later bust or correction does not change that.
    """
    account, symbol = account_of(user, exchange, broker), _symbol_of(symbol)
    shard = reader.shard_of(account)
    asked = await _reached(reader, shard, as_of, as_of_position, min_position)
    row = await reader.row(_QUESTION, shard, account, symbol, asked, "", 1)
    document = row["items"].strip()[1:-1]
    if not document:
        raise _unknown_position(account, symbol) if row["is_account_known"] else unknown_account(account)
    return answer(document, row["position"])


@get(
    f"{OF_POSITION}/history",
    tags=["queries"],
    responses=problem_responses("unknown-position", *ACCOUNT_PROBLEMS),
    response_headers=POSITION,
)
async def get_position_history(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    symbol: FromPath[str],
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[PositionHistory]:
    """How a position came to be: every execution, and what the position was after it."""
    account, symbol = account_of(user, exchange, broker), _symbol_of(symbol)
    shard = reader.shard_of(account)
    await reader.reach(PROJECTION, shard, min_position)
    row = await reader.row(
        "select * from trading.query_position_history($1, $2, $3, $4, $5)", shard, account, symbol, after, limit
    )
    if not row["is_position_known"]:
        raise _unknown_position(account, symbol) if row["is_account_known"] else unknown_account(account)
    return page("executions", row)


CALLS = (get_positions, get_position, get_position_history)


async def _reached(
    reader: Reader, shard: int, as_of: datetime | None, as_of_position: int | None, min_position: int | None
) -> int | None:
    """The position that is asked for, None for the latest, when the read tables show it."""
    if as_of is not None:
        if as_of_position is not None:
            raise Problem("malformed", "as_of and as_of_position exclude each other", field="as_of")
        if as_of.tzinfo is None:
            raise Problem("malformed", "as_of needs an offset from UTC: 2026-01-02T03:04:05Z", field="as_of")
        row = await reader.row("select eventstore.position_at($1, $2) as position", shard, as_of)
        as_of_position = row["position"]
    awaited = [position for position in (as_of_position, min_position) if position is not None]
    await reader.reach(PROJECTION, shard, max(awaited, default=None))
    return as_of_position


def _symbol_of(text: str) -> str:
    if not is_symbol(text):
        raise Problem("unknown-position", f"a symbol matches {NAME}")
    return text


def _unknown_position(account: str, symbol: str) -> Problem:
    return Problem("unknown-position", f"account {account} has not traded {symbol}")
