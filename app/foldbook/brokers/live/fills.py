"""The fills of an account since a cursor, at an exchange that lists trades by symbol and number.

Which symbols: those of the settings, those that orders were sent or asked for, those of open orders and of the stream's
reports, and those of the cursor, which keeps every symbol that was asked for. A trade's order is named by the
exchange's id; which client id that order has is asked once and remembered. A fill whose order is not known yet is not
told yet, for it would be taken for somebody else's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from datetime import datetime, timedelta

import msgspec

from foldbook.brokers.live.client import Client
from foldbook.brokers.live.errors import Said
from foldbook.brokers.live.profile import Profile, Row
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.port import Report, ReportKind

logger = logging.getLogger(__name__)

SYMBOLS_MAX = 1_000
ORDERS_MAX = 20_000
LOOKUPS_MAX = 50
"""Orders that are asked for in one question. A page with more ends there."""

ARCHIVED_AFTER = timedelta(days=1)
"""A trade that old whose order the exchange does not know was not of an order that was just sent."""


class Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``next``: of each symbol, the number of the trade with which the next question begins. 0: none
    was read yet."""

    next: dict[str, int]


class FillsReader:
    def __init__(self, profile: Profile, client: Client, settings: LiveSettings, clock: Callable[[], datetime]) -> None:
        self._profile = profile
        self._client = client
        self._account = settings.account
        # No fill of an order of ours must be missed because the exchange's clock is behind.
        self._since = settings.opened_at - timedelta(seconds=settings.clock_difference_max_s)
        self._clock = clock
        self._symbols: dict[str, None] = dict.fromkeys(settings.symbols)
        self._client_ids: dict[tuple[str, str], str] = {}
        """By symbol and the exchange's order id."""

    def watch(self, symbol: str) -> None:
        if len(self._symbols) < SYMBOLS_MAX:
            self._symbols[symbol] = None

    def remember(self, symbol: str, broker_order_id: str, client_order_id: str) -> None:
        while len(self._client_ids) >= ORDERS_MAX:
            del self._client_ids[next(iter(self._client_ids))]
        self._client_ids[symbol, broker_order_id] = client_order_id

    async def since(self, cursor: str | None, listed: Container[str]) -> tuple[tuple[Report, ...], str, bool]:
        """The next fills of each symbol by time, the cursor after them, and whether there are more.

        ``listed``: the symbols that the exchange has. It refuses a question about another, one that was delisted say,
        and that would be the end of all questions.

        Raises ``ValueError`` for a cursor that is none of ours.
        """
        starts = {} if cursor is None else msgspec.json.decode(cursor, type=Cursor).next
        lookups = LOOKUPS_MAX
        has_more = False
        found: list[Row] = []
        then = dict(starts)
        for symbol in sorted({*self._symbols, *starts}):
            if symbol not in listed:
                continue
            rows, is_full = await self._profile.trades(self._client, self._account, symbol, starts.get(symbol, 0))
            has_more |= is_full
            then.setdefault(symbol, 0)
            for row in rows:
                if row.time >= self._since:
                    if not self._is_known(row):
                        if not lookups:
                            has_more = True
                            break
                        lookups -= 1
                    named = await self._named(row)
                    if named is None:
                        logger.warning("the order of the fill %s is not known yet", row.report.exec_id)
                        break
                    found.append(named)
                then[symbol] = row.number + 1
        found.sort(key=lambda row: (row.time, row.report.symbol, row.number))
        return tuple(row.report for row in found), msgspec.json.encode(Cursor(then), order="sorted").decode(), has_more

    def _is_known(self, row: Row) -> bool:
        return _order_of(row) in self._client_ids

    async def _named(self, row: Row) -> Row | None:
        """With its order's client id. None: the exchange does not know the order yet."""
        symbol, broker_order_id = _order_of(row)
        client_order_id = self._client_ids.get((symbol, broker_order_id))
        if client_order_id is None:
            try:
                state = await self._profile.order(self._client, symbol, broker_order_id=broker_order_id)
            except Said as said:
                if not self._profile.is_unknown(said):
                    raise
                if self._clock() - row.time <= ARCHIVED_AFTER:
                    return None
                foreign = msgspec.structs.replace(row.report, kind=ReportKind.FOREIGN_ORDER)
                return msgspec.structs.replace(row, report=foreign)
            client_order_id = state.client_order_id
            if client_order_id is not None:
                self.remember(symbol, broker_order_id, client_order_id)
        return msgspec.structs.replace(row, report=msgspec.structs.replace(row.report, client_order_id=client_order_id))


def _order_of(row: Row) -> tuple[str, str]:
    symbol, broker_order_id = row.report.symbol, row.report.broker_order_id
    assert symbol is not None and broker_order_id is not None
    return symbol, broker_order_id
