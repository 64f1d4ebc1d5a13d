"""Whatever a broker tells of an order, told in any order and twice, it ends in the same book.

The broker of this test does what the simulated venue does not: it suspends orders and ends their day, acknowledges
requests before it answers them, restates terms, and moves an order to another leg with each replace.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from foldbook.trading.commands import BookCommand, RecordExecution, SetRiskLimits
from foldbook.trading.facts import Request
from foldbook.trading.values import ZERO, PendingRequest, RiskLimits, TimeInForce
from tests.builders import ACCOUNT, NOW, cancel, open_account, place, replace_order, report
from tests.trading.lives import Life, facts_of

LIMITED = SetRiskLimits(command_id=uuid7(), received_at=NOW, account=ACCOUNT, limits=RiskLimits(max_open_orders=1000))
"""Limits nothing, so that the risk checks count what is open."""


class Broker:
    """It works order o-1. ``told``: what it reports; each step takes a second. What cannot be does not happen."""

    def __init__(self, requests: tuple[Request, ...], *, names_legs: bool, moves: bool) -> None:
        self.told: list[RecordExecution] = []
        self._requests = list(requests)
        self._names_legs, self._moves = names_legs, moves
        self._leg = 1
        self._quantity, self._limit_price = Decimal(10), Decimal(100)
        self._fills: dict[str, Decimal] = {}
        self._executions = 0
        self._is_open, self._rests = True, False
        self.tell("NEW")

    def tell(self, exec_type: str, leg: int | None = None, **fields: Any) -> None:
        time = NOW - timedelta(seconds=100 - len(self.told))
        if self._names_legs:
            fields["broker_order_id"] = f"leg-{leg or self._leg}"
        self.told.append(report(exec_type, transact_time=time, **fields))

    @property
    def _cum_qty(self) -> Decimal:
        return sum(self._fills.values(), ZERO)

    def _exec_id(self) -> str:
        self._executions += 1
        return f"e-{self._executions}"

    def fill(self, quantity: Decimal) -> None:
        left = self._quantity - self._cum_qty
        if self._is_open and not self._rests and left > 0:
            exec_id = self._exec_id()
            self._fills[exec_id] = min(quantity, left)
            self.tell("TRADE", exec_id=exec_id, last_qty=self._fills[exec_id], last_px=Decimal(100))

    def bust(self, number: int) -> None:
        if self._fills:
            exec_id = list(self._fills)[number % len(self._fills)]
            del self._fills[exec_id]
            self.tell("TRADE_CANCEL", exec_ref_id=exec_id)

    def correct(self, number: int, quantity: Decimal) -> None:
        if self._fills:
            exec_id = list(self._fills)[number % len(self._fills)]
            self._fills[exec_id] = quantity
            new_id = self._exec_id()
            self.tell("TRADE_CORRECT", exec_id=new_id, exec_ref_id=exec_id, last_qty=quantity, last_px=Decimal(99))

    def acknowledge(self) -> None:
        if self._requests:
            request = self._requests[0]
            self.tell(f"PENDING_{request.kind}", request_id=request.request_id)

    def answer(self, does_it: bool, states_terms: bool) -> None:
        if not self._requests:
            return
        request = self._requests.pop(0)
        does_it = does_it and self._is_open and self._cum_qty < self._quantity
        if request.kind is PendingRequest.CANCEL:
            if does_it:
                self.end("CANCELED", request_id=request.request_id)
            else:
                self.tell("CANCEL_REJECTED", request_id=request.request_id)
        elif does_it and ("quantity" not in request.asked or (request.quantity or ZERO) > self._cum_qty):
            self._replace(request, states_terms)
        else:
            self.tell("REPLACE_REJECTED", request_id=request.request_id)

    def _replace(self, request: Request, states_terms: bool) -> None:
        if "quantity" in request.asked and request.quantity is not None:
            self._quantity = request.quantity
        if "limit_price" in request.asked and request.limit_price is not None:
            self._limit_price = request.limit_price
        if self._moves:
            self._leg, self._rests = self._leg + 1, False
        terms: dict[str, Any] = {}
        if states_terms:
            terms = {"quantity": self._quantity, "limit_price": self._limit_price}
        self.tell("REPLACED", request_id=request.request_id, **terms)
        if self._moves and self._names_legs:
            self.tell("CANCELED", self._leg - 1, reason="replaced")

    def rest(self, exec_type: str) -> None:
        if self._is_open:
            self._rests = True
            self.tell(exec_type)

    def restate(self, quantity: Decimal | None, limit_price: Decimal | None) -> None:
        if self._is_open:
            self._rests = False
            self._quantity = self._quantity if quantity is None else quantity
            self.tell("RESTATED", quantity=quantity, limit_price=limit_price)

    def end(self, exec_type: str, **fields: Any) -> None:
        if self._is_open:
            self._is_open = False
            self.tell(exec_type, reason="by itself", **fields)


_quantities = st.sampled_from([1, 2, 4, 6, 8, 12, 14]).map(Decimal)
_prices = st.sampled_from([99, 101, 102]).map(Decimal)
_numbers = st.integers(0, 3)
_asked: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"quantity": _quantities}, optional={"limit_price": _prices}),
    st.fixed_dictionaries({"limit_price": _prices}),
)
"""Nothing: a cancel."""

_steps = st.one_of(
    st.tuples(st.just("fill"), _quantities),
    st.tuples(st.just("answer"), st.sampled_from([True, True, False]), st.booleans()),
    st.tuples(st.just("acknowledge")),
    st.tuples(st.just("bust"), _numbers),
    st.tuples(st.just("correct"), _numbers, _quantities),
    st.tuples(st.just("rest"), st.sampled_from(["SUSPENDED", "DONE_FOR_DAY"])),
    st.tuples(st.just("restate"), st.none() | _quantities, st.none() | _prices),
    st.tuples(st.just("end"), st.sampled_from(["CANCELED", "EXPIRED"])),
)


def lived(commands: list[BookCommand]) -> Life:
    life = Life()
    for command in commands:
        life.execute(command)
    return life


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[BookCommand], list[RecordExecution]]:
    """What we did about an order, and what the broker told of it."""
    day = draw(st.sampled_from([TimeInForce.GTC, TimeInForce.DAY]))
    ours: list[BookCommand] = [open_account(), LIMITED, place(quantity="10", time_in_force=day)]
    for number, asked in enumerate(draw(st.lists(_asked, max_size=3)), 1):
        command_id = UUID(int=number)
        ours.append(replace_order(command_id=command_id, **asked) if asked else cancel(command_id=command_id))
    requests = lived(ours).book.orders["o-1"].requests
    broker = Broker(requests, names_legs=draw(st.booleans()), moves=draw(st.booleans()))
    for name, *arguments in draw(st.lists(_steps, max_size=10)):
        getattr(broker, name)(*arguments)
    return ours, broker.told


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_told_of_an_order_ends_in_one_state_in_any_order(data: st.DataObject) -> None:
    ours, told = data.draw(orders())
    again = data.draw(st.lists(st.sampled_from(told), max_size=4))
    shuffled = data.draw(st.permutations([*told, *again]))
    assert facts_of(lived([*ours, *shuffled])) == facts_of(lived([*ours, *told]))
