"""Accounts, orders and symbols in the path of a query, which is in the canonical spelling (``escapes``).

A name that no account or order can have is answered as unknown (404). No valid name of them needs escapes.
"""

from __future__ import annotations

import re

from foldbook.api.escapes import name_in
from foldbook.api.problems import Problem
from foldbook.trading.values import NAME, SYMBOL, is_account

OF_ACCOUNT = "/accounts/{user:str}/{exchange:str}/{broker:str}"
OF_ORDER = f"{OF_ACCOUNT}/orders/{{order_id:str}}"
OF_INSTRUMENT = f"{OF_ACCOUNT}/instruments/{{symbol:str}}"

_NAME = re.compile(NAME)
_SYMBOL = re.compile(SYMBOL)


def account_of(user: str, exchange: str, broker: str) -> str:
    account = f"{user}/{exchange}/{broker}"
    if not is_account(account):
        raise Problem(
            "unknown-account", "an account is user/exchange/broker, and the broker is live, simulated or backtest"
        )
    return account


def order_id_of(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise Problem("unknown-order", f"an order id must match {NAME}")
    return text


def symbol_of(segment: str) -> str | None:
    """None: it stands for no valid symbol."""
    symbol = name_in(segment)
    return symbol if _SYMBOL.fullmatch(symbol) else None
