"""Queries about executions: fills, their totals, and executions that were reported but not applied."""

from __future__ import annotations

import re
from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency

from foldbook.access.principal import Principal
from foldbook.access.roles import READERS
from foldbook.api.paths import OF_ACCOUNT
from foldbook.api.queries.addresses import AddressedAccount
from foldbook.api.queries.documents import ExecutionExceptionPage, FillPage
from foldbook.api.queries.parameters import (
    LIMIT_DEFAULT,
    AccountFilter,
    AfterPosition,
    Limit,
    MinPosition,
    NameFilter,
    SymbolFilter,
    after_key,
    key_of,
    malformed,
    words,
    words_of,
)
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import account_query, document_response, query
from foldbook.trading.values import NAME, SYMBOL

PROJECTION = "fills"

_GROUPS = ("strategy", "symbol")
_FILL_KEY = re.compile(r"([0-9]{1,4}):([0-9]{1,18})")
_TOTAL_KEY = re.compile(rf"({NAME}|-)?/({NAME})?/({SYMBOL})?")


@query("/fills")
async def get_fills(
    reader: NamedDependency[Reader],
    principal: NamedDependency[Principal],
    account: AccountFilter = None,
    strategy: NameFilter = None,
    symbol: SymbolFilter = None,
    group_by: Annotated[
        str | None,
        words(_GROUPS, "`strategy`, `symbol` or both, separated by commas: totals instead of fills."),
    ] = None,
    after: Annotated[str | None, after_key(_FILL_KEY, _TOTAL_KEY)] = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[FillPage]:
    """Fills in the order of the log, or their totals per currency, which exclude busted fills.

    Without an account, the fills are of all accounts that the key has, and come from all shards. `min_position` belongs
    to one shard, so it needs an account unless the log has a single shard.
    """
    if account is not None:
        principal.check(READERS, account)
    shard = 0 if reader.shard_count == 1 else None if account is None else reader.shard_of(account)
    if shard is not None:
        await reader.reach(PROJECTION, shard, min_position)
    elif min_position is not None:
        raise malformed("min_position", "needs an account: the log has several shards")
    filters = (shard, account, strategy, symbol, principal.patterns)
    if group_by is None:
        after_shard, after_position = key_of("after", after or "0:0", _FILL_KEY)
        row = await reader.ask("trading.query_fills", *filters, int(after_shard), int(after_position), limit)
    else:
        groups = words_of("group_by", group_by, _GROUPS)
        after_currency, after_strategy, after_symbol = key_of("after", after or "//", _TOTAL_KEY)
        row = await reader.ask(
            "trading.query_fill_totals",
            *filters,
            *("strategy" in groups, "symbol" in groups),
            *(after_strategy or "", after_symbol or "", after_currency or "", limit),
        )
    return document_response(row)


@account_query(f"{OF_ACCOUNT}/exceptions")
async def get_exceptions(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[ExecutionExceptionPage]:
    """Executions that were reported but not applied: what they refer to is unknown, or they contradict it."""
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_execution_exceptions", account.shard, account.id, after, limit)
    return document_response(row, account)


CALLS = (get_fills, get_exceptions)
