"""What the exchange remembers, of orders and accounts, and what it reports."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from foldbook.trading.values import ZERO, ExecType, OrderType, OrdStatus, Side, TimeInForce, add


class Kind(StrEnum):
    """What a report is about."""

    ORDER = "ORDER"
    """Something about an order other than a trade."""
    TRADE = "TRADE"
    BUST = "BUST"
    CORRECTION = "CORRECTION"
    LIQUIDATION = "LIQUIDATION"
    FUNDING = "FUNDING"
    FEE = "FEE"


class Report(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What happened. ``seq`` counts all reports of the venue; what is None is not told.

    Every report but those of kind ORDER is a fill: it is kept, and told again to whoever asks.
    """

    seq: int
    kind: Kind
    account: str
    time_ns: int
    client_order_id: str | None = None
    venue_order_id: str | None = None
    exec_type: ExecType | None = None
    exec_id: str | None = None
    exec_ref_id: str | None = None
    symbol: str | None = None
    side: Side | None = None
    last_qty: Decimal | None = None
    last_px: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    order_qty: Decimal | None = None
    """Of the end of an order: how large it was, and how much of it had traded."""
    cum_qty: Decimal | None = None
    request_id: str | None = None
    reason: str | None = None
    amount: Decimal | None = None
    currency: str | None = None


class Order(Struct, kw_only=True, eq=False, omit_defaults=True, gc=False):
    """An order as the venue has it, open or not.

    ``number`` counts the orders that were submitted. ``key`` is what the matching engine knows it by: its first venue
    order id.
    """

    number: int
    key: str
    account: str
    client_order_id: str
    venue_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    created_ns: int
    updated_ns: int
    status: OrdStatus = OrdStatus.NEW
    is_open: bool = True
    is_held: bool = False
    """Is it kept from trading, to be refused late?"""
    cum_qty: Decimal = ZERO
    cost: Decimal = ZERO
    """The sum of quantity * price of what has traded."""
    reason: str | None = None
    moves: int = 0
    """How often a replace has given it another venue order id."""

    def venue_order_id_after(self, moves: int) -> str:
        return f"{self.key}.{moves}" if moves else self.key


class Account(Struct, kw_only=True, eq=False):
    """What belongs to an account. Orders are by number, in order of arrival."""

    name: str
    orders: dict[int, Order] = {}
    open_orders: dict[int, Order] = {}
    by_client_id: dict[str, list[Order]] = {}
    """Usually one each; more if client ids are not deduplicated."""
    fills: list[Report] = []
    cash: dict[str, Decimal] = {}
    """By currency: what came in less what went out since the account's first use."""

    def book_cash(self, currency: str, amount: Decimal) -> None:
        self.cash[currency] = add(self.cash.get(currency, ZERO), amount)


class Answer(Struct, frozen=True, gc=False):
    """What became of a message.

    ``refusal`` is the code of a problem, ``reason`` says why. ``reports`` is what everybody is told because of it.
    """

    reports: list[Report]
    order: Order | None = None
    is_duplicate: bool = False
    refusal: str | None = None
    reason: str | None = None
