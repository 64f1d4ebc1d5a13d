"""Opens the account of a strategy if it is not there, as a backtest does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from foldbook.errors import Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.events import Metadata
from foldbook.services.strategy.outbox import patiently
from foldbook.services.strategy.world import CURRENCY
from foldbook.strategies.errors import StrategyError
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import AdjustAccount, BookCommand, DefineInstrument, OpenAccount
from foldbook.trading.values import AdjustmentKind


async def open_account(
    bus: CommandBus,
    account: str,
    symbols: tuple[str, ...],
    *,
    cash: Decimal,
    currency: str | None,
    now: datetime,
    new_id: Callable[[], UUID],
    reference: str,
) -> bool:
    """Open the account with its cash, and say in which currency its symbols settle. False: it was open already, and
    nothing was changed.

    ``currency``: None is that of the symbols, or USD. Raises ``StrategyError`` if they settle in several.
    """

    def request() -> dict[str, Any]:
        return {"command_id": new_id(), "received_at": now, "account": account}

    metadata = Metadata(actor=reference)

    async def execute(command: BookCommand) -> None:
        await patiently(lambda: bus.execute(command, metadata=metadata))

    instruments = {symbol: ORDER_BOOK.initial.instrument(symbol) for symbol in symbols}
    settles = {one.settlement_currency for one in instruments.values()} - {None}
    known = {*settles, *((currency,) if currency else ())}
    if len(known) > 1:
        raise StrategyError(f"an account of one strategy has one currency, not {', '.join(sorted(map(str, known)))}")
    kept_in = str(known.pop()) if known else CURRENCY
    try:
        await execute(OpenAccount(**request()))
    except Refusal as refusal:
        if refusal.code != "already-exists":
            raise
        return False
    for symbol, instrument in instruments.items():
        if instrument.quote_currency != kept_in:
            await execute(DefineInstrument(**request(), symbol=symbol, quote_currency=kept_in))
    if cash:
        await execute(
            AdjustAccount(**request(), kind=AdjustmentKind.OPENING, reference=reference, currency=kept_in, amount=cash)
        )
    return True
