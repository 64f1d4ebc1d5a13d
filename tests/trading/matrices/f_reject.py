"""FIX 4.4 volume 4, appendix D, section F: orders that are rejected because they are there already.

What the broker does in FIX with the ClOrdID, the book does with the order id, before the order leaves: the same order
again (PossResend, PossDup) leads to nothing, another order under the same id is refused.
"""

from __future__ import annotations

from tests.trading.matrices.case import ACCEPTED, PART_FILLED, REJECTED, matrix

DUPLICATE = ("F.1.a", "Order rejected due to a duplicate ClOrdID")
RESENT = ("F.1.b", "Poss resend and duplicate ClOrdID")
VERBAL = ("F.1.c", "Order rejected because it has already been submitted verbally")

CASES = (
    matrix(
        *DUPLICATE,
        PART_FILLED,
        """
        place 15000 -> duplicate-order | PARTIALLY_FILLED | - | 10000 |  1000 |  9000 | 100
        """,
    ),
    matrix(
        *RESENT,
        ACCEPTED,
        """
        place 10000 -> nothing         | NEW     | -       | 10000 |     0 | 10000 | -
        place 20000 -> duplicate-order | NEW     | -       | 10000 |     0 | 10000 | -
        Y: place 15000                 | CREATED | -       | 15000 |     0 | 15000 | -
        Y: NEW                         | NEW     | -       | 15000 |     0 | 15000 | -
        """,
    ),
    matrix(*VERBAL, REJECTED),
)
