"""Queries about the double-entry ledger of an account."""

from __future__ import annotations

import re
from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency

from foldbook.api.paths import OF_ACCOUNT
from foldbook.api.queries.addresses import AddressedAccount
from foldbook.api.queries.documents import BalancePage, LedgerPage
from foldbook.api.queries.parameters import (
    LIMIT_DEFAULT,
    AfterCurrency,
    CurrencyFilter,
    Limit,
    MinPosition,
    after_key,
    key_of,
)
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import account_query, document_response

OF_LEDGER = f"{OF_ACCOUNT}/ledger"

PROJECTION = "ledger"

_ENTRY_KEY = re.compile(r"([0-9]{1,18}):([0-9]{1,4})")


@account_query(OF_LEDGER)
async def get_ledger(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    currency: CurrencyFilter = None,
    after: Annotated[str | None, after_key(_ENTRY_KEY)] = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[LedgerPage]:
    """The ledger of an account: what moved in each currency, in the order of the log.

    Every entry sums to zero over its columns.
    """
    position, entry = key_of("after", after or "0:0", _ENTRY_KEY)
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask(
        "trading.query_ledger", account.shard, account.id, currency, int(position), int(entry), limit
    )
    return document_response(row, account)


@account_query(f"{OF_LEDGER}/balances")
async def get_balances(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    after: AfterCurrency = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[BalancePage]:
    """The balances of an account by currency: the sums of its ledger."""
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_balances", account.shard, account.id, after or "", limit)
    return document_response(row, account)


CALLS = (get_ledger, get_balances)
