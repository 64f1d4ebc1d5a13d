"""The simulated venue as a broker: requests and reports over WebSocket, questions over HTTP. One adapter serves all
accounts."""

from __future__ import annotations

import asyncio
import string
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec

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
    ReportKind,
    Terms,
)
from foldbook.brokers.streams import ReportStream
from foldbook.brokers.venue_session import VenueSession
from foldbook.problems import code_of
from foldbook.trading.values import ExecType, OrderType, OrdStatus, Side, TimeInForce

SEND_S = 2.0
"""How long a request, or a question, may take."""

DEDUP_S = 3_600.0
"""For how long an id is taken only once: the venue remembers the orders that ended last."""

NOT_SO_FAR = 409
"""What the venue answers to a cursor that it has not come to."""

QUESTIONS_MAX = 64
"""At once."""
HEARTBEAT_S = 10.0
"""How often a WebSocket is looked at, whether the venue is still there."""
FRAME_BYTES_MAX = 1 << 20

PAGE = 1_000
ORDERS_MAX = 100_000
"""Open orders of one account that are listed."""

T = TypeVar("T", bound=msgspec.Struct)

_REFUSALS = {"order-rejected", "order-not-open", "unknown-order", "replace-rejected", "unsupported", "malformed",
             "invalid-request"}  # fmt: skip
"""The problems that say no in so many words."""


class _Order(msgspec.Struct, frozen=True):
    client_order_id: str
    venue_order_id: str
    symbol: str
    side: Side
    status: OrdStatus
    quantity: Decimal
    cum_qty: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    reason: str | None
    updated_at: datetime


class _Orders(msgspec.Struct, frozen=True):
    orders: list[msgspec.Raw]
    next: int | None = None


class _Told(NamedTuple):
    """An order, and how the venue told it."""

    order: _Order
    raw: str


class _Report(msgspec.Struct, frozen=True):
    kind: str
    time: datetime
    account: str = ""
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
    cum_qty: Decimal | None = None
    request_id: str | None = None
    reason: str | None = None
    amount: Decimal | None = None
    currency: str | None = None


class _Fills(msgspec.Struct, frozen=True):
    fills: list[msgspec.Raw]
    next: int
    has_more: bool


class _Position(msgspec.Struct, frozen=True):
    symbol: str
    quantity: Decimal


class _Positions(msgspec.Struct, frozen=True):
    positions: list[_Position]


class _Balance(msgspec.Struct, frozen=True):
    currency: str
    amount: Decimal


class _Balances(msgspec.Struct, frozen=True):
    balances: list[_Balance]


class _Health(msgspec.Struct, frozen=True):
    deduplicates: bool
    replaces: bool


class _Problem(msgspec.Struct, frozen=True):
    type: str
    status: int
    detail: str


_report_of = msgspec.json.Decoder(_Report).decode
_order_of = msgspec.json.Decoder(_Order).decode
_problem_of = msgspec.json.Decoder(_Problem).decode


