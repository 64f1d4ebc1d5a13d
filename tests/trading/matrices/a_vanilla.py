"""FIX 4.4 volume 4, appendix D, section A: vanilla orders."""

from __future__ import annotations

from tests.trading.matrices.case import ACCEPTED, REJECTED, matrix

FILLED = ("A.1.a", "Filled order")
DONE_FOR_DAY = ("A.1.b", "Part-filled day order, done for day")

CASES = (
    matrix(*FILLED, REJECTED, path="rejected"),
    matrix(
        *FILLED,
        ACCEPTED,
        """
        TRADE A 2000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
        TRADE B 1000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  3000 |  7000 | 100
        TRADE C 7000 @ 100   | FILLED           | -       | 10000 | 10000 |     0 | 100
        """,
    ),
    matrix(*DONE_FOR_DAY, REJECTED, path="rejected"),
    matrix(
        *DONE_FOR_DAY,
        """
        place 10000 DAY      | CREATED          | -       | 10000 |     0 | 10000 | -
        NEW                  | NEW              | -       | 10000 |     0 | 10000 | -
        TRADE A 2000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
        TRADE B 1000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  3000 |  7000 | 100
        DONE_FOR_DAY         | DONE_FOR_DAY     | -       | 10000 |  3000 |     0 | 100 | a day order has no other day
        """,
    ),
)
