"""Queries about an account and its order book."""

from __future__ import annotations

from litestar import Response
from litestar.di import NamedDependency

from foldbook.api.paths import OF_ACCOUNT
from foldbook.api.queries.addresses import AddressedAccount
from foldbook.api.queries.documents import Account, Book
from foldbook.api.queries.parameters import LIMIT_DEFAULT, AfterPosition, Limit, MinPosition
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import account_query, document_response

PROJECTION = "orders"


@account_query(OF_ACCOUNT)
async def get_account(
    reader: NamedDependency[Reader], account: NamedDependency[AddressedAccount], min_position: MinPosition = None
) -> Response[Account]:
    """An account."""
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_account", account.shard, account.id)
    return document_response(row, account)


@account_query(f"{OF_ACCOUNT}/book")
async def get_book(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[Book]:
    """The order book of an account: its pending orders, in the order of their creation."""
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_book", account.shard, account.id, after, limit)
    return document_response(row, account)


CALLS = (get_account, get_book)
