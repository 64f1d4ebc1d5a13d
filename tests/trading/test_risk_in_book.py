"""The limits in the book: whatever is asked and whatever the broker answers, a position stays within its limit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import uuid4

import immutables
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foldbook.errors import Refusal
from foldbook.trading.book import Book
from foldbook.trading.commands import BookCommand, SetRiskLimits, SetTradingState
from foldbook.trading.events import OrderCancelRequested, OrderCancelSubmitted
from foldbook.trading.position import Position
from foldbook.trading.risk import Exposure
from foldbook.trading.values import GroupKind, OrderGroup, Rate, RequestKind, RiskLimits, Side, TradingState
from tests.builders import (
    ACCOUNT,
    NOW,
    attempt,
    cancel,
    holding,
    open_account,
    place,
    replace_order,
    report,
    trade,
)
from tests.trading.lives import Life

POSITION_MAX = Decimal(10)
SYMBOL = "BTCUSDT"


@dataclass
class Working:
    """An order at a broker that does what FIX allows: it may even fill an order that is already filled."""

    side: Side
    quantity: Decimal
    cum_qty: Decimal = Decimal(0)
    is_canceled: bool = False
    requests: deque[Decimal | None] = field(default_factory=deque)
    """The quantities asked for, the oldest first; None: a cancel."""

    @property
    def leaves_qty(self) -> Decimal:
        return Decimal(0) if self.is_canceled else max(self.quantity - self.cum_qty, Decimal(0))


class Trading:
    def __init__(self) -> None:
        self.life = Life()
        self.orders: dict[str, Working] = {}
        self.position = Decimal(0)
        self._fills = 0
        self.life.execute(open_account())
        self.life.execute(
            SetRiskLimits(
                command_id=cancel().command_id,
                received_at=NOW,
                account=ACCOUNT,
                limits=RiskLimits(max_position=POSITION_MAX),
            )
        )

    def place(self, order_id: str, side: Side, quantity: Decimal) -> None:
        if order_id not in self.orders and self._leads_to(
            "OrderCreated", place(order_id, side=side, quantity=str(quantity))
        ):
            self.orders[order_id] = Working(side, quantity)

    def replace(self, order_id: str, quantity: Decimal) -> None:
        order = self.orders.get(order_id)
        if order and self._leads_to("OrderReplaceRequested", replace_order(order_id, quantity=quantity)):
            order.requests.append(quantity)

    def cancel(self, order_id: str) -> None:
        order = self.orders.get(order_id)
        if order and self._leads_to("OrderCancelRequested", cancel(order_id)):
            order.requests.append(None)

    def answer(self, order_id: str, *, accepts: bool) -> None:
        order = self.orders.get(order_id)
        if not order or not order.requests:
            return
        quantity = order.requests.popleft()
        kind = "CANCEL" if quantity is None else "REPLACE"
        if not accepts or order.is_canceled or (quantity is None and not order.leaves_qty):
            self.life.execute(report(f"{kind}_REJECTED", order_id))
        elif quantity is None:
            order.is_canceled = True
            self.life.execute(report("CANCELED", order_id))
        else:
            order.quantity = max(quantity, order.cum_qty)
            self.life.execute(report("REPLACED", order_id))

    def fill(self, order_id: str, quantity: Decimal) -> None:
        order = self.orders.get(order_id)
        last_qty = min(quantity, order.leaves_qty) if order else Decimal(0)
        if not order or not last_qty:
            return
        order.cum_qty += last_qty
        self.position += last_qty if order.side is Side.BUY else -last_qty
        self._fills += 1
        self.life.execute(trade(f"e-{self._fills}", str(last_qty), order_id=order_id))

    def exposure(self) -> Exposure:
        """What may still trade, and how many orders that is: those that work, and those that may be made to."""
        buy_qty = sell_qty = Decimal(0)
        count = 0
        for order in self.orders.values():
            asked = [quantity for quantity in order.requests if quantity is not None]
            exposed_qty = max(order.quantity, *asked) - order.cum_qty if asked else order.leaves_qty
            if order.is_canceled or exposed_qty <= 0:
                continue
            buy_qty += exposed_qty if order.side is Side.BUY else 0
            sell_qty += exposed_qty if order.side is Side.SELL else 0
            count += 1
        return Exposure(buy_qty, sell_qty, count)

    def _leads_to(self, event_type: str, command: BookCommand) -> bool:
        try:
            events = self.life.execute(command)
        except Refusal:
            return False
        return [type(event).__name__ for event in events][-1:] == [event_type]

    def take(self, step: Step) -> None:
        what, order_id = step.what, step.order_id
        if what == "place":
            self.place(order_id, step.side, step.quantity)
        elif what == "replace":
            self.replace(order_id, step.quantity)
        elif what == "cancel":
            self.cancel(order_id)
        elif what == "fill":
            self.fill(order_id, step.quantity)
        else:
            self.answer(order_id, accepts=what == "accept")


class Step(NamedTuple):
    what: str
    order_id: str
    side: Side = Side.BUY
    quantity: Decimal = Decimal(1)


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["place", "place", "replace", "cancel", "accept", "accept", "reject", "fill", "fill"]),
        st.integers(0, 3).map(lambda n: f"o-{n}"),
        st.sampled_from(Side),
        st.integers(1, 9).map(Decimal),
    ),
    max_size=40,
)

TWO_FILLED_ORDERS_ASK_FOR_MORE = [
    *(Step("place", "o-0", Side.BUY, Decimal(4)), Step("fill", "o-0", Side.BUY, Decimal(4))),
    *(Step("place", "o-1", Side.BUY, Decimal(3)), Step("fill", "o-1", Side.BUY, Decimal(3))),
    *(Step("replace", "o-0", Side.BUY, Decimal(7)), Step("replace", "o-1", Side.BUY, Decimal(6))),
    *(Step("accept", "o-0"), Step("fill", "o-0", Side.BUY, Decimal(3))),
    *(Step("accept", "o-1"), Step("fill", "o-1", Side.BUY, Decimal(3))),
]


@settings(deadline=None, max_examples=150)
@given(STEPS)
@example(TWO_FILLED_ORDERS_ASK_FOR_MORE)
def test_no_order_and_no_replace_that_passes_takes_the_position_beyond_its_limit(steps: list[Step]) -> None:
    trading = Trading()
    for step in steps:
        trading.take(step)
        assert abs(trading.position) <= POSITION_MAX
        book = trading.life.book
        assert book.position_qty(SYMBOL) == trading.position
        assert book.risk.exposures.get(SYMBOL, Exposure()) == trading.exposure()


def test_what_an_account_lost_today_is_exact() -> None:
    """In a quote currency, over all its symbols."""
    loss = Decimal("10000000000000000000.000000000000000001")
    lost = Position(realized_pnl=loss.copy_negate(), day=NOW.toordinal())
    book = Book(account=ACCOUNT, positions=immutables.Map({"BTC-USD": lost, "ETH-USD": lost, "BTC-EUR": lost}))
    assert str(book.lost_today("BTC-USD", NOW, is_of_account=True)) == "20000000000000000000.000000000000000002"
    assert str(book.lost_today("BTC-USD", NOW, is_of_account=False)) == "10000000000000000000.000000000000000001"


LIMITS_OF_EVERYTHING = RiskLimits(
    max_quantity=Decimal("0.1"),
    max_notional=Decimal("0.1"),
    price_collar=Decimal("0.0001"),
    max_position=Decimal("0.1"),
    max_open_orders=1,
    max_order_rate=Rate(count=1, interval_s=3600),
    max_message_rate=Rate(count=1, interval_s=3600),
    max_daily_loss=Decimal("0.1"),
    reduce_only=True,
    allowed_symbols=("OTHER",),
    price_age_max_s=1,
)


@pytest.mark.parametrize("state", TradingState)
@pytest.mark.parametrize("is_limited", [False, True])
@pytest.mark.parametrize("is_mismatched", [False, True])
@pytest.mark.parametrize("by", ["request", "group"])
def test_a_cancel_always_passes(state: TradingState, is_limited: bool, is_mismatched: bool, by: str) -> None:
    """Whatever forbids orders: an order that is at the broker can be taken back, and the attempt to do so is made."""
    life = Life()
    life.execute(open_account())
    group = OrderGroup(kind=GroupKind.OCO, id="g") if by == "group" else None
    for order_id in ("o-1", "o-2"):
        life.execute(place(order_id, group=group))
        life.execute(attempt(order_id))
        life.execute(report("NEW", order_id=order_id))
    said: dict[str, Any] = {"received_at": NOW, "account": ACCOUNT}
    if is_limited:
        life.execute(SetRiskLimits(command_id=uuid4(), limits=LIMITS_OF_EVERYTHING, **said))
    if is_mismatched:
        life.execute(holding("7"))
    life.execute(SetTradingState(command_id=uuid4(), state=state, cancel_open_orders=False, **said))

    if by == "request":
        (requested,) = life.execute(cancel("o-1"))
        order_id = "o-1"
    else:
        *_, requested = life.execute(trade("e-1", "2", order_id="o-1"))
        order_id = "o-2"
    assert isinstance(requested, OrderCancelRequested)
    assert requested.order_id == order_id
    (submitted,) = life.execute(attempt(order_id, request=RequestKind.CANCEL, request_id=requested.request_id))
    assert isinstance(submitted, OrderCancelSubmitted)
