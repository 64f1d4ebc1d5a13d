"""Queries about positions: as they are, as they were, and how they came to be."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from foldbook.api.paths import OF_ACCOUNT
from foldbook.api.queries.addresses import AddressedAccount, AddressedPosition
from foldbook.api.queries.documents import Position, PositionHistory, PositionPage
from foldbook.api.queries.parameters import (
    LIMIT_DEFAULT,
    POSITION_MAX,
    AfterPosition,
    AfterSymbol,
    Limit,
    MinPosition,
    malformed,
    time_of,
)
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import account_query, document_response

OF_POSITIONS = f"{OF_ACCOUNT}/positions"
OF_POSITION = f"{OF_POSITIONS}/{{symbol:str}}"

PROJECTION = "positions"

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


@account_query(OF_POSITIONS)
async def get_positions(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    as_of: AsOf = None,
    as_of_position: AsOfPosition = None,
    after: AfterSymbol = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[PositionPage]:
    """The positions of an account by symbol, flat ones included.

    With `as_of` or `as_of_position`: as the log had them then. A later bust or correction does not change that.
    """
    log_position = await _reached(reader, account.shard, as_of, as_of_position, min_position)
    row = await reader.ask("trading.query_positions", account.shard, account.id, log_position, after or "", limit)
    return document_response(row, account)


@account_query(OF_POSITION, "unknown-position")
async def get_position(
    reader: NamedDependency[Reader],
    position: NamedDependency[AddressedPosition],
    as_of: AsOf = None,
    as_of_position: AsOfPosition = None,
    min_position: MinPosition = None,
) -> Response[Position]:
    """The position in one symbol.

    With `as_of` or `as_of_position`: as the log had it then. A later bust or correction does not change that.
    """
    account = position.account
    log_position = await _reached(reader, account.shard, as_of, as_of_position, min_position)
    row = await reader.ask("trading.query_position", account.shard, account.id, position.name, log_position)
    return document_response(row, position)


@account_query(f"{OF_POSITION}/history", "unknown-position")
async def get_position_history(
    reader: NamedDependency[Reader],
    position: NamedDependency[AddressedPosition],
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[PositionHistory]:
    """How a position came to be: every execution, and the position after it."""
    account = position.account
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_position_history", account.shard, account.id, position.name, after, limit)
    return document_response(row, position)


CALLS = (get_positions, get_position, get_position_history)


async def _reached(
    reader: Reader, shard: int, as_of: str | None, as_of_position: int | None, min_position: int | None
) -> int | None:
    """The log position as of which to answer, None for the latest, once the read tables show it."""
    if as_of is not None:
        if as_of_position is not None:
            raise malformed("as_of", "and as_of_position exclude each other")
        row = await reader.ask("eventstore.position_at", shard, time_of("as_of", as_of))
        as_of_position = row["position_at"]
    awaited = [position for position in (as_of_position, min_position) if position is not None]
    await reader.reach(PROJECTION, shard, max(awaited, default=None))
    return as_of_position
