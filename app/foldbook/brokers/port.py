"""The port to brokers: what the gateway asks of one, and what one tells it.

An adapter says what it knows and no more. A request has three outcomes, and the third is a doubt: whatever is neither
a clear yes nor a clear no, an exception, a timeout, an answer that makes no sense, is ``InDoubt``. A question has an
answer that says how complete it is, and when it was begun, so that an old picture undoes nothing newer. A missing
answer is not "none".

One adapter may serve many accounts: each method names the account. Clocks are given to an adapter, never read by it, so
that the same code runs on a virtual one.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Generic, Protocol, TypeAlias, TypeVar

import msgspec

from foldbook.errors import FoldbookError
from foldbook.trading.events import OrderCreated
from foldbook.trading.values import ZERO, ExecType, OrderType, OrdStatus, Side, TimeInForce

LEASE_PREFIX = "gateway:"
"""Of the name of a gateway's lease: its kind of broker follows."""

T = TypeVar("T")


class BrokerUnavailable(FoldbookError, code="broker-unavailable", title="The broker cannot be reached"):
    """A question was not answered, or the stream of reports has ended. Nothing follows from it."""


# -- what it can do ----------------------------------------------------------------------------------------------------


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker can do. ``*_s``: seconds."""

    order_types: frozenset[OrderType]
    times_in_force: frozenset[TimeInForce]
    replaces: bool
    """It changes an order in place, or in one step; else the gateway cancels it and sends a new one."""
    post_only: bool = True
    reduce_only: bool = True
    trailing: bool = False
    """Stops that follow the market (``trailing_offset``)."""
    display: bool = False
    """Orders of which the market sees a part (``display_quantity``)."""
    cash: bool = False
    """Orders for money (``cash_quantity``)."""
    dedup_s: float | None = None
    """For how long it takes a client order id only once; infinite: for good. None: it does not look at it."""
    id_alphabet: str
    """The characters of a client order id."""
    id_length_max: int
    settle_s: float
    """How long after a request was sent an order that is not there is really not there."""
    send_s: float
    """The longest time that a request takes to leave: after that it was answered, or is in doubt."""
    reports_positions: bool = True
    reports_balances: bool = True
    polls_s: float = 5.0
    """How often fills are asked for beside the stream."""
    serves_many: bool = False
    """One question tells the fills of all accounts."""

    def why_unsupported(self, order: OrderCreated) -> str | None:
        """Why the broker cannot take the order as it is; None: it can."""
        if order.order_type not in self.order_types:
            return f"the broker takes no {order.order_type} orders"
        if order.time_in_force not in self.times_in_force:
            return f"the broker takes no {order.time_in_force} orders"
        for name, is_known in (
            ("post_only", self.post_only),
            ("reduce_only", self.reduce_only),
            ("trailing_offset", self.trailing),
            ("display_quantity", self.display),
            ("cash_quantity", self.cash),
        ):
            if getattr(order, name) and not is_known:
                return f"the broker does not know {name}"
        return None


def client_order_id(account: str, order_id: str, leg: int, capabilities: Capabilities) -> str:
    """What the broker knows an order by: a pure function, the same for whoever works it out.

    ``leg``: 1 for the order as it is placed, and one more for each new order that a replace makes of it. Readable where
    the broker takes it, ``<order id>:<leg>``; else a hash of account, order and leg.
    """
    readable = f"{order_id}:{leg}"
    if len(readable) <= capabilities.id_length_max and not readable.strip(capabilities.id_alphabet):
        return readable
    alphabet = "".join(c for c in "0123456789abcdefghijklmnopqrstuvwxyz" if c in capabilities.id_alphabet)
    number = int.from_bytes(hashlib.sha256(f"{account}\0{order_id}\0{leg}".encode()).digest())
    digits = []
    for _ in range(min(capabilities.id_length_max, HASHED_LENGTH_MAX)):
        number, digit = divmod(number, len(alphabet))
        digits.append(alphabet[digit])
    return "".join(digits)


HASHED_LENGTH_MAX = 26
"""Of an id made of a hash: more than 128 bits in base 36."""


# -- requests ----------------------------------------------------------------------------------------------------------


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order to be submitted."""

    account: str
    client_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    """0 if there is a ``cash_quantity``."""
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_at: datetime | None = None
    post_only: bool = False
    reduce_only: bool = False
    trailing_offset: Decimal | None = None
    display_quantity: Decimal | None = None
    cash_quantity: Decimal | None = None


