"""Queries about the orders of an account."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency

from foldbook.api.paths import OF_ACCOUNT, OF_ORDER
from foldbook.api.queries.addresses import AddressedAccount, AddressedOrder
from foldbook.api.queries.documents import History, Order, OrderPage
from foldbook.api.queries.parameters import (
    LIMIT_DEFAULT,
    AfterPosition,
    AsOf,
    AsOfPosition,
    Limit,
    MinPosition,
    NameFilter,
    SymbolFilter,
    later_of,
    log_position_of,
    words,
    words_of,
)
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import account_query, document_response
from foldbook.trading.values import OrdStatus

PROJECTION = "orders"

_STATUSES = ("open", *OrdStatus)


@account_query(f"{OF_ACCOUNT}/orders", "log-clock-ahead")
async def get_orders(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    status: Annotated[
        str | None, words(_STATUSES, "Statuses, separated by commas; `open`: those that may still trade.")
    ] = None,
    symbol: SymbolFilter = None,
    strategy: NameFilter = None,
    as_of: AsOf = None,
    as_of_position: AsOfPosition = None,
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[OrderPage]:
    """The orders of an account, in the order of their creation.

    With `as_of` or `as_of_position`: as the log had them then.
    """
    statuses = None if status is None else sorted(words_of("status", status, _STATUSES))
    filters = (statuses, symbol, strategy, after, limit)
    log_position = await log_position_of(reader, account.shard, as_of, as_of_position)
    if log_position is None:
        await reader.reach(PROJECTION, account.shard, min_position)
        row = await reader.ask("trading.query_orders", account.shard, account.id, *filters)
    else:
        await reader.reach_head(account.shard, later_of(log_position, min_position))
        row = await reader.ask("trading.query_orders_as_of", account.shard, account.id, log_position, *filters)
    return document_response(row, account)


@account_query(OF_ORDER, "unknown-order")
async def get_order(
    reader: NamedDependency[Reader], order: NamedDependency[AddressedOrder], min_position: MinPosition = None
) -> Response[Order]:
    """An order."""
    account = order.account
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_order", account.shard, account.id, order.name)
    return document_response(row, order)


@account_query(f"{OF_ORDER}/history", "unknown-order")
async def get_history(
    reader: NamedDependency[Reader],
    order: NamedDependency[AddressedOrder],
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[History]:
    """How an order came to be: its events, from the log."""
    account = order.account
    await reader.reach_head(account.shard, min_position)
    row = await reader.ask("trading.query_history", account.shard, account.id, order.name, after, limit)
    return document_response(row, order)


CALLS = (get_orders, get_order, get_history)
