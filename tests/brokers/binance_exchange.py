"""A small Binance spot: one account, its orders, trades and balances, in the shapes of Binance's API.

The fills come from Foldbook's own matching engine; the market is what a test quotes. Shapes, codes and texts are those
of Binance's documentation (rest-api.md, errors.md, user-data-stream.md). Not there: order lists, cancelReplace,
trailing stops, icebergs, self-trade prevention, archived orders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from foldbook.market.records import Quote, ns_of
from foldbook.trading.values import ExecType, Side, TimeInForce
from foldbook.venue.matching import Matching
from foldbook.venue.orders import Costs, VenueInstrument, VenueOrder, VenueReport
from tests.brokers.binance_shapes import LISTED, TYPES, ApiError, Kept, Listed, eight

COMMISSION = Decimal("0.001")
"""Of what is received: base asset for a buy, quote asset for a sell."""

_CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_]{1,36}\Z")
_ZERO = Decimal(0)


class Exchange:
    """``on_event`` gets each event of the account as it happens."""

    def __init__(self, clock: Callable[[], datetime], on_event: Callable[[dict[str, Any]], None]) -> None:
        self._clock = clock
        self._on_event = on_event
        self._listed = {each.symbol: each for each in LISTED}
        self._venue = Matching(
            Costs(),
            instruments=[
                VenueInstrument(symbol=each.symbol, quote_currency=each.quote, tick_size=Decimal(each.tick))
                for each in LISTED
            ],
        )
        self.orders: dict[int, Kept] = {}
        self.trades: dict[str, list[dict[str, Any]]] = {each.symbol: [] for each in LISTED}
        self.balances = {"USDT": Decimal(1_000_000_000_000), "BTC": Decimal(1_000_000_000), "ETH": Decimal(1_000)}
        self._last_order_id = 1_000
        self._cancel_id = ""
        """The client id of the cancel that is being done."""

    def now_ms(self) -> int:
        return ns_of(self._clock()) // 1_000_000

    # -- the market --------------------------------------------------------------------------------------------------

    def quote(self, symbol: str, bid: str, ask: str, bid_size: str | None = None, ask_size: str | None = None) -> None:
        self._apply(self._venue.on_quote(Quote(symbol, self._clock(), bid, ask, bid_size, ask_size)))

    # -- orders ------------------------------------------------------------------------------------------------------

    def place(self, params: Mapping[str, str], *, forgets: bool = False) -> dict[str, Any]:
        kept = self._new(params)
        if not forgets and any(self._open(kept.symbol, kept.client_order_id)):
            raise ApiError(400, -2010, "Duplicate order sent.")
        self._check_money(kept)
        self.orders[kept.order_id] = kept
        reports = self._venue.submit(
            VenueOrder(
                order_id=str(kept.order_id),
                symbol=kept.symbol,
                side=Side(kept.side),
                order_type=TYPES[kept.type],
                quantity=kept.quantity,
                limit_price=kept.price or None,
                stop_price=kept.stop_price or None,
                time_in_force=TimeInForce(kept.time_in_force),
                post_only=kept.type == "LIMIT_MAKER",
            ),
            ns_of(self._clock()),
        )
        if reports[0].exec_type is ExecType.REJECTED:
            del self.orders[kept.order_id]
            reason = reports[0].reason or ""
            is_maker = reason.startswith("post-only")
            raise ApiError(400, -2010, "Order would immediately match and take." if is_maker else reason)
        self._apply(reports)
        return kept.placed()

    def place_doomed(self, params: Mapping[str, str]) -> tuple[dict[str, Any], Callable[[], None]]:
        """An order that is answered as taken, and the call that rejects it."""
        kept = self._new(params)
        self.orders[kept.order_id] = kept

        def reject() -> None:
            kept.status = "REJECTED"
            self._tell(kept, "REJECTED", r="INSUFFICIENT_BALANCES")

        return kept.placed(), reject

    def _new(self, params: Mapping[str, str]) -> Kept:
        listed = self._symbol(params)
        kind = params["type"]
        if kind not in TYPES:
            raise ApiError(400, -1116, "Invalid orderType.")
        if not _CLIENT_ID.match(params["newClientOrderId"]):
            raise ApiError(
                400,
                -1100,
                "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'.",
            )
        needs_time = kind in ("LIMIT", "STOP_LOSS_LIMIT")
        if needs_time is not ("timeInForce" in params):
            if needs_time:
                raise ApiError(
                    400, -1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed."
                )
            raise ApiError(400, -1106, "Parameter 'timeInForce' sent when not required.")
        amounts = {name: Decimal(params.get(name, "0")) for name in ("quantity", "price", "stopPrice")}
        for name, amount in amounts.items():
            if amount != round(amount, 8):
                raise ApiError(400, -1111, f"Parameter '{name}' has too much precision.")
        quantity = amounts["quantity"]
        if quantity % Decimal(listed.lot) or not Decimal(listed.lot) <= quantity <= Decimal(listed.quantity_max):
            raise ApiError(400, -1013, "Filter failure: LOT_SIZE")
        if amounts["price"] % Decimal(listed.tick):
            raise ApiError(400, -1013, "Filter failure: PRICE_FILTER")
        last = self._venue.price_of(listed.symbol)
        stop = amounts["stopPrice"]
        if stop and last is not None and (last >= stop if params["side"] == "BUY" else last <= stop):
            raise ApiError(400, -2010, "Order would trigger immediately.")
        self._last_order_id += 1
        now_ms = self.now_ms()
        return Kept(
            order_id=self._last_order_id,
            client_order_id=params["newClientOrderId"],
            symbol=listed.symbol,
            side=params["side"],
            type=kind,
            time_in_force=params.get("timeInForce", "GTC"),
            quantity=quantity,
            price=amounts["price"],
            stop_price=stop,
            time_ms=now_ms,
            update_ms=now_ms,
        )

    def _check_money(self, kept: Kept) -> None:
        listed = self._listed[kept.symbol]
        asset, needed = (
            (listed.quote, kept.quantity * kept.price) if kept.side == "BUY" else (listed.base, kept.quantity)
        )
        if needed > self.balances.get(asset, _ZERO) - self._locked(asset):
            raise ApiError(400, -2010, "Account has insufficient balance for requested action.")

    def cancel(self, params: Mapping[str, str]) -> dict[str, Any]:
        symbol = self._symbol(params).symbol
        found = [
            kept
            for kept in self._open(symbol, params.get("origClientOrderId"))
            if params.get("orderId") in (None, str(kept.order_id))
        ]
        if not found:
            raise ApiError(400, -2011, "Unknown order sent.")
        kept = found[0]
        self._cancel_id = params.get("newClientOrderId") or f"generated{kept.order_id}"
        self._apply(self._venue.cancel(str(kept.order_id), ns_of(self._clock())))
        answer = kept.shown() | {
            "origClientOrderId": kept.client_order_id,
            "clientOrderId": self._cancel_id,
            "transactTime": kept.update_ms,
        }
        self._cancel_id = ""
        return answer

    def _open(self, symbol: str, client_order_id: str | None) -> Iterator[Kept]:
        for kept in self.orders.values():
            if kept.is_open and kept.symbol == symbol and client_order_id in (None, kept.client_order_id):
                yield kept

    # -- questions ---------------------------------------------------------------------------------------------------

    def query(self, params: Mapping[str, str]) -> dict[str, Any]:
        """By the exchange's id, or the latest one with the client id."""
        symbol = self._symbol(params).symbol
        for kept in reversed(self.orders.values()):
            is_it = (
                str(kept.order_id) == params["orderId"]
                if "orderId" in params
                else kept.client_order_id == params["origClientOrderId"]
            )
            if is_it and kept.symbol == symbol:
                return kept.queried()
        raise ApiError(400, -2013, "Order does not exist.")

    def open_orders(self, params: Mapping[str, str]) -> list[dict[str, Any]]:
        return [kept.queried() for kept in self.orders.values() if kept.is_open]

    def my_trades(self, params: Mapping[str, str]) -> list[dict[str, Any]]:
        start, limit = int(params.get("fromId", 0)), int(params.get("limit", 500))
        rows = [row for row in self.trades[self._symbol(params).symbol] if row["id"] >= start]
        return rows[:limit]

    def account(self, params: Mapping[str, str]) -> dict[str, Any]:
        balances = [
            {"asset": asset, "free": eight(total - self._locked(asset)), "locked": eight(self._locked(asset))}
            for asset, total in self.balances.items()
            if total or params.get("omitZeroBalances") != "true"
        ]
        return {
            "makerCommission": 10,
            "takerCommission": 10,
            "canTrade": True,
            "canWithdraw": False,
            "accountType": "SPOT",
            "updateTime": self.now_ms(),
            "balances": balances,
            "permissions": ["SPOT"],
        }

    def exchange_info(self) -> dict[str, Any]:
        return {
            "timezone": "UTC",
            "serverTime": self.now_ms(),
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
                {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
            ],
            "exchangeFilters": [],
            "symbols": [listed.info() for listed in LISTED],
        }

    def _symbol(self, params: Mapping[str, str]) -> Listed:
        listed = self._listed.get(params.get("symbol", ""))
        if listed is None:
            raise ApiError(400, -1121, "Invalid symbol.")
        return listed

    def _locked(self, asset: str) -> Decimal:
        locked = _ZERO
        for kept in self.orders.values():
            listed = self._listed[kept.symbol]
            if kept.is_open and asset == (listed.quote if kept.side == "BUY" else listed.base):
                left = kept.quantity - kept.executed
                locked += left * kept.price if kept.side == "BUY" else left
        return locked

    # -- what happens ------------------------------------------------------------------------------------------------

    def _apply(self, reports: list[VenueReport]) -> None:
        for report in reports:
            kept = self.orders[int(report.order_id)]
            kept.update_ms = report.time_ns // 1_000_000
            if report.exec_type is ExecType.NEW:
                self._tell(kept, "NEW")
            elif report.exec_type is ExecType.TRADE:
                self._trade(kept, report)
            elif report.exec_type is ExecType.CANCELED and self._cancel_id:
                kept.status = "CANCELED"
                self._tell(kept, "CANCELED", c=self._cancel_id, C=kept.client_order_id)
            else:
                kept.status = "EXPIRED"
                self._tell(kept, "EXPIRED")

    def _trade(self, kept: Kept, report: VenueReport) -> None:
        quantity, price = report.last_qty, report.last_px
        assert quantity is not None and price is not None
        listed, rows = self._listed[kept.symbol], self.trades[kept.symbol]
        is_buy = kept.side == "BUY"
        money = quantity * price
        kept.executed += quantity
        kept.quote_executed += money
        kept.status = "FILLED" if kept.executed == kept.quantity else "PARTIALLY_FILLED"
        asset, received = (listed.base, quantity) if is_buy else (listed.quote, money)
        commission = round(received * COMMISSION, 8)
        paid, cost = (listed.quote, money) if is_buy else (listed.base, quantity)
        self.balances[paid] = self.balances.get(paid, _ZERO) - cost
        self.balances[asset] = self.balances.get(asset, _ZERO) + received - commission
        row = {
            "symbol": kept.symbol,
            "id": len(rows) + 1,
            "orderId": kept.order_id,
            "orderListId": -1,
            "price": eight(price),
            "qty": eight(quantity),
            "quoteQty": eight(money),
            "commission": eight(commission),
            "commissionAsset": asset,
            "time": kept.update_ms,
            "isBuyer": is_buy,
            "isMaker": False,
            "isBestMatch": True,
        }
        rows.append(row)
        kept.fills.append(row)
        self._tell(
            kept, "TRADE", l=row["qty"], L=row["price"], n=row["commission"], N=asset, t=row["id"], Y=row["quoteQty"]
        )

    def _tell(self, kept: Kept, exec_type: str, **changed: Any) -> None:
        self._on_event(
            {
                "e": "executionReport",
                "E": self.now_ms(),
                "s": kept.symbol,
                "c": kept.client_order_id,
                "S": kept.side,
                "o": kept.type,
                "f": kept.time_in_force,
                "q": eight(kept.quantity),
                "p": eight(kept.price),
                "P": eight(kept.stop_price),
                "F": "0.00000000",
                "g": -1,
                "C": "",
                "x": exec_type,
                "X": kept.status,
                "r": "NONE",
                "i": kept.order_id,
                "l": "0.00000000",
                "z": eight(kept.executed),
                "L": "0.00000000",
                "n": "0",
                "N": None,
                "T": kept.update_ms,
                "t": -1,
                "I": 8641984,
                "w": kept.is_open,
                "m": False,
                "M": False,
                "O": kept.time_ms,
                "Z": eight(kept.quote_executed),
                "Y": "0.00000000",
                "Q": "0.00000000",
                "W": kept.time_ms,
                "V": "NONE",
            }
            | changed
        )
