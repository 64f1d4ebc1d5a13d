"""Runs of an account at the venue's exchange: what was asked, and what was reported, as the gateway hears it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from foldbook.brokers.port import Report
from foldbook.brokers.reports import command_of
from foldbook.brokers.simulated import _read
from foldbook.trading.commands import BookCommand, RecordAttempt, SetRiskLimits
from foldbook.trading.values import RequestKind, RiskLimits, Side, TimeInForce
from foldbook.venue import messages
from foldbook.venue.exchange import Exchange
from foldbook.venue.messages import AnyMessage
from foldbook.venue.orders import Costs
from foldbook.venue.server.documents import report_document
from tests.builders import ACCOUNT, NOW, attempt, cancel, in_doubt, open_account, place, replace_order
from tests.trading.lives import Life

SYMBOL = "BTCUSDT"
ORDERS_MAX = 4
START_NS = int(NOW.timestamp()) * 1_000_000_000
SECOND_NS = 1_000_000_000

_LIMITED = SetRiskLimits(
    command_id=UUID(int=0), received_at=NOW, account=ACCOUNT, limits=RiskLimits(max_open_orders=1000)
)
"""Limits nothing, so that the risk checks count what is open."""


class Run:
    """``asked``: the account's own commands, in order; ``reports``: as the exchange told them."""

    def __init__(self, *, moves_id: bool) -> None:
        self.asked: list[BookCommand] = [open_account(), _LIMITED]
        self.reports: list[Report] = []
        self._moves_id = moves_id
        self._exchange = Exchange(Costs(taker=Decimal("0.001"), maker=Decimal("-0.0005")))
        self._time_ns = START_NS
        self._orders = 0
        self._requests = 0
        self._canceled: set[str] = set()

    def commands(self) -> list[BookCommand]:
        """What records the reports."""
        found = []
        for n, report in enumerate(self.reports):
            order_id = None if report.client_order_id is None else report.client_order_id.partition(":")[0]
            command = command_of(report, order_id, NOW + timedelta(hours=1, seconds=n))
            if command is not None:
                found.append(command)
        return found

    def place(self, side: Side, quantity: Decimal, limit_price: Decimal, time_in_force: TimeInForce) -> None:
        self._orders += 1
        order_id = f"o-{self._orders}"
        terms: dict[str, Any] = {
            "side": side,
            "limit_price": limit_price,
            "symbol": SYMBOL,
            "time_in_force": time_in_force,
        }
        self.asked.append(place(order_id, quantity=str(quantity), **terms))
        self.asked.append(attempt(order_id, client_order_id=f"{order_id}:1"))
        placed = self.asked[-2]
        self._tell(
            messages.Submit(
                self._next_ns(),
                ACCOUNT,
                f"{order_id}:1",
                SYMBOL,
                side,
                placed.order_type,  # type: ignore[attr-defined]
                quantity,
                limit_price,
                time_in_force=time_in_force,
            )
        )

    def cancel(self, number: int) -> None:
        order_id = self._named(number)
        if order_id is None or order_id in self._canceled:
            return
        self._canceled.add(order_id)
        asked = cancel(order_id)
        request_id = str(asked.command_id)
        self.asked += (asked, attempt(order_id, RequestKind.CANCEL, request_id=request_id))
        self._tell(messages.Cancel(self._next_ns(), ACCOUNT, f"{order_id}:1", request_id))

    def replace(self, number: int, quantity: Decimal, limit_price: Decimal) -> None:
        order_id = self._named(number)
        if order_id is None:
            return
        self._requests += 1
        request_id = UUID(int=self._requests)
        terms: dict[str, Any] = {"quantity": quantity, "limit_price": limit_price}
        self.asked.append(replace_order(order_id, command_id=request_id, **terms))
        self.asked.append(attempt(order_id, RequestKind.REPLACE, request_id=str(request_id)))
        if not Life().try_all(self.asked[:-1]).execute(self.asked[-1]):
            return  # It changes nothing, so that it is not sent.
        name, asked_as = f"{order_id}:1", str(request_id)
        self._tell(
            messages.Replace(self._next_ns(), ACCOUNT, name, asked_as, quantity, limit_price, moves_id=self._moves_id)
        )

    def quote(self, bid: Decimal, ask: Decimal, bid_size: Decimal, ask_size: Decimal) -> None:
        self._tell(messages.QuoteTold(self._next_ns(), SYMBOL, bid, ask, bid_size, ask_size))

    def bust(self, number: int) -> None:
        exec_id = self._trade(number)
        if exec_id is not None:
            self._tell(messages.Bust(self._next_ns(), ACCOUNT, exec_id))

    def correct(self, number: int, last_qty: Decimal, last_px: Decimal) -> None:
        exec_id = self._trade(number)
        if exec_id is not None:
            self._tell(messages.Correct(self._next_ns(), ACCOUNT, exec_id, last_qty, last_px))

    def doubt(self) -> None:
        """The latest attempt had no clear answer: that is another fact of ours."""
        sent = next((command for command in reversed(self.asked) if isinstance(command, RecordAttempt)), None)
        if sent is not None:
            self.asked.append(in_doubt(sent.order_id, sent.request, request_id=sent.request_id))

    def end_day(self) -> None:
        self._tell(messages.CloseSession(self._next_ns()))
        self._tell(messages.OpenSession(self._next_ns()))

    def liquidate(self) -> None:
        self._tell(messages.Liquidate(self._next_ns(), ACCOUNT, SYMBOL))

    def fund(self, amount: Decimal) -> None:
        self._tell(messages.Fund(self._next_ns(), ACCOUNT, SYMBOL, "USD", amount))

    def _named(self, number: int) -> str | None:
        return f"o-{number % self._orders + 1}" if self._orders else None

    def _trade(self, number: int) -> str | None:
        """The trade to bust or correct."""
        trades = [report.exec_id for report in self.reports if report.kind == "TRADE"]
        return trades[number % len(trades)] if trades else None

    def _next_ns(self) -> int:
        self._time_ns += SECOND_NS
        return self._time_ns

    def _tell(self, message: AnyMessage) -> None:
        for report in self._exchange.apply(message).reports:
            self.reports.append(_read(msgspec.json.encode(report_document(report)).decode()))


