"""Queries about what an account holds, lot by lot."""

from __future__ import annotations

import re
from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency

from foldbook.api.paths import OF_ACCOUNT
from foldbook.api.queries.addresses import AddressedAccount
from foldbook.api.queries.documents import LotPage
from foldbook.api.queries.parameters import (
    LIMIT_DEFAULT,
    Limit,
    MinPosition,
    SymbolFilter,
    after_key,
    key_of,
    words,
    words_of,
)
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import account_query, document_response
from foldbook.trading.values import SYMBOL

PROJECTION = "lots"

_STATUSES = ("open", "closed")
_LOT_KEY = re.compile(rf"({SYMBOL})\|([0-9]{{1,18}})\|([0-9]{{1,9}})")
_FIRST = ("", 0, 0)


@account_query(f"{OF_ACCOUNT}/lots")
async def get_lots(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    symbol: SymbolFilter = None,
    status: Annotated[str | None, words(_STATUSES, "`open` or `closed`.")] = None,
    after: Annotated[str | None, after_key(_LOT_KEY)] = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[LotPage]:
    """The FIFO lots of an account, by symbol, in the order in which they were opened."""
    statuses = None if status is None else words_of("status", status, _STATUSES)
    is_open = "open" in statuses if statuses is not None and len(statuses) == 1 else None
    key = _FIRST if after is None else _lot_key(after)
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_lots", account.shard, account.id, symbol, is_open, *key, limit)
    return document_response(row, account)


CALLS = (get_lots,)


def _lot_key(after: str) -> tuple[str, int, int]:
    symbol, position, leg = key_of("after", after, _LOT_KEY)
    return symbol, int(position), int(leg)