class SimulatedBroker:
    """``url``: of the venue. What the venue does about ids and replaces it says itself, at each connect."""

    def __init__(self, url: str, now: Callable[[], datetime], *, send_s: float = SEND_S, settle_s: float = 1.0) -> None:
        self._url = url.rstrip("/")
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self._orders = VenueSession(self._connect)
        self._is_closed = False
        self._capabilities = Capabilities(
            order_types=frozenset(OrderType),
            times_in_force=frozenset(TimeInForce),
            replaces=True,
            trailing=True,
            id_alphabet=string.ascii_letters + string.digits + "._:-",
            id_length_max=80,
            settle_s=settle_s,
            send_s=send_s,
            polls_s=2.0,
            serves_many=True,
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    # -- requests ------------------------------------------------------------------------------------------------

    async def submit(self, order: NewOrder) -> Outcome:
        params = {
            "account": order.account,
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "side": order.side,
            "order_type": order.order_type,
            "quantity": f"{order.quantity:f}",
            "limit_price": _text(order.limit_price),
            "stop_price": _text(order.stop_price),
            "time_in_force": order.time_in_force,
            "expire_at": order.expire_at,
            "post_only": order.post_only,
            "reduce_only": order.reduce_only,
            "trailing_offset": _text(order.trailing_offset),
        }
        told = await self._request("submit", params)
        if not isinstance(told, _Told):
            return told
        if told.order.status is OrdStatus.REJECTED:
            return Refused(reason=told.order.reason or "rejected", raw=told.raw)
        return _acknowledged(order.account, told, ExecType.NEW, None)

    async def cancel(self, order: OrderRef, request_id: str) -> Outcome:
        params = {"account": order.account, "client_order_id": order.client_order_id, "request_id": request_id}
        told = await self._request("cancel", params)
        if not isinstance(told, _Told):
            return told
        return _acknowledged(order.account, told, ExecType.CANCELED, request_id)

    async def replace(self, order: OrderRef, terms: Terms, request_id: str) -> Outcome:
        params = {
            "account": order.account,
            "client_order_id": order.client_order_id,
            "request_id": request_id,
            "quantity": f"{terms.quantity:f}",
            "limit_price": _text(terms.limit_price),
            "stop_price": _text(terms.stop_price),
        }
        told = await self._request("replace", params)
        if not isinstance(told, _Told):
            return told
        return _acknowledged(order.account, told, ExecType.REPLACED, request_id)

    async def _request(self, method: str, params: Mapping[str, Any]) -> _Told | Refused | InDoubt:
        """The order as the venue answers it; or a clear no; or nobody knows."""
        try:
            async with asyncio.timeout(self._capabilities.send_s):
                answer = await self._orders.ask(method, params)
        except (aiohttp.ClientError, TimeoutError, OSError, BrokerUnavailable) as error:
            return InDoubt(reason=f"{type(error).__name__}: {error}".rstrip(": "))
        try:
            if raw := bytes(answer.result).decode():
                return _Told(_order_of(raw), raw)
            raw = bytes(answer.error).decode()
            problem = _problem_of(raw)
        except msgspec.MsgspecError as error:
            return InDoubt(reason=f"an answer that makes no sense: {error}")
        if 400 <= problem.status < 500 and code_of(problem.type) in _REFUSALS:
            return Refused(reason=problem.detail, raw=raw)
        return InDoubt(reason=f"{problem.status}: {problem.detail}")

    # -- questions -----------------------------------------------------------------------------------------------

    async def order_by_client_id(self, order: OrderRef) -> Answer[OrderState]:
        began_at = self._now()
        told = await self._ask(
            "/orders", _Orders, account=order.account, client_order_id=order.client_order_id, status="all"
        )
        return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=tuple(map(_state, told.orders)))

    async def open_orders(self, account: str) -> Answer[OrderState]:
        began_at = self._now()
        found: list[OrderState] = []
        after = 0
        while len(found) < ORDERS_MAX:
            told = await self._ask("/orders", _Orders, account=account, status="open", after=after, limit=PAGE)
            found += map(_state, told.orders)
            if told.next is None:
                return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=tuple(found))
            after = told.next
        return Answer(completeness=Completeness.PARTIAL, began_at=began_at, items=tuple(found))

    async def fills_since(self, account: str | None, cursor: str | None) -> Fills:
        began_at = self._now()
        narrowed = {} if account is None else {"account": account}
        try:
            told = await self._ask("/fills", _Fills, after=cursor or "0", limit=PAGE, **narrowed)
        except BrokerUnavailable as error:
            if error.details.get("status") != NOT_SO_FAR:
                raise
            # The venue has begun anew: what was read of the old one says nothing of it.
            told = await self._ask("/fills", _Fills, after="0", limit=PAGE, **narrowed)
        return Fills(
            completeness=Completeness.COMPLETE,
            began_at=began_at,
            reports=tuple(_read(bytes(raw).decode()) for raw in told.fills),
            cursor=str(told.next),
            has_more=told.has_more,
        )

    async def positions(self, account: str) -> Answer[Holding]:
        began_at = self._now()
        told = await self._ask("/positions", _Positions, account=account)
        held = tuple(Holding(symbol=each.symbol, quantity=each.quantity) for each in told.positions)
        return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=held)

    async def balances(self, account: str) -> Answer[Balance]:
        began_at = self._now()
        told = await self._ask("/balances", _Balances, account=account)
        items = tuple(Balance(currency=each.currency, amount=each.amount) for each in told.balances)
        return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=items)

    async def _ask(self, path: str, answer_type: type[T], **parameters: str | int) -> T:
        try:
            async with self._http().get(self._url + path, params=parameters) as response:
                content = await response.read()
            if response.status != 200:
                raise BrokerUnavailable(f"the venue answered {response.status} to {path}", status=response.status)
            return msgspec.json.decode(content, type=answer_type)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BrokerUnavailable(f"the venue does not answer: {type(error).__name__} {error}".rstrip()) from error
        except msgspec.MsgspecError as error:
            raise BrokerUnavailable(f"the venue's answer to {path} makes no sense: {error}") from error

    # -- the stream ----------------------------------------------------------------------------------------------

    def reports(self) -> AbstractAsyncContextManager[AsyncIterator[Report]]:
        return self._reports()

    @asynccontextmanager
    async def _reports(self) -> AsyncIterator[AsyncIterator[Report]]:
        health = await self._ask("/health", _Health)
        try:
            socket = await self._connect("/reports?batch=true")
            # From the first frame on, nothing is missed. (wait_for of Python 3.11 may forget that it was canceled.)
            async with asyncio.timeout(self._capabilities.send_s):
                await socket.receive()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BrokerUnavailable(f"the venue's stream cannot be reached: {error}") from error
        self._capabilities = msgspec.structs.replace(
            self._capabilities, replaces=health.replaces, dedup_s=DEDUP_S if health.deduplicates else None
        )
        stream = ReportStream()
        reading = asyncio.create_task(_read_frames(socket, stream), name="the venue's reports")
        try:
            yield stream
        finally:
            reading.cancel()
            await asyncio.wait((reading,))
            await socket.close()

    # -- its life ------------------------------------------------------------------------------------------------

    async def _connect(self, path: str = "/orders") -> aiohttp.ClientWebSocketResponse:
        return await self._http().ws_connect(self._url + path, heartbeat=HEARTBEAT_S, max_msg_size=FRAME_BYTES_MAX)

    def _http(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise BrokerUnavailable("the adapter is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=QUESTIONS_MAX),
                timeout=aiohttp.ClientTimeout(total=self._capabilities.send_s),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        self._is_closed = True
        await self._orders.close()
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read_frames(socket: aiohttp.ClientWebSocketResponse, stream: ReportStream) -> None:
    """Until the connection ends, or tells what makes no sense."""
    reason = "the venue has closed it"
    try:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            for raw in message.data.split("\n"):
                stream.put(_read(raw))
    except (msgspec.MsgspecError, ValueError) as error:
        reason = f"a report makes no sense: {error}"
    except (aiohttp.ClientError, OSError) as error:
        reason = str(error)
    finally:
        stream.end(reason)


def _read(raw: str) -> Report:
    report = _report_of(raw)
    return Report(
        kind=ReportKind(report.kind),
        account=report.account,
        exec_type=report.exec_type,
        client_order_id=report.client_order_id,
        broker_order_id=report.venue_order_id,
        exec_id=report.exec_id,
        exec_ref_id=report.exec_ref_id,
        symbol=report.symbol,
        side=report.side,
        last_qty=report.last_qty,
        last_px=report.last_px,
        fee=report.fee,
        fee_currency=report.fee_currency,
        quantity=report.quantity,
        limit_price=report.limit_price,
        stop_price=report.stop_price,
        order_qty=report.order_qty,
        cum_qty=report.cum_qty,
        request_id=report.request_id,
        reason=report.reason,
        amount=report.amount,
        currency=report.currency,
        time=report.time,
        raw=raw,
    )


def _acknowledged(account: str, told: _Told, exec_type: ExecType, request_id: str | None) -> Acknowledged:
    """What an answer says about the order."""
    order, is_replaced, has_ended = told.order, exec_type is ExecType.REPLACED, exec_type is ExecType.CANCELED
    report = Report(
        kind=ReportKind.ORDER,
        account=account,
        exec_type=exec_type,
        client_order_id=order.client_order_id,
        broker_order_id=order.venue_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity if is_replaced else None,
        limit_price=order.limit_price if is_replaced else None,
        stop_price=order.stop_price if is_replaced else None,
        order_qty=order.quantity if has_ended else None,
        cum_qty=order.cum_qty if has_ended else None,
        request_id=request_id,
        time=order.updated_at if exec_type is not ExecType.NEW else None,
        raw=told.raw,
    )
    return Acknowledged(broker_order_id=order.venue_order_id, reports=(report,), raw=told.raw)


def _state(raw: msgspec.Raw) -> OrderState:
    order = _order_of(raw)
    return OrderState(
        client_order_id=order.client_order_id,
        broker_order_id=order.venue_order_id,
        symbol=order.symbol,
        side=order.side,
        status=order.status,
        quantity=order.quantity,
        cum_qty=order.cum_qty,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        reason=order.reason,
        time=order.updated_at,
        raw=bytes(raw).decode(),
    )


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"
