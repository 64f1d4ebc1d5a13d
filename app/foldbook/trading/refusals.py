"""The codes with which an order book refuses commands."""

from __future__ import annotations

from foldbook.errors import register

register(
    {
        "unknown-account": (404, "No order book is open for this account"),
        "unknown-order": (404, "The account has no such order"),
        "unknown-doubt": (404, "The order has no such doubt"),
        "not-sent-again": (409, "What is in doubt would not be sent again"),
        "already-exists": (409, "The order book already exists"),
        "duplicate-order": (409, "The order id was used for another order"),
        "instrument-in-use": (409, "The account has a position or an open order in the symbol"),
        "no-position": (409, "The account has no position in the symbol"),
        "order-closed": (409, "The order is closed"),
        "too-many-requests": (409, "Too many requests about the order are waiting for the broker's answer"),
        "too-many-symbols": (409, "The account has too many symbols"),
    }
)
