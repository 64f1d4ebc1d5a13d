"""What an exchange's profile must know. What is particular to one exchange is in its profile, and only there.

Methods that take a ``Client`` ask the exchange. They raise what it raises; an answer that makes no sense raises
``ValueError`` or ``msgspec.ValidationError``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from foldbook.brokers.live.client import Client
from foldbook.brokers.live.errors import Said
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.port import Acknowledged, Balance, Capabilities, NewOrder, OrderRef, OrderState, Report


class Unfit(Exception):
    """An order that the exchange would not take as it is: its text says why. Nothing was sent."""


class Steps(msgspec.Struct, frozen=True):
    """Which amounts are taken: multiples of ``step`` from ``least`` to ``most``; None: any."""

    step: Decimal | None = None
    least: Decimal | None = None
    most: Decimal | None = None


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol of the exchange, and which amounts it takes."""

    symbol: str
    price: Steps = Steps()
    quantity: Steps = Steps()
    market_quantity: Steps = Steps()
    """Of orders at market, besides ``quantity``."""


class Row(msgspec.Struct, frozen=True):
    """A trade as the exchange lists it: by ``number``, which rises within a symbol, and without a client id."""

    number: int
    time: datetime
    report: Report


class Profile(Protocol):
    """An exchange."""

    ccxt_id: str
    ccxt_options: Mapping[str, Any]

    def capabilities(self, settings: LiveSettings) -> Capabilities: ...

    def point(self, urls: dict[str, Any], settings: LiveSettings) -> None:
        """Set ccxt's addresses, if others are to be used."""
        ...

    def fit(self, order: NewOrder, market: Market) -> Mapping[str, str]:
        """The order in the exchange's words. Raises ``Unfit``."""
        ...

    async def submit(self, client: Client, account: str, params: Mapping[str, str]) -> Acknowledged: ...

    async def cancel(self, client: Client, order: OrderRef, request_id: str) -> Acknowledged: ...

    def refusal(self, said: Said) -> str | None:
        """The reason, if the exchange has said that it did not do what it was asked. None: that is in doubt."""
        ...

    def is_unknown(self, said: Said) -> bool:
        """Has it said that there is no such order?"""
        ...

    async def time(self, client: Client) -> datetime: ...

    async def markets(self, client: Client) -> dict[str, Market]: ...

    async def order(self, client: Client, symbol: str, **by: str) -> OrderState:
        """By ``client_order_id`` or ``broker_order_id``."""
        ...

    async def open_orders(self, client: Client) -> tuple[OrderState, ...]: ...

    async def trades(self, client: Client, account: str, symbol: str, start: int) -> tuple[tuple[Row, ...], bool]:
        """The trades of a symbol from this number on, in order; and whether there may be more."""
        ...

    async def balances(self, client: Client) -> tuple[Balance, ...]: ...

    def stream(self, client: Client) -> tuple[str, str]:
        """The address of the stream of reports, and the frame that subscribes to it."""
        ...

    def is_subscribed(self, frame: Any) -> bool:
        """Is that the answer to the subscription? Raises ``ValueError`` if it was refused."""
        ...

    def report(self, account: str, frame: Any, is_ours: Callable[[str], bool]) -> Report | None:
        """What a frame of the stream reports, if it is about an order. ``is_ours``: was a request sent with this id?
        Raises ``ValueError`` if the stream ends with it."""
        ...
