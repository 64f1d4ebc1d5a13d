"""FIX 4.4 volume 4, appendix D, section K: a trading halt, and what becomes of the orders that rest."""

from __future__ import annotations

from tests.trading.matrices.case import ACCEPTED, PART_FILLED, REJECTED, matrix

REINSTATED = ("K.1.a", "Trading halt: reinstate")
CANCELED = ("K.1.b", "Trading halt: cancel")

CASES = (
    matrix(*REINSTATED, REJECTED, path="rejected"),
    matrix(
        *REINSTATED,
        ACCEPTED,
        """
        SUSPENDED            | SUSPENDED        | -       | 10000 |     0 | 10000 | -
        RESTATED             | NEW              | -       | 10000 |     0 | 10000 | -
        """,
    ),
    matrix(
        *REINSTATED,
        PART_FILLED,
        """
        SUSPENDED            | SUSPENDED        | -       | 10000 |  1000 |  9000 | 100
        RESTATED             | PARTIALLY_FILLED | -       | 10000 |  1000 |  9000 | 100
        TRADE B 9000 @ 100   | FILLED           | -       | 10000 | 10000 |     0 | 100
        """,
        path="part-filled",
    ),
    matrix(*CANCELED, REJECTED, path="rejected"),
    matrix(
        *CANCELED,
        ACCEPTED,
        """
        CANCELED             | CANCELED         | -       | 10000 |     0 |     0 | -
        """,
    ),
    matrix(
        *CANCELED,
        PART_FILLED,
        """
        SUSPENDED            | SUSPENDED        | -       | 10000 |  1000 |  9000 | 100
        CANCELED             | CANCELED         | -       | 10000 |  1000 |     0 | 100
        """,
        path="suspended first",
    ),
)