class OrderRef(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was submitted before. ``broker_order_id``: None if the broker never told it."""

    account: str
    symbol: str
    client_order_id: str
    broker_order_id: str | None = None


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a replace asks for, unchanged terms included. ``quantity``: of the whole order, with what has traded."""

    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """The broker has the request. What it made of it is told by its reports, in the stream or here."""

    broker_order_id: str | None = None
    reports: tuple[Report, ...] = ()
    """What the answer itself tells: that the order rests, or has traded."""
    raw: str | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The broker said no, in so many words. Nothing of it is left there."""

    reason: str
    raw: str | None = None


class InDoubt(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody knows what became of the request."""

    reason: str


Outcome: TypeAlias = Acknowledged | Refused | InDoubt


# -- reports -----------------------------------------------------------------------------------------------------------


class ReportKind(StrEnum):
    ORDER = "ORDER"
    """Something about an order other than a trade: ``exec_type`` says what."""
    TRADE = "TRADE"
    BUST = "BUST"
    CORRECTION = "CORRECTION"
    LIQUIDATION = "LIQUIDATION"
    """A trade without an order of ours, because the broker closed something."""
    FOREIGN_ORDER = "FOREIGN_ORDER"
    """A trade of an order that somebody else placed in this account."""
    FUNDING = "FUNDING"
    """``amount`` of ``currency`` for holding ``symbol``; negative: paid."""
    FEE = "FEE"
    """``amount`` of ``currency`` that belongs to no trade; negative: refunded."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker says happened. What is None it did not say."""

    kind: ReportKind
    account: str
    exec_type: ExecType | None = None
    """Of kind ORDER, and TRADE, TRADE_CANCEL, TRADE_CORRECT for the kinds of the same meaning."""
    client_order_id: str | None = None
    """As it was submitted: the gateway knows which of them are ours."""
    broker_order_id: str | None = None
    exec_id: str | None = None
    """Of a trade, bust, correction, funding or fee: unique in the account."""
    exec_ref_id: str | None = None
    symbol: str | None = None
    side: Side | None = None
    last_qty: Decimal | None = None
    last_px: Decimal | None = None
    gross_amount: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    quantity: Decimal | None = None
    """The terms after a REPLACED or RESTATED; likewise the prices."""
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    order_qty: Decimal | None = None
    """Of the end of an order: how large it was at the broker (FIX OrderQty). Its fills may be told later."""
    cum_qty: Decimal | None = None
    """Likewise, how much of it had traded (FIX CumQty)."""
    request_id: str | None = None
    """The id that the request was sent with, if the broker says which one it answers."""
    reason: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    time: datetime | None = None
    """By the broker's clock."""
    raw: str | None = None
    """The message as it was received."""


# -- questions ---------------------------------------------------------------------------------------------------------


class Completeness(StrEnum):
    COMPLETE = "COMPLETE"
    """It is all there is: what is absent is not there."""
    PARTIAL = "PARTIAL"
    """What it shows is there; what is absent may be there."""
    UNSUPPORTED = "UNSUPPORTED"
    """The broker does not answer this."""


class Answer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    completeness: Completeness
    began_at: datetime
    """When its collection began, by the adapter's clock: it does not know what happened later."""
    items: tuple[T, ...] = ()


class OrderState(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the broker has it."""

    client_order_id: str | None
    broker_order_id: str
    symbol: str
    side: Side
    status: OrdStatus
    """NEW, PARTIALLY_FILLED, FILLED, CANCELED, EXPIRED, REJECTED, SUSPENDED or DONE_FOR_DAY."""
    quantity: Decimal
    cum_qty: Decimal = ZERO
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    reason: str | None = None
    time: datetime | None = None
    raw: str | None = None


class Fills(msgspec.Struct, frozen=True, kw_only=True):
    """Trades, busts, corrections, fundings and fees after a cursor, in the broker's order."""

    completeness: Completeness
    began_at: datetime
    reports: tuple[Report, ...] = ()
    cursor: str | None = None
    """Where the next question begins."""
    has_more: bool = False


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    quantity: Decimal
    """Negative: short."""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    currency: str
    amount: Decimal


class Broker(Protocol):
    """A broker. The requests never raise: what goes wrong is ``InDoubt``. The questions raise ``BrokerUnavailable``."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def submit(self, order: NewOrder) -> Outcome: ...

    async def cancel(self, order: OrderRef, request_id: str) -> Outcome: ...

    async def replace(self, order: OrderRef, terms: Terms, request_id: str) -> Outcome:
        """Only if it has ``capabilities.replaces``."""
        ...

    async def order_by_client_id(self, order: OrderRef) -> Answer[OrderState]:
        """The orders with this client id, open or not: none, one, or, at a broker that does not look at it, more."""
        ...

    async def open_orders(self, account: str) -> Answer[OrderState]: ...

    async def fills_since(self, account: str | None, cursor: str | None) -> Fills:
        """After no cursor: as far back as it goes. Bounded: ``has_more`` says whether to ask again. ``account``: None
        for all of them, if it ``serves_many``."""
        ...

    async def positions(self, account: str) -> Answer[Holding]:
        """What the account holds; a symbol that a complete answer does not name is flat."""
        ...

    async def balances(self, account: str) -> Answer[Balance]: ...

    def reports(self) -> AbstractAsyncContextManager[AsyncIterator[Report]]:
        """The live stream of all accounts that it serves. Once it is entered, reports are kept for who iterates. It
        may drop, repeat and reorder them, and raises ``BrokerUnavailable`` when the connection has ended."""
        ...

    async def close(self) -> None: ...
