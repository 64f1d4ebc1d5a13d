"""FIX 4.4 volume 4, appendix D, section E: what the broker does without a request.

Not here: E.1.f, an order held until it is activated (that is WorkingIndicator, which no report here carries).
"""

from __future__ import annotations

from tests.trading.matrices.case import ACCEPTED, PART_FILLED, REJECTED, matrix

TELEPHONED = ("E.1.a", "Telephoned order")
CANCELED = ("E.1.b", "Unsolicited cancel of a part-filled order")
REPLACED = ("E.1.c", "Unsolicited replacement of a part-filled order")
REDUCED = ("E.1.d", "Unsolicited reduction of the quantity by the sell-side")
NOT_BEST = ("E.1.e", "Unsolicited cancel of a cancel-if-not-best order")

CASES = (
    # An order placed by telephone is placed here too: a report about an order that nobody placed is kept as unmatched.
    matrix(
        *TELEPHONED,
        """
        place 10000          | CREATED          | -       | 10000 |     0 | 10000 | -
        NEW                  | NEW              | -       | 10000 |     0 | 10000 | -   | FIX: LeavesQty 0
        TRADE A 2000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
        TRADE B 1000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  3000 |  7000 | 100
        TRADE C 7000 @ 100   | FILLED           | -       | 10000 | 10000 |     0 | 100
        """,
    ),
    matrix(*CANCELED, REJECTED, path="rejected"),
    matrix(
        *CANCELED,
        PART_FILLED,
        """
        CANCELED             | CANCELED         | -       | 10000 |  1000 |     0 | 100
        """,
    ),
    matrix(*REPLACED, REJECTED, path="rejected"),
    matrix(
        *REPLACED,
        ACCEPTED,
        """
        RESTATED 11000       | NEW              | -       | 11000 |     0 | 11000 | -
        TRADE A 1000 @ 100   | PARTIALLY_FILLED | -       | 11000 |  1000 | 10000 | 100
        RESTATED 12000       | PARTIALLY_FILLED | -       | 12000 |  1000 | 11000 | 100
        """,
    ),
    matrix(*REDUCED, REJECTED, path="rejected"),
    matrix(
        *REDUCED,
        ACCEPTED,
        """
        RESTATED 9000        | NEW              | -       |  9000 |     0 |  9000 | -
        TRADE A 9000 @ 100   | FILLED           | -       |  9000 |  9000 |     0 | 100
        """,
    ),
    matrix(*NOT_BEST, REJECTED, path="rejected"),
    matrix(
        *NOT_BEST,
        ACCEPTED,
        """
        CANCELED             | CANCELED         | -       | 10000 |     0 |     0 | -
        """,
    ),
)
