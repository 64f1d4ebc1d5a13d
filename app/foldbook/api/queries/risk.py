"""Queries about what an account may do."""

from __future__ import annotations

from litestar import Response
from litestar.di import NamedDependency

from foldbook.api.paths import OF_ACCOUNT
from foldbook.api.queries.addresses import AddressedAccount
from foldbook.api.queries.documents import Risk
from foldbook.api.queries.parameters import MinPosition
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import account_query, document_response

PROJECTION = "settings"


@account_query(f"{OF_ACCOUNT}/risk")
async def get_risk(
    reader: NamedDependency[Reader], account: NamedDependency[AddressedAccount], min_position: MinPosition = None
) -> Response[Risk]:
    """What an account may do: its trading state, its limits, and those of single symbols."""
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_risk", account.shard, account.id)
    return document_response(row, account)


CALLS = (get_risk,)
