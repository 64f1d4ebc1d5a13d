"""Binance spot: its REST API v3 and its WebSocket API.

What decides how it is used (its documentation: rest-api.md, errors.md, user-data-stream.md):

- A client order id is unique among *open* orders only: "a new order with the same clientOrderId is accepted only when
  the previous one is filled or expired". An order that was filled at once could be sent twice. So there is no
  deduplication to rely on, and an order in doubt is never sent again.
- A replace is a cancel and a new order under a new client id (``cancelReplace``), and may do one without the other.
  What trades in between would trade twice: the new quantity is fixed before it is known. The gateway does the same in
  two steps and knows after the first how much is left. ``order/amend/keepPriority`` can only make an order smaller.
- A request that comes more than ``recvWindow`` after its time is refused, so that a request that was lost on the way
  cannot come true much later.
- HTTP 5xx says nothing: "the execution status is UNKNOWN and could have been a success". A refusal is HTTP 4xx with a
  code that says so.
- Trade ids count within a symbol; the fee is in whatever the account received, or in BNB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from foldbook.brokers.live.binance_messages import (
    Account,
    Canceled,
    Event,
    ExchangeInfo,
    Order,
    Symbol,
    Taken,
    Time,
    Trade,
    dumped,
    report_of_event,
    report_of_trade,
    reports_of_taken,
    state_of,
    time_of_ms,
)
from foldbook.brokers.live.client import Client, own_url
from foldbook.brokers.live.errors import Said
from foldbook.brokers.live.profile import Market, Row, Steps, Unfit
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.port import (
    Acknowledged,
    Balance,
    Capabilities,
    NewOrder,
    OrderRef,
    OrderState,
    Report,
    ReportKind,
)
from foldbook.market.records import exact
from foldbook.trading.values import EXACT, ExecType, OrderType, TimeInForce, add

RECEIVE_WINDOW_S = 5
READ_LAG_S = 10.0
"""How much later than its matching Binance answers questions about orders; it promises nothing, seconds were seen."""

TRADES_PAGE = 1_000
ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ID_LENGTH_MAX = 36

_TYPES = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP: "STOP_LOSS",
    OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
}
_TIMES_IN_FORCE = frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})

_NO_SUCH_ORDER = -2013
_REFUSING_CODES = frozenset(
    {-1002, -1003, -1010, -1013, -1014, -1015, -1016, -1020, -1021, -1022, -1099}
    | {-2008, -2010, -2011, _NO_SUCH_ORDER, -2014, -2015, -2016, -2026}
)
"""By these, and by -11xx, Binance says that it did not do it. Others (-1000 unknown, -1001 disconnected, -1006 and
-1007 execution status unknown, -1008 busy) leave it open."""

_DUPLICATE = "Duplicate order sent."
"""A -2010 that is not a refusal: an order with this client id is open there, and can only be the one that we sent."""


class BinanceSpot:
    ccxt_id = "binance"
    ccxt_options: Mapping[str, Any] = {"recvWindow": RECEIVE_WINDOW_S * 1000}

    def capabilities(self, settings: LiveSettings) -> Capabilities:
        send_s = settings.rate_wait_s + settings.request_s
        return Capabilities(
            order_types=frozenset(_TYPES),
            times_in_force=_TIMES_IN_FORCE,
            replaces=False,
            reduce_only=False,
            dedup_s=None,
            id_alphabet=ID_CHARACTERS,
            id_length_max=ID_LENGTH_MAX,
            settle_s=send_s + RECEIVE_WINDOW_S + settings.clock_difference_max_s + READ_LAG_S,
            send_s=send_s,
            reports_positions=False,
            polls_s=10.0,
        )

    def point(self, urls: dict[str, Any], settings: LiveSettings) -> None:
        if settings.rest_url is not None:
            url = own_url(settings.rest_url, "http", "https")
            urls["public"] = urls["private"] = f"{url}/api/v3"
        if settings.ws_url is not None:
            urls["ws"]["ws-api"]["spot"] = own_url(settings.ws_url, "ws", "wss")

    # -- requests ----------------------------------------------------------------------------------------------------

    def fit(self, order: NewOrder, market: Market) -> Mapping[str, str]:
        kind = _kind(order)
        if not 0 < len(order.client_order_id) <= ID_LENGTH_MAX or not set(order.client_order_id) <= set(ID_CHARACTERS):
            raise Unfit(f"the client order id {order.client_order_id!r} is none that Binance takes")
        has_limit, has_stop = "LIMIT" in kind, "STOP" in kind
        if has_limit is (order.limit_price is None) or has_stop is (order.stop_price is None):
            raise Unfit(f"a {order.order_type} order with just these prices makes no sense")
        params = {
            "symbol": market.symbol,
            "side": str(order.side),
            "type": kind,
            "quantity": _fitting("quantity", order.quantity, market.quantity),
            "newClientOrderId": order.client_order_id,
            "newOrderRespType": "FULL",
        }
        if not has_limit:
            _fitting("quantity at market", order.quantity, market.market_quantity)
        elif kind != "LIMIT_MAKER":
            params["timeInForce"] = str(order.time_in_force)
        for name, price in (("price", order.limit_price), ("stopPrice", order.stop_price)):
            if price is not None:
                params[name] = _fitting(name, price, market.price)
        return params

    async def submit(self, client: Client, account: str, params: Mapping[str, str]) -> Acknowledged:
        raw = await client.call("privatePostOrder", params)
        taken = msgspec.convert(raw, Taken)
        if (taken.client_order_id, taken.symbol) != (params["newClientOrderId"], params["symbol"]):
            raise ValueError("the answer is about another order")
        return Acknowledged(
            broker_order_id=str(taken.order_id), reports=reports_of_taken(account, taken, dumped(raw)), raw=dumped(raw)
        )

    async def cancel(self, client: Client, order: OrderRef, request_id: str) -> Acknowledged:
        params = {"symbol": order.symbol, "origClientOrderId": order.client_order_id}
        if order.broker_order_id is not None:
            params["orderId"] = order.broker_order_id
        if len(request_id) <= ID_LENGTH_MAX and set(request_id) <= set(ID_CHARACTERS):
            params["newClientOrderId"] = request_id
        raw = await client.call("privateDeleteOrder", params)
        canceled = msgspec.convert(raw, Canceled)
        if canceled.orig_client_order_id != order.client_order_id or canceled.status != "CANCELED":
            raise ValueError("the answer is about another order")
        report = Report(
            kind=ReportKind.ORDER,
            account=order.account,
            exec_type=ExecType.CANCELED,
            client_order_id=order.client_order_id,
            broker_order_id=str(canceled.order_id),
            symbol=order.symbol,
            side=canceled.side,
            order_qty=exact(canceled.orig_qty),
            cum_qty=exact(canceled.executed_qty),
            request_id=request_id,
            time=None if canceled.transact_time is None else time_of_ms(canceled.transact_time),
            raw=dumped(raw),
        )
        return Acknowledged(broker_order_id=str(canceled.order_id), reports=(report,), raw=dumped(raw))

    def refusal(self, said: Said) -> str | None:
        code, message = _code_of(said)
        if not 400 <= said.status < 500 or code is None or message == _DUPLICATE:
            return None
        return f"{message} ({code})" if code in _REFUSING_CODES or -1199 <= code <= -1100 else None

    def is_unknown(self, said: Said) -> bool:
        return 400 <= said.status < 500 and _code_of(said)[0] == _NO_SUCH_ORDER

    # -- questions ---------------------------------------------------------------------------------------------------

    async def time(self, client: Client) -> datetime:
        return time_of_ms(msgspec.convert(await client.call("publicGetTime"), Time).server_time)

    async def markets(self, client: Client) -> dict[str, Market]:
        info = msgspec.convert(await client.call("publicGetExchangeInfo"), ExchangeInfo)
        return {symbol.symbol: _market(symbol) for symbol in info.symbols}

    async def order(self, client: Client, symbol: str, **by: str) -> OrderState:
        names = {"client_order_id": "origClientOrderId", "broker_order_id": "orderId"}
        params = {"symbol": symbol, **{names[name]: value for name, value in by.items()}}
        raw = await client.call("privateGetOrder", params)
        return state_of(msgspec.convert(raw, Order), dumped(raw))

    async def open_orders(self, client: Client) -> tuple[OrderState, ...]:
        rows = await client.call("privateGetOpenOrders")
        return tuple(state_of(msgspec.convert(raw, Order), dumped(raw)) for raw in _listed(rows))

    async def trades(self, client: Client, account: str, symbol: str, start: int) -> tuple[tuple[Row, ...], bool]:
        params: dict[str, str | int] = {"symbol": symbol, "fromId": start, "limit": TRADES_PAGE}
        rows = []
        for raw in _listed(await client.call("privateGetMyTrades", params)):
            trade = msgspec.convert(raw, Trade)
            if trade.symbol != symbol or trade.id < start:
                raise ValueError("the answer has trades that were not asked for")
            rows.append(Row(trade.id, time_of_ms(trade.time), report_of_trade(account, trade, dumped(raw))))
        return tuple(sorted(rows, key=lambda row: row.number)), len(rows) >= TRADES_PAGE

    async def balances(self, client: Client) -> tuple[Balance, ...]:
        """Of each asset what is free and what open orders lock."""
        raw = await client.call("privateGetAccount", {"omitZeroBalances": "true"})
        account = msgspec.convert(raw, Account)
        return tuple(Balance(currency=row.asset, amount=add(exact(row.free), exact(row.locked)))
                     for row in account.balances)  # fmt: skip

    # -- the stream --------------------------------------------------------------------------------------------------

    def stream(self, client: Client) -> tuple[str, str]:
        request = {"id": "reports", "method": "userDataStream.subscribe.signature", "params": client.signed()}
        return str(client.urls["ws"]["ws-api"]["spot"]), dumped(request)

    def is_subscribed(self, frame: Any) -> bool:
        if not isinstance(frame, dict) or frame.get("id") != "reports":
            return False
        if frame.get("status") != 200:
            error = frame.get("error")
            raise ValueError(f"the subscription was refused: {error if isinstance(error, dict) else 'no reason'}")
        return True

    def report(self, account: str, frame: Any, is_ours: Callable[[str], bool]) -> Report | None:
        event = frame.get("event") if isinstance(frame, dict) else None
        name = event.get("e") if isinstance(event, dict) else None
        if name in ("eventStreamTerminated", "serverShutdown"):
            raise ValueError(f"the exchange ends the stream: {name}")
        if name != "executionReport":
            return None
        return report_of_event(account, msgspec.convert(event, Event), dumped(event), is_ours)


def _kind(order: NewOrder) -> str:
    """The type of the order. Raises ``Unfit`` for what there is none of."""
    kind, time_in_force = _TYPES.get(order.order_type), order.time_in_force
    if kind is None or time_in_force not in _TIMES_IN_FORCE or order.expire_at is not None:
        raise Unfit(f"Binance spot has no {order.order_type} order that is {time_in_force}")
    if order.reduce_only or order.trailing_offset is not None:
        raise Unfit("Binance spot has no reduce-only orders, and none that trail by a price")
    if order.display_quantity is not None or order.cash_quantity is not None:
        raise Unfit("orders that show a part, or are for money, are not sent to Binance")
    if "LIMIT" not in kind and time_in_force is TimeInForce.FOK:
        raise Unfit("Binance spot has no market order that is filled whole or not at all")
    if not order.post_only:
        return kind
    if kind != "LIMIT" or time_in_force is not TimeInForce.GTC:
        raise Unfit("only a limit order that is good till canceled can be post-only")
    return "LIMIT_MAKER"


def _code_of(said: Said) -> tuple[int | None, str]:
    body = said.body
    code = body.get("code") if isinstance(body, dict) else None
    return (code, str(body.get("msg"))) if isinstance(body, dict) and isinstance(code, int) else (None, said.text)


def _listed(rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise ValueError("a list was asked for")  # noqa: TRY004 - of the exchange, not of a caller
    return rows


def _market(symbol: Symbol) -> Market:
    filters = {each.get("filterType"): each for each in symbol.filters}
    return Market(
        symbol=symbol.symbol,
        price=_steps(filters.get("PRICE_FILTER"), "tickSize", "minPrice", "maxPrice"),
        quantity=_steps(filters.get("LOT_SIZE"), "stepSize", "minQty", "maxQty"),
        market_quantity=_steps(filters.get("MARKET_LOT_SIZE"), "stepSize", "minQty", "maxQty"),
    )


def _steps(given: Mapping[str, Any] | None, *names: str) -> Steps:
    """A filter; a member that is 0 is switched off."""
    values = (exact(str(given.get(name, "0"))) if given else None for name in names)
    return Steps(*(value or None for value in values))


def _fitting(name: str, amount: Decimal, steps: Steps) -> str:
    """The amount as text, if the exchange takes it as it is. Raises ``Unfit``: what it would cut is not sent."""
    if steps.step is not None and EXACT.remainder(amount, steps.step):
        raise Unfit(f"{name} {amount:f} is not a multiple of {steps.step:f}, and is not rounded")
    if amount <= 0 or (steps.least is not None and amount < steps.least):
        raise Unfit(f"{name} {amount:f} is less than {steps.least or 0:f}")
    if steps.most is not None and amount > steps.most:
        raise Unfit(f"{name} {amount:f} is more than {steps.most:f}")
    return f"{amount:f}"