_quantities = st.sampled_from(["0.5", "1", "2", "3"]).map(Decimal)
_prices = st.sampled_from(["98", "99", "100", "101", "102"]).map(Decimal)
_numbers = st.integers(0, 7)
_orders = st.tuples(
    st.sampled_from([Side.BUY, Side.SELL]), _quantities, _prices, st.sampled_from([TimeInForce.GTC, TimeInForce.DAY])
)

_actions = st.one_of(
    _orders.map(lambda order: ("place", *order)),
    st.tuples(st.just("quote"), _prices, st.sampled_from([Decimal(0), Decimal(1)]), _quantities, _quantities),
    st.tuples(st.just("replace"), _numbers, _quantities, _prices),
    st.tuples(st.just("cancel"), _numbers),
    st.tuples(st.just("bust"), _numbers),
    st.tuples(st.just("correct"), _numbers, _quantities, _prices),
    st.tuples(st.sampled_from(["liquidate", "doubt", "end_day"])),
    st.tuples(st.just("fund"), st.sampled_from(["-1.5", "2"]).map(Decimal)),
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    run = Run(moves_id=draw(st.booleans()))
    for order in draw(st.lists(_orders, min_size=1, max_size=2)):
        run.place(*order)
    for action in draw(st.lists(_actions, max_size=14)):
        _do(run, action)
    return run


def _do(run: Run, action: tuple[Any, ...]) -> None:
    name, *arguments = action
    if name == "quote":
        bid, spread, bid_size, ask_size = arguments
        run.quote(bid, bid + spread, bid_size, ask_size)
    elif name != "place" or run._orders < ORDERS_MAX:
        getattr(run, name)(*arguments)


@st.composite
def shuffled(draw: st.DrawFn, told: Sequence[BookCommand]) -> list[BookCommand]:
    """All of them in any order, some of them more than once."""
    if not told:
        return []
    again = draw(st.lists(st.sampled_from(told), max_size=5))
    order: list[BookCommand] = draw(st.permutations([*told, *again]))
    return order
