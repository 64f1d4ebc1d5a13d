"""Queries about positions: as they are, as they were, and how they came to be."""

from __future__ import annotations

import re
from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from foldbook.api.paths import OF_ACCOUNT
from foldbook.api.queries.addresses import AddressedAccount, AddressedPosition
from foldbook.api.queries.documents import CyclePage, Position, PositionHistory, PositionPage, StrategyPositionPage
from foldbook.api.queries.parameters import (
    LIMIT_DEFAULT,
    AfterPosition,
    AsOf,
    AsOfPosition,
    Limit,
    MinPosition,
    after_key,
    check_one_of,
    key_of,
    later_of,
    log_position_of,
    time_of,
    words,
    words_of,
)
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import account_query, document_response
from foldbook.trading.values import NAME, SYMBOL, SYMBOL_PATTERN

OF_POSITIONS = f"{OF_ACCOUNT}/positions"
OF_POSITION = f"{OF_POSITIONS}/{{symbol:str}}"

PROJECTION = "positions"

BY_STRATEGY = "strategy_positions"
PRICES = "settings"
"""Has the last prices, which the positions of now have."""

_SYMBOL_KEY = re.compile(f"({SYMBOL})")
_STRATEGY_KEY = re.compile(rf"({NAME})?/({SYMBOL})")

AsOfBusinessTime = Annotated[
    str | None,
    QueryParameter(
        schema_extra={"format": "date-time"},
        description="Show what had happened up to this time (`occurred_at`), as it is known now.",
    ),
]


@account_query(OF_POSITIONS, "log-clock-ahead")
async def get_positions(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    by: Annotated[
        str | None, words(("strategy",), "`strategy`: what each strategy contributed to each position.")
    ] = None,
    as_of: AsOf = None,
    as_of_position: AsOfPosition = None,
    as_of_business_time: AsOfBusinessTime = None,
    after: Annotated[str | None, after_key(_SYMBOL_KEY, _STRATEGY_KEY)] = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[PositionPage | StrategyPositionPage]:
    """The positions of an account by symbol, flat ones included.

    With `as_of` or `as_of_position`: as the log had them then. A later bust or correction does not change that. With
    `as_of_business_time`: what had happened by then, with what was reported, busted and corrected since. Only the
    positions of now have a last price, and what they are worth at it.
    """
    check_one_of(by=by, as_of=as_of, as_of_position=as_of_position, as_of_business_time=as_of_business_time)
    shard = account.shard
    if by is not None:
        words_of("by", by, ("strategy",))
        after_strategy, after_symbol = ("", "") if after is None else key_of("after", after, _STRATEGY_KEY)
        await reader.reach_all((BY_STRATEGY, PRICES), shard, min_position)
        row = await reader.ask(
            "trading.query_strategy_positions", shard, account.id, after_strategy or "", after_symbol, limit
        )
    elif as_of_business_time is not None:
        moment, after_symbol = time_of("as_of_business_time", as_of_business_time), _symbol_after(after)
        await reader.reach(PROJECTION, shard, min_position)
        row = await reader.ask("trading.query_positions_at", shard, account.id, None, moment, after_symbol, limit)
    else:
        after_symbol = _symbol_after(after)
        log_position = await _reached(reader, shard, as_of, as_of_position, min_position)
        row = await reader.ask("trading.query_positions", shard, account.id, log_position, after_symbol, limit)
    return document_response(row, account)


@account_query(OF_POSITION, "unknown-position", "log-clock-ahead")
async def get_position(
    reader: NamedDependency[Reader],
    position: NamedDependency[AddressedPosition],
    as_of: AsOf = None,
    as_of_position: AsOfPosition = None,
    as_of_business_time: AsOfBusinessTime = None,
    min_position: MinPosition = None,
) -> Response[Position]:
    """The position in one symbol.

    With `as_of` or `as_of_position`: as the log had it then. A later bust or correction does not change that. With
    `as_of_business_time`: what had happened by then, with what was reported, busted and corrected since. Only the
    position of now has a last price, and what it is worth at it.
    """
    check_one_of(as_of=as_of, as_of_position=as_of_position, as_of_business_time=as_of_business_time)
    account = position.account
    if as_of_business_time is not None:
        moment = time_of("as_of_business_time", as_of_business_time)
        await reader.reach(PROJECTION, account.shard, min_position)
        row = await reader.ask("trading.query_position_at", account.shard, account.id, position.name, moment)
    else:
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


@account_query(f"{OF_ACCOUNT}/cycles")
async def get_cycles(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    symbol: Annotated[
        str, QueryParameter(pattern=SYMBOL_PATTERN, description="A symbol, such as `BTC/USDT` or `ES=F`.")
    ],
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[CyclePage]:
    """The position in one symbol from flat to flat: what each cycle realised, and its fees.

    A fill that turns a long position short ends one cycle and begins the next.
    """
    await reader.reach_head(account.shard, min_position)
    row = await reader.ask("trading.query_cycles", account.shard, account.id, symbol, after, limit)
    return document_response(row, account)


CALLS = (get_positions, get_position, get_position_history, get_cycles)


async def _reached(
    reader: Reader, shard: int, as_of: str | None, as_of_position: int | None, min_position: int | None
) -> int | None:
    """The log position as of which to answer, None for the latest, once the read tables show it."""
    log_position = await log_position_of(reader, shard, as_of, as_of_position)
    if log_position is None:
        await reader.reach_all((PROJECTION, PRICES), shard, min_position)
    else:
        await reader.reach(PROJECTION, shard, later_of(log_position, min_position))
    return log_position


def _symbol_after(after: str | None) -> str:
    if after is None:
        return ""
    symbol: str
    (symbol,) = key_of("after", after, _SYMBOL_KEY)
    return symbol
