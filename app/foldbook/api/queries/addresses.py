"""What the path of a query addresses: an account, or something of an account. Handlers get these injected.

A path with an invalid name is answered like one with an unknown name: with 404, never 400.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, PathParameter

from foldbook.api.paths import account_of, order_id_of, symbol_of
from foldbook.api.problems import Problem
from foldbook.api.queries.reader import Reader, Row
from foldbook.trading.values import SYMBOL, SYMBOL_PATTERN

SymbolInPath = Annotated[
    str,
    PathParameter(
        description="A symbol, percent-encoded: `BTC%2FUSDT`.",
        schema_extra={"pattern": SYMBOL_PATTERN, "examples": ["BTC/USDT"]},
    ),
]
"""Its text is a segment in the canonical spelling (``escapes``), so that its pattern is for its documentation only."""


@dataclass(frozen=True, slots=True)
class AddressedAccount:
    """``id``: ``user/exchange/broker``; ``shard``: the shard of its events. It need not exist."""

    id: str
    shard: int

    def missing(self, _: Row) -> Problem:
        """The problem if a query found no document for it."""
        return Problem("unknown-account", f"no order book is open for account {self.id}")


@dataclass(frozen=True, slots=True)
class _OfAccount:
    """Something that an account has, under a name."""

    account: AddressedAccount
    name: str

    CODE: ClassVar[str]
    DETAIL: ClassVar[str]

    def missing(self, row: Row) -> Problem:
        """The problem if a query found no document; the account itself may be missing."""
        if not row["is_account_known"]:
            return self.account.missing(row)
        return Problem(self.CODE, self.DETAIL.format(account=self.account.id, name=self.name))


class AddressedOrder(_OfAccount):
    """``name``: the order id."""

    CODE = "unknown-order"
    DETAIL = "account {account} has no order {name}"


class AddressedPosition(_OfAccount):
    """``name``: the symbol."""

    CODE = "unknown-position"
    DETAIL = "account {account} has not traded {name}"


class AddressedInstrument(_OfAccount):
    """``name``: the symbol."""

    CODE = "unknown-instrument"
    DETAIL = "account {account} has not defined {name}"


def _account(
    reader: NamedDependency[Reader], user: FromPath[str], exchange: FromPath[str], broker: FromPath[str]
) -> AddressedAccount:
    account = account_of(user, exchange, broker)
    return AddressedAccount(account, reader.shard_of(account))


def _order(account: NamedDependency[AddressedAccount], order_id: FromPath[str]) -> AddressedOrder:
    return AddressedOrder(account, order_id_of(order_id))


def _position(account: NamedDependency[AddressedAccount], symbol: SymbolInPath) -> AddressedPosition:
    return AddressedPosition(account, _symbol("unknown-position", symbol))


def _instrument(account: NamedDependency[AddressedAccount], symbol: SymbolInPath) -> AddressedInstrument:
    return AddressedInstrument(account, _symbol("unknown-instrument", symbol))


def _symbol(code: str, segment: str) -> str:
    if (symbol := symbol_of(segment)) is None:
        raise Problem(code, f"a symbol must match {SYMBOL}")
    return symbol


ADDRESSES = {
    "account": Provide(_account, sync_to_thread=False),
    "order": Provide(_order, sync_to_thread=False),
    "position": Provide(_position, sync_to_thread=False),
    "instrument": Provide(_instrument, sync_to_thread=False),
}
"""Litestar's dependencies for a handler whose path begins with an account, by the name of the handler's argument."""
