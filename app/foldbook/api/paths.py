"""Accounts and orders in the path of a query. A name that no account or order can have is answered as unknown (404)."""

from __future__ import annotations

import re

from foldbook.api.problems import Problem
from foldbook.trading.values import NAME, is_account

OF_ACCOUNT = "/accounts/{user:str}/{exchange:str}/{broker:str}"
OF_ORDER = f"{OF_ACCOUNT}/orders/{{order_id:str}}"
OF_INSTRUMENT = f"{OF_ACCOUNT}/instruments/{{symbol:str}}"

_NAME = re.compile(NAME)


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


def is_symbol(text: str) -> bool:
    return _NAME.fullmatch(text) is not None
