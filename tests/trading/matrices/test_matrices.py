"""FIX 4.4 volume 4, appendix D: the order state change matrices, step by step through the order book.

One module for each section, the matrices named by their numbers; ``case`` says how to read them. Where a matrix
lets the broker choose (a request is rejected, or accepted) each path is a case. Not here, because no command or report
of ours can say it:

- G.1.a, G.1.b, G.1.c: order status requests. A status is read from our own tables, and a report that repeats what is
  known leads to no event.
- L.1.a: a guarantee of execution (ExecType STOPPED). L.1.b: an order for an amount of cash (CashOrderQty).
- E.1.f: an order held until it is activated (WorkingIndicator).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from foldbook.errors import Refusal
from foldbook.eventstore.events import Event
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import BookCommand, PlaceOrder
from foldbook.trading.values import TimeInForce, average
from tests.builders import NOW, cancel, open_account, place, replace_order, report
from tests.trading.lives import Life
from tests.trading.matrices import (
    a_vanilla,
    b_cancel,
    beyond,
    c_replace,
    d_chains,
    e_unsolicited,
    f_reject,
    h_good_till,
    i_time_in_force,
    j_corrections,
    k_trading_halt,
)
from tests.trading.matrices.case import Case, Shown, Step

CASES: tuple[Case, ...] = (
    *a_vanilla.CASES,
    *b_cancel.CASES,
    *c_replace.CASES,
    *d_chains.CASES,
    *e_unsolicited.CASES,
    *f_reject.CASES,
    *h_good_till.CASES,
    *i_time_in_force.CASES,
    *j_corrections.CASES,
    *k_trading_halt.CASES,
    *beyond.CASES,
)

MATRICES = (
    *("A.1.a", "A.1.b"),
    *("B.1.a", "B.1.b", "B.1.c", "B.1.d", "B.1.e", "B.1.f"),
    *("C.1.a", "C.1.b", "C.1.c", "C.2.a", "C.3.a", "C.3.b", "C.3.c"),
    *("D.1.a", "D.1.b", "D.1.c", "D.2.a", "D.2.b", "D.2.c", "D.2.d"),
    *("E.1.a", "E.1.b", "E.1.c", "E.1.d", "E.1.e"),
    *("F.1.a", "F.1.b", "F.1.c"),
    *("H.1.a", "H.1.b", "H.1.c", "H.1.d"),
    *("I.1.a", "I.1.b"),
    *("J.1.a", "J.1.b", "J.1.c"),
    *("K.1.a", "K.1.b"),
)


def _shown(life: Life, order_id: str) -> Shown | None:
    """What the book shows of an order; of one that it forgot, what is recalled of it."""
    order = life.book.orders.get(order_id)
    if ORDER_BOOK.has_forgotten(cancel(order_id), life.book):
        assert ORDER_BOOK.recall is not None
        order = ORDER_BOOK.recall(life.book, life.about(order_id)).recalled
    if order is None:
        return None
    return Shown(
        order.status.value,
        order.pending_request.value,
        order.quantity,
        order.cum_qty,
        order.leaves_qty,
        average(order.cum_cost, order.cum_qty) if order.cum_qty else None,
    )


def _command(step: Step, fields: dict[str, Any]) -> BookCommand:
    word, *words = step.what.split()
    if word == "place":
        return _place(step.order, words, fields)
    if word == "cancel":
        return cancel(step.order, **fields)
    if "@" in words:
        at = words.index("@")
        fields["limit_price" if word in ("replace", "REPLACED", "RESTATED") else "last_px"] = Decimal(words[at + 1])
        words = words[:at]
    if word == "replace":
        if words:
            fields["quantity"] = Decimal(words[0])
        return replace_order(step.order, **fields)
    if word.startswith("TRADE"):
        fields["exec_id"], *words = words
        if words and words[0] == "of":
            fields["exec_ref_id"], words = words[1], words[2:]
        if words:
            fields["last_qty"] = Decimal(words[0])
    elif words:
        fields["quantity"] = Decimal(words[0])
    return report(word, step.order, **fields)


def _place(order_id: str, words: list[str], fields: dict[str, Any]) -> PlaceOrder:
    quantity, *time_in_force = words
    return place(order_id, quantity=quantity, time_in_force=TimeInForce(*time_in_force or ["GTC"]), **fields)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_matrix(case: Case) -> None:
    life = Life()
    life.execute(open_account())
    for number, step in enumerate(case.steps, 1):
        line = f"{case.number} {case.title}, step {number}: {step.what}"
        command = _command(step, {"received_at": NOW + timedelta(seconds=number)})
        if step.leads_to in (None, "nothing"):
            events = life.execute(command)
            assert bool(events) is (step.leads_to is None), line
            _check_quantities(events, step, line)
        else:
            with pytest.raises(Refusal) as refused:
                life.execute(command)
            assert refused.value.code == step.leads_to, line
        assert _shown(life, step.order) == step.shown, line


def _check_quantities(events: Sequence[Event], step: Step, line: str) -> None:
    """An event says what the order is after it."""
    for name in ("cum_qty", "leaves_qty"):
        told = [getattr(event, name) for event in events if hasattr(event, name)]
        assert told[-1:] in ([], [getattr(step.shown, name)]), f"{line}: {name}"


def test_the_matrices_are_all_there() -> None:
    assert {case.number for case in CASES if not case.number.startswith("X")} == set(MATRICES)


def test_no_two_cases_have_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
