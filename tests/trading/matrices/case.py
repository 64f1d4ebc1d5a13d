"""How a matrix is written down: a table of text, one line for each step, with what the book shows after it.

    TRADE B 2000 @ 100   | PENDING_CANCEL | CANCEL  | 10000 | 5000 | 5000 | 100 | FIX: PARTIALLY_FILLED
    what happens         | status         | pending | quantity | CumQty | LeavesQty | AvgPx | remark

What happens:

    place 10000 [DAY]                   our order, GTC if nothing is said; a time in force may follow
    cancel, replace 8000 [@ 101]        our requests; ``replace @ 101`` asks for another price only
    NEW, CANCELED, ...                  a report of that ExecType
    TRADE C 1000 @ 100                  a fill with its ExecID
    TRADE_CANCEL E of C                 a bust, with its ExecID and its ExecRefID
    TRADE_CORRECT F of C 900 @ 100      a correction; what is left out stays
    REPLACED [8000], RESTATED [8000]    with the terms that the report states

``-> nothing`` after it: it leads to no event. ``-> duplicate-order``: it is refused with that code. ``Y:`` before it:
it is about another order than X. A dash is nothing: no request is pending, no price is known.

FIX writes a matrix from the broker's view, and the book has its own: it shows a request as pending from the moment it
is made, the broker's reports only once the broker has seen it. A remark that begins with ``FIX:`` is what the
appendix has in that line instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Shown:
    """What the book shows of an order."""

    status: str
    pending: str
    quantity: Decimal
    cum_qty: Decimal
    leaves_qty: Decimal
    avg_px: Decimal | None


@dataclass(frozen=True)
class Step:
    what: str
    order: str
    leads_to: str | None
    """``nothing``, the code of a refusal, or None: to events."""
    shown: Shown | None
    """None: there is no such order."""


@dataclass(frozen=True)
class Case:
    number: str
    title: str
    path: str
    """Which of the alternatives that the matrix offers; empty: there is one only."""
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        return f"{self.number} {self.path}".strip()


def matrix(number: str, title: str, *tables: str, path: str = "") -> Case:
    """A matrix, or one path through it. The tables follow one another."""
    lines = [line.strip() for table in tables for line in table.splitlines() if line.strip()]
    return Case(number, title, path, tuple(_step(line) for line in lines))


def _step(line: str) -> Step:
    what, *columns = (column.strip() for column in line.split("|"))
    order, _colon, what = what.rpartition(":")
    what, _arrow, leads_to = what.partition("->")
    return Step(what.strip(), order or "X", leads_to.strip() or None, _shown(columns))


def _shown(columns: list[str]) -> Shown | None:
    if not any(columns):
        return None
    status, pending, quantity, cum_qty, leaves_qty, avg_px, *_remark = columns
    return Shown(
        status,
        "NONE" if pending == "-" else pending,
        Decimal(quantity),
        Decimal(cum_qty),
        Decimal(leaves_qty),
        None if avg_px == "-" else Decimal(avg_px),
    )


# -- how most matrices begin -------------------------------------------------------------------------------------

REJECTED = """
    place 10000              | CREATED          | -       | 10000 |     0 | 10000 | -
    REJECTED                 | REJECTED         | -       | 10000 |     0 |     0 | -
"""

ACCEPTED = """
    place 10000              | CREATED          | -       | 10000 |     0 | 10000 | -
    NEW                      | NEW              | -       | 10000 |     0 | 10000 | -
"""

PART_FILLED = f"""
    {ACCEPTED}
    TRADE A 1000 @ 100       | PARTIALLY_FILLED | -       | 10000 |  1000 |  9000 | 100
"""
