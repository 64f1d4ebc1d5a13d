"""Symbols, orders and errors in the shapes of Binance's API."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from foldbook.trading.values import OrderType

TYPES = {
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "MARKET": OrderType.MARKET,
    "STOP_LOSS": OrderType.STOP,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
}
_OPEN = ("NEW", "PARTIALLY_FILLED")
_ZERO = Decimal(0)


class ApiError(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "msg": message}


@dataclass(frozen=True)
class Listed:
    """A symbol that is traded."""

    symbol: str
    base: str
    quote: str
    tick: str = "0.01000000"
    lot: str = "0.00000001"
    quantity_max: str = "9000000000.00000000"
    market_quantity_max: str = "1000000.00000000"

    def info(self) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "status": "TRADING",
            "baseAsset": self.base,
            "baseAssetPrecision": 8,
            "quoteAsset": self.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": list(TYPES),
            "isSpotTradingAllowed": True,
            "cancelReplaceAllowed": True,
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": "0.01000000",
                    "maxPrice": "1000000.00000000",
                    "tickSize": self.tick,
                },
                {"filterType": "LOT_SIZE", "minQty": self.lot, "maxQty": self.quantity_max, "stepSize": self.lot},
                {
                    "filterType": "MARKET_LOT_SIZE",
                    "minQty": "0.00000000",
                    "maxQty": self.market_quantity_max,
                    "stepSize": "0.00000000",
                },
            ],
        }


LISTED = (
    Listed("BTCUSDT", "BTC", "USDT"),
    Listed("ETHUSDT", "ETH", "USDT", lot="0.00100000"),
    Listed("ETHBTC", "ETH", "BTC"),
)


@dataclass
class Kept:
    """An order, open or not."""

    order_id: int
    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    stop_price: Decimal
    time_ms: int
    update_ms: int
    status: str = "NEW"
    executed: Decimal = _ZERO
    quote_executed: Decimal = _ZERO
    fills: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.status in _OPEN

    def shown(self) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "orderId": self.order_id,
            "orderListId": -1,
            "clientOrderId": self.client_order_id,
            "price": eight(self.price),
            "origQty": eight(self.quantity),
            "executedQty": eight(self.executed),
            "origQuoteOrderQty": "0.00000000",
            "cummulativeQuoteQty": eight(self.quote_executed),
            "status": self.status,
            "timeInForce": self.time_in_force,
            "type": self.type,
            "side": self.side,
            "selfTradePreventionMode": "NONE",
        }

    def queried(self) -> dict[str, Any]:
        return self.shown() | {
            "stopPrice": eight(self.stop_price),
            "icebergQty": "0.00000000",
            "time": self.time_ms,
            "updateTime": self.update_ms,
            "isWorking": True,
            "workingTime": self.time_ms,
        }

    def placed(self) -> dict[str, Any]:
        fills = [
            {
                "price": row["price"],
                "qty": row["qty"],
                "commission": row["commission"],
                "commissionAsset": row["commissionAsset"],
                "tradeId": row["id"],
            }
            for row in self.fills
        ]
        return self.shown() | {"transactTime": self.update_ms, "workingTime": self.time_ms, "fills": fills}


def eight(amount: Decimal) -> str:
    return f"{amount:.8f}"
