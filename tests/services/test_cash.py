"""The cash of an account, event by event, is the cash of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from foldbook.services.strategy.cash import Cash, evolve_cash
from foldbook.trading.events import EVENT_TYPES
from foldbook.trading.values import EXACT
from tests.readside.executions import balances_of, bookings, entries_of, executions
from tests.readside.histories import Happening


@pytest.fixture(autouse=True)
def exact_decimals() -> Iterator[None]:
    with localcontext(EXACT):
        yield


def cash_of(history: list[Happening]) -> dict[tuple[str, str], Decimal]:
    accounts: dict[str, Cash] = {}
    for happening in history:
        event = EVENT_TYPES.decode(happening.type, 1, msgspec.json.encode(happening.payload))
        accounts[happening.account] = evolve_cash(accounts.get(happening.account, Cash()), event)
    return {
        (account, currency): amount for account, cash in accounts.items() for currency, amount in cash.items() if amount
    }


def ledger_cash(history: list[Happening]) -> dict[tuple[str, str], Decimal]:
    balances = balances_of(entries_of(history))
    return {(account, currency): amount for (account, name, currency), amount in balances.items() if name == "cash"}


@settings(deadline=None)
@given(executions())
def test_fills_busts_and_corrections(history: list[Happening]) -> None:
    assert cash_of(history) == ledger_cash(history)


def stays_right(history: list[Happening]) -> bool:
    """Once a currency is put right it stays known, as it does at every exchange. The ledger can do more than that."""
    right: dict[tuple[str, str], dict[str, str]] = {}
    for happening in history:
        if happening.type != "InstrumentDefined":
            continue
        payload = happening.payload
        known = right.setdefault((happening.account, payload["symbol"]), {})
        if any(payload.get(name) != currency for name, currency in known.items()):
            return False
        known |= {name: payload[name] for name in payload.get("put_right", ())}
    return True


@settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_everything_that_the_ledger_folds(data: st.DataObject) -> None:
    history = data.draw(bookings())
    assume(stays_right(history))
    assert cash_of(history) == ledger_cash(history)
