"""Questions about what an account keeps to: its limits, its instruments, its last prices."""

from __future__ import annotations

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from foldbook.api.paths import OF_ACCOUNT, OF_INSTRUMENT, account_of, is_symbol
from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.documents import Instrument, InstrumentPage, PricePage, Risk
from foldbook.api.queries.orders import (
    ACCOUNT_PROBLEMS,
    LIMIT_DEFAULT,
    POSITION,
    AfterSymbol,
    Limit,
    MinPosition,
    answer,
    page,
    unknown_account,
)
from foldbook.api.queries.reader import Reader

PROJECTION = "settings"


@get(f"{OF_ACCOUNT}/risk", tags=["queries"], responses=problem_responses(*ACCOUNT_PROBLEMS), response_headers=POSITION)
async def get_risk(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    min_position: MinPosition = None,
) -> Response[Risk]:
    """What an account may do: its trading state, its limits, and those of single symbols."""
    account = account_of(user, exchange, broker)
    shard = reader.shard_of(account)
    await reader.reach(PROJECTION, shard, min_position)
    row = await reader.row("select * from trading.query_risk($1, $2)", shard, account)
    if not row["is_account_known"]:
        raise unknown_account(account)
    return answer(row["body"], row["position"])


@get(
    f"{OF_ACCOUNT}/instruments",
    tags=["queries"],
    responses=problem_responses(*ACCOUNT_PROBLEMS),
    response_headers=POSITION,
)
async def get_instruments(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    after: AfterSymbol = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[InstrumentPage]:
    """The instruments that an account defined, by symbol."""
    account = account_of(user, exchange, broker)
    shard = reader.shard_of(account)
    await reader.reach(PROJECTION, shard, min_position)
    row = await reader.row(
        "select * from trading.query_instruments($1, $2, $3, $4)", shard, account, after or "", limit
    )
    if not row["is_account_known"]:
        raise unknown_account(account)
    return page("instruments", row)


@get(
    OF_INSTRUMENT,
    tags=["queries"],
    responses=problem_responses("unknown-instrument", *ACCOUNT_PROBLEMS),
    response_headers=POSITION,
)
async def get_instrument(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    symbol: FromPath[str],
    min_position: MinPosition = None,
) -> Response[Instrument]:
    """What a symbol is, as the account defined it."""
    account = account_of(user, exchange, broker)
    if not is_symbol(symbol):
        raise _unknown_instrument(account, symbol)
    shard = reader.shard_of(account)
    await reader.reach(PROJECTION, shard, min_position)
    row = await reader.row("select * from trading.query_instrument($1, $2, $3)", shard, account, symbol)
    if row["body"] is None:
        raise _unknown_instrument(account, symbol) if row["is_account_known"] else unknown_account(account)
    return answer(row["body"], row["position"])


@get(
    f"{OF_ACCOUNT}/prices", tags=["queries"], responses=problem_responses(*ACCOUNT_PROBLEMS), response_headers=POSITION
)
async def get_prices(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    after: AfterSymbol = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[PricePage]:
    """The last prices that an account was told, by symbol."""
    account = account_of(user, exchange, broker)
    shard = reader.shard_of(account)
    await reader.reach(PROJECTION, shard, min_position)
    row = await reader.row("select * from trading.query_prices($1, $2, $3, $4)", shard, account, after or "", limit)
    if not row["is_account_known"]:
        raise unknown_account(account)
    return page("prices", row)


def _unknown_instrument(account: str, symbol: str) -> Problem:
    return Problem("unknown-instrument", f"account {account} has not defined {symbol}")


CALLS = (get_risk, get_instruments, get_instrument, get_prices)
