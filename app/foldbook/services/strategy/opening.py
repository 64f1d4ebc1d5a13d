"""Opens the account of a strategy if it is not there, as a backtest does.

It takes several commands, and the program may die between them. So each has an id that follows from the account and
from what it does: whoever starts again sends all of them again, and those that were done before stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from foldbook.errors import IdempotencyConflict, Refusal
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Metadata
from foldbook.messaging.answers import CommandFailed
from foldbook.messaging.transport import Commands
from foldbook.services.strategy.outbox import patiently
from foldbook.services.strategy.world import CURRENCY
from foldbook.strategies.errors import StrategyError
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import AdjustAccount, BookCommand, DefineInstrument, OpenAccount
from foldbook.trading.values import AdjustmentKind


def id_in(account: str) -> Callable[[str], UUID]:
    """The id of each command by what it does, the same whenever it is worked out."""
    return lambda what: uuid5(_NAMESPACE, f"{account} {what}")


_NAMESPACE = UUID("b4f2a1f6-5a0a-4f0e-9a55-2f6d3c0f7b11")


async def open_account(
    bus: Commands,
    account: str,
    symbols: tuple[str, ...],
    *,
    cash: Decimal,
    currency: str | None,
    now: datetime,
    id_of: Callable[[str], UUID],
    reference: str,
) -> bool:
    """Open the account with its cash, and say in which currency its symbols settle. False: it was open already, or is
    not ours to open.

    An account that somebody else opened is left as it is, and what was said before is not said otherwise.
    ``currency``: None is that of the symbols, or USD. Raises ``StrategyError`` if they settle in several.
    """

    def request(what: str) -> dict[str, Any]:
        return {"command_id": id_of(what), "received_at": now, "account": account}

    metadata = Metadata(actor=reference)

    async def execute(command: BookCommand) -> CommandResult:
        return await patiently(lambda: bus.execute(command, metadata=metadata))

    instruments = {symbol: ORDER_BOOK.initial.instrument(symbol) for symbol in symbols}
    settles = {one.settlement_currency for one in instruments.values()} - {None}
    known = {*settles, *((currency,) if currency else ())}
    if len(known) > 1:
        raise StrategyError(f"an account of one strategy has one currency, not {', '.join(sorted(map(str, known)))}")
    kept_in = str(known.pop()) if known else CURRENCY
    try:
        opened = await execute(OpenAccount(**request("open")))
    except (Refusal, CommandFailed) as error:
        if error.code not in ("already-exists", "forbidden"):
            raise
        return False
    for symbol, instrument in instruments.items():
        if instrument.quote_currency != kept_in:
            with suppress(IdempotencyConflict, Refusal):
                await execute(DefineInstrument(**request(f"define {symbol}"), symbol=symbol, quote_currency=kept_in))
    if cash:
        with suppress(IdempotencyConflict):
            await execute(
                AdjustAccount(
                    **request("cash"),
                    kind=AdjustmentKind.OPENING,
                    reference=reference,
                    currency=kept_in,
                    amount=cash,
                )
            )
    return not opened.replayed
