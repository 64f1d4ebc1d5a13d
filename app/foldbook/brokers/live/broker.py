"""A broker at a real exchange: the port for one account, through ccxt.

What is known of an exchange is in its profile. Here is what holds for all of them: what becomes of an answer that is
none, the clock, which account it is, and that nothing is known after ``close``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from foldbook.brokers.live.binance import BinanceSpot
from foldbook.brokers.live.client import Client
from foldbook.brokers.live.clock import ClockCheck, compared
from foldbook.brokers.live.credentials import Credentials
from foldbook.brokers.live.errors import LiveError, NotSent, Said, Unclear
from foldbook.brokers.live.fills import FillsReader
from foldbook.brokers.live.profile import Market, Profile, Unfit
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.live.stream import LiveStream
from foldbook.brokers.port import (
    Acknowledged,
    Answer,
    Balance,
    BrokerUnavailable,
    Capabilities,
    Completeness,
    Fills,
    Holding,
    InDoubt,
    NewOrder,
    OrderRef,
    OrderState,
    Outcome,
    Refused,
    Report,
    Terms,
)
from foldbook.trading.values import Broker as BrokerKind

T = TypeVar("T")

logger = logging.getLogger(__name__)

PROFILES: dict[str, Callable[[], Profile]] = {"binance": BinanceSpot}
"""The exchanges that were tested, by their name in an account."""

CHECK_EVERY = timedelta(hours=1)
"""How often the exchange's clock is compared with ours and its symbols are asked for."""

LOOK_EVERY_S = 60.0
"""How often it is looked whether that is due, beside every poll of fills."""

CHECK_AGE_MAX = timedelta(hours=2)
"""Without a comparison for so long nothing is traded."""

REQUESTS_MAX = 10_000
"""Ids of cancels that are remembered, so that the stream's reports can be told to answer them."""

_CLOSED = "the broker was closed"


async def _no_symbols() -> Iterable[str]:
    return ()


