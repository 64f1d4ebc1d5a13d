"""Queries about an account's symbols: their definitions and their last prices."""

from __future__ import annotations

from litestar import Response
from litestar.di import NamedDependency

from foldbook.api.paths import OF_ACCOUNT, OF_INSTRUMENT
from foldbook.api.queries.addresses import AddressedAccount, AddressedInstrument
from foldbook.api.queries.documents import Instrument, InstrumentPage, PricePage
from foldbook.api.queries.parameters import LIMIT_DEFAULT, AfterSymbol, Limit, MinPosition
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import account_query, document_response

PROJECTION = "settings"


@account_query(f"{OF_ACCOUNT}/instruments")
async def get_instruments(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    after: AfterSymbol = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[InstrumentPage]:
    """The instruments that an account defined, by symbol."""
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_instruments", account.shard, account.id, after or "", limit)
    return document_response(row, account)


@account_query(OF_INSTRUMENT, "unknown-instrument")
async def get_instrument(
    reader: NamedDependency[Reader],
    instrument: NamedDependency[AddressedInstrument],
    min_position: MinPosition = None,
) -> Response[Instrument]:
    """The account's definition of a symbol."""
    account = instrument.account
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_instrument", account.shard, account.id, instrument.name)
    return document_response(row, instrument)


@account_query(f"{OF_ACCOUNT}/prices")
async def get_prices(
    reader: NamedDependency[Reader],
    account: NamedDependency[AddressedAccount],
    after: AfterSymbol = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[PricePage]:
    """The last prices that an account recorded, by symbol."""
    await reader.reach(PROJECTION, account.shard, min_position)
    row = await reader.ask("trading.query_prices", account.shard, account.id, after or "", limit)
    return document_response(row, account)


CALLS = (get_instruments, get_instrument, get_prices)
