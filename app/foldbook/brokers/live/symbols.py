"""In which symbols an account's orders were sent, as the log has it."""

from __future__ import annotations

from collections.abc import Sequence

from foldbook.brokers.port import BrokerUnavailable
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, connect

_SYMBOLS_OF = call("brokers.symbols_of", 1)


async def symbols_of(dsn: str, account: str) -> Sequence[str]:
    """Of the latest. Raises ``BrokerUnavailable``."""
    try:
        connection = await connect(dsn)
        try:
            symbols: Sequence[str] = await connection.fetchval(_SYMBOLS_OF, account)
        finally:
            await connection.close()
    except UNREACHABLE as error:
        raise BrokerUnavailable(f"the symbols of {account} cannot be read: {error}") from error
    return symbols