class LiveBroker:
    """One account at an exchange. It connects by itself when the stream of reports is entered, or with ``connect``.

    ``symbols`` tells in which symbols orders were sent. It is asked whenever the stream is entered: another process may
    have sent some meanwhile.

    Raises ``LiveError`` if the account cannot be worked as the settings have it.
    """

    def __init__(
        self,
        settings: LiveSettings,
        credentials: Credentials,
        clock: Callable[[], datetime],
        symbols: Callable[[], Awaitable[Iterable[str]]] = _no_symbols,
    ) -> None:
        _, exchange, kind = settings.account.split("/")
        made = PROFILES.get(exchange)
        if kind != BrokerKind.LIVE or made is None:
            raise LiveError(
                f"{settings.account} cannot be worked live: only accounts at {', '.join(PROFILES)} can,"
                " because what an exchange says in doubt was tested for no other"
            )
        self._settings = settings
        self._profile = made()
        self._client = Client(self._profile.ccxt_id, self._profile.ccxt_options, settings, credentials, clock)
        self._profile.point(self._client.urls, settings)
        self._clock = clock
        self._sent_in = symbols
        self._capabilities = self._profile.capabilities(settings)
        self._markets: dict[str, Market] = {}
        self._fills = FillsReader(self._profile, self._client, settings, clock)
        self._requests: dict[str, None] = {}
        self._streams: list[LiveStream] = []
        self._check: ClockCheck | None = None
        self._connecting = asyncio.Lock()
        self._checking: asyncio.Task[None] | None = None
        self._is_closed = False

    async def connect(self) -> None:
        """Compare the clocks, read the symbols, and see whether the credentials work; once it has succeeded, nothing.

        Raises ``LiveError`` if a person must change something, ``BrokerUnavailable`` if trying again may help.
        """
        async with self._connecting:
            if self._is_closed:
                raise BrokerUnavailable(_CLOSED)
            if self._checking is not None:
                return
            await self._answered(self._compare())
            assert self._check is not None
            if self._check.is_off:
                raise LiveError(self._check.text)
            refusal = await self._answered(self._why_not_let_in())
            if refusal is not None:
                raise LiveError(f"the exchange refuses the credentials of {self._settings.account}: {refusal}")
            self._checking = asyncio.create_task(self._check_in_rhythm())

    async def _why_not_let_in(self) -> str | None:
        try:
            await self._profile.balances(self._client)
        except Said as said:
            refusal = self._profile.refusal(said)
            if refusal is None:
                raise
            return self._client.hidden_in(refusal)
        return None

    def __repr__(self) -> str:
        return f"LiveBroker({self._settings.account})"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def clock_check(self) -> ClockCheck | None:
        """The last comparison of the exchange's clock with ours."""
        return self._check

    # -- requests ----------------------------------------------------------------------------------------------------

    async def submit(self, order: NewOrder) -> Outcome:
        return await self._outcome(order.account, lambda: self._submit(order))

    async def _submit(self, order: NewOrder) -> Acknowledged:
        # Nothing is asked first: an order leaves at once. The comparison is kept fresh beside it.
        check = self._check
        if check is None or check.is_off:
            raise Unfit("the clocks were not compared" if check is None else check.text)
        if self._clock() - check.at > CHECK_AGE_MAX:
            raise Unfit(f"the clocks have not been compared since {check.at.isoformat()}: nothing is traded")
        market = self._markets.get(order.symbol)
        if market is None:
            raise Unfit(f"the exchange has no symbol {order.symbol!r}")
        params = self._profile.fit(order, market)
        self._fills.watch(order.symbol)
        acknowledged = await self._profile.submit(self._client, order.account, params)
        if acknowledged.broker_order_id is not None:
            self._fills.remember(order.symbol, acknowledged.broker_order_id, order.client_order_id)
        return acknowledged

    async def cancel(self, order: OrderRef, request_id: str) -> Outcome:
        """Goes out whatever the clocks say."""
        return await self._outcome(order.account, lambda: self._cancel(order, request_id))

    async def _cancel(self, order: OrderRef, request_id: str) -> Acknowledged:
        while len(self._requests) >= REQUESTS_MAX:
            del self._requests[next(iter(self._requests))]
        self._requests[request_id] = None
        return await self._profile.cancel(self._client, order, request_id)

    async def replace(self, order: OrderRef, terms: Terms, request_id: str) -> Outcome:
        """No exchange here replaces safely; the gateway cancels and sends a new order."""
        return await self._outcome(order.account, self._replace)

    async def _replace(self) -> Acknowledged:
        raise Unfit("orders are not replaced here: cancel it and send a new one")

    async def _outcome(self, account: str, request: Callable[[], Awaitable[Acknowledged]]) -> Outcome:
        """What is neither a clear yes nor a clear no is a doubt."""
        if self._is_closed:
            return InDoubt(reason=_CLOSED)
        if account != self._settings.account:
            return Refused(reason=f"this broker works {self._settings.account} alone")
        try:
            return await request()
        except (Unfit, NotSent) as error:
            return Refused(reason=str(error))
        except Said as said:
            refusal = self._profile.refusal(said)
            if refusal is None:
                return InDoubt(reason=str(said))
            return Refused(reason=self._client.hidden_in(refusal), raw=said.text)
        except Unclear as error:
            return InDoubt(reason=str(error))
        except Exception as error:
            logger.exception("an answer of the exchange makes no sense")
            return InDoubt(reason=f"the exchange's answer makes no sense ({type(error).__name__})")

    # -- questions ---------------------------------------------------------------------------------------------------

    async def order_by_client_id(self, order: OrderRef) -> Answer[OrderState]:
        """One that is there may hide an older, closed one of the same id: then the answer is partial."""
        began_at = self._asked(order.account)
        self._fills.watch(order.symbol)
        state = await self._answered(self._order(order))
        if state is None:
            return Answer(completeness=Completeness.COMPLETE, began_at=began_at)
        return Answer(completeness=Completeness.PARTIAL, began_at=began_at, items=(state,))

    async def _order(self, order: OrderRef) -> OrderState | None:
        try:
            state = await self._profile.order(self._client, order.symbol, client_order_id=order.client_order_id)
        except Said as said:
            if self._profile.is_unknown(said):
                return None
            raise
        if (state.client_order_id, state.symbol) != (order.client_order_id, order.symbol):
            raise ValueError("the answer is about another order")
        return state

    async def open_orders(self, account: str) -> Answer[OrderState]:
        began_at = self._asked(account)
        items = await self._answered(self._profile.open_orders(self._client))
        for state in items:
            self._fills.watch(state.symbol)
            if state.client_order_id is not None:
                self._fills.remember(state.symbol, state.broker_order_id, state.client_order_id)
        return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=items)

    async def fills_since(self, account: str | None, cursor: str | None) -> Fills:
        """Partial: the fills of the symbols that were traded or seen here, or are in the settings."""
        account = self._settings.account if account is None else account
        began_at = self._asked(account)
        await self._keep_checked()
        if cursor is None:
            await self.open_orders(account)
        if not self._markets:
            raise BrokerUnavailable(f"what {self._profile.ccxt_id} has listed is not known yet")
        reports, then, has_more = await self._answered(self._fills.since(cursor, self._markets))
        return Fills(
            completeness=Completeness.PARTIAL, began_at=began_at, reports=reports, cursor=then, has_more=has_more
        )

    async def positions(self, account: str) -> Answer[Holding]:
        """Spot has none. A balance of BTC is not a position in BTCUSDT: it was deposited, or bought for euros, too."""
        return Answer(completeness=Completeness.UNSUPPORTED, began_at=self._asked(account))

    async def balances(self, account: str) -> Answer[Balance]:
        began_at = self._asked(account)
        items = await self._answered(self._profile.balances(self._client))
        return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=items)

    def _asked(self, account: str) -> datetime:
        if self._is_closed or account != self._settings.account:
            raise BrokerUnavailable(_CLOSED if self._is_closed else f"this broker works {self._settings.account} alone")
        return self._clock()

    async def _answered(self, question: Awaitable[T]) -> T:
        # Raised outside the handlers, so that no traceback has the exchange's message in its context.
        try:
            return await question
        except (Said, Unclear, NotSent) as error:
            wrong = self._client.hidden_in(str(error))
        except (ValueError, KeyError, TypeError, ArithmeticError, msgspec.MsgspecError) as error:
            wrong = f"the exchange's answer makes no sense ({type(error).__name__})"
        raise BrokerUnavailable(wrong)

    # -- the clock ---------------------------------------------------------------------------------------------------

    async def _check_in_rhythm(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._keep_checked()

    async def _keep_checked(self) -> None:
        """Compare the clocks by the hour, and at every poll while they differ."""
        check = self._check
        if check is not None and not check.is_off and self._clock() - check.at < CHECK_EVERY:
            return
        try:
            await self._answered(self._compare())
        except BrokerUnavailable as error:
            logger.warning("the clock of %s cannot be read: %s", self._settings.account, error)

    async def _compare(self) -> None:
        check = await compared(
            self._clock, lambda: self._profile.time(self._client), self._settings.clock_difference_max_s
        )
        logger.log(logging.ERROR if check.is_off else logging.INFO, "%s: %s", self._settings.account, check.text)
        self._check = check
        self._markets = await self._profile.markets(self._client)

    # -- reports -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def reports(self) -> AsyncIterator[AsyncIterator[Report]]:
        await self._connected()
        for symbol in await self._sent_in():
            if symbol in self._markets:
                self._fills.watch(symbol)
        url, subscription = self._profile.stream(self._client)
        socket = await self._answered(self._client.connect(url))
        stream = LiveStream(socket, self._settings, self._profile, self._requests.__contains__, self._seen)
        self._streams.append(stream)
        try:
            await stream.subscribe(subscription)
            yield stream
        finally:
            self._streams.remove(stream)
            await stream.close()

    async def _connected(self) -> None:
        """What a person must change may be changed at any time: it is tried again."""
        try:
            await self.connect()
        except LiveError as error:
            wrong = error.detail
        else:
            return
        raise BrokerUnavailable(wrong)

    def _seen(self, report: Report) -> None:
        """What the stream tells also says whose orders there are."""
        if report.symbol is not None:
            self._fills.watch(report.symbol)
            if report.broker_order_id is not None and report.client_order_id is not None:
                self._fills.remember(report.symbol, report.broker_order_id, report.client_order_id)

    async def close(self) -> None:
        self._is_closed = True
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait((self._checking,))
        for stream in list(self._streams):
            await stream.close()
        await self._client.close()
