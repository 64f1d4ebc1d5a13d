"""FIX 4.4 volume 4, appendix D, section B: cancel requests."""

from __future__ import annotations

from tests.trading.matrices.case import ACCEPTED, REJECTED, matrix

ZERO_FILLED = ("B.1.a", "Cancel request issued for a zero-filled order")
PART_FILLED = ("B.1.b", "Cancel request issued for a part-filled order; executions occur while it is active")
TOO_LATE = ("B.1.c", "Cancel request issued for an order that becomes filled before it can be accepted")
UNACKNOWLEDGED = ("B.1.d", "Cancel request issued for an order that has not yet been acknowledged")
CROSSING = ("B.1.e", "The same; the acknowledgement and the cancel request cross")
UNKNOWN = ("B.1.f", "Cancel request issued for an unknown order")

ASKED = f"""
    {ACCEPTED}
    cancel                   | PENDING_CANCEL   | CANCEL  | 10000 |     0 | 10000 | -   | FIX: NEW
"""

# The second execution and the request pass each other on the connection.
PASSED = f"""
    {ACCEPTED}
    TRADE A 2000 @ 100       | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
    cancel                   | PENDING_CANCEL   | CANCEL  | 10000 |  2000 |  8000 | 100 | FIX: PARTIALLY_FILLED
    TRADE B 3000 @ 100       | PENDING_CANCEL   | CANCEL  | 10000 |  5000 |  5000 | 100 | FIX: PARTIALLY_FILLED
"""

PASSED_AND_SEEN = f"""
    {PASSED}
    PENDING_CANCEL           | PENDING_CANCEL   | CANCEL  | 10000 |  5000 |  5000 | 100
"""

PASSED_SEEN_AND_FILLED_ON = f"""
    {PASSED_AND_SEEN}
    TRADE C 1000 @ 100       | PENDING_CANCEL   | CANCEL  | 10000 |  6000 |  4000 | 100
"""

CASES = (
    matrix(*ZERO_FILLED, REJECTED, path="rejected"),
    matrix(
        *ZERO_FILLED,
        ASKED,
        """
        CANCEL_REJECTED      | NEW              | -       | 10000 |     0 | 10000 | -
        """,
        path="request rejected at once",
    ),
    matrix(
        *ZERO_FILLED,
        ASKED,
        """
        PENDING_CANCEL       | PENDING_CANCEL   | CANCEL  | 10000 |     0 | 10000 | -
        CANCEL_REJECTED      | NEW              | -       | 10000 |     0 | 10000 | -
        """,
        path="request rejected in the end",
    ),
    matrix(
        *ZERO_FILLED,
        ASKED,
        """
        PENDING_CANCEL       | PENDING_CANCEL   | CANCEL  | 10000 |     0 | 10000 | -
        CANCELED             | CANCELED         | -       | 10000 |     0 |     0 | -
        """,
        path="canceled",
    ),
    matrix(*PART_FILLED, REJECTED, path="rejected"),
    matrix(
        *PART_FILLED,
        PASSED,
        """
        CANCEL_REJECTED      | PARTIALLY_FILLED | -       | 10000 |  5000 |  5000 | 100
        """,
        path="request rejected at once",
    ),
    matrix(
        *PART_FILLED,
        PASSED_SEEN_AND_FILLED_ON,
        """
        CANCEL_REJECTED      | PARTIALLY_FILLED | -       | 10000 |  6000 |  4000 | 100
        """,
        path="request rejected in the end",
    ),
    matrix(
        *PART_FILLED,
        PASSED_SEEN_AND_FILLED_ON,
        """
        CANCELED             | CANCELED         | -       | 10000 |  6000 |     0 | 100
        """,
        path="canceled",
    ),
    matrix(*TOO_LATE, REJECTED, path="rejected"),
    matrix(
        *TOO_LATE,
        PASSED,
        """
        CANCEL_REJECTED      | PARTIALLY_FILLED | -       | 10000 |  5000 |  5000 | 100
        """,
        path="request rejected at once",
    ),
    matrix(
        *TOO_LATE,
        PASSED_AND_SEEN,
        """
        TRADE C 5000 @ 100   | PENDING_CANCEL   | CANCEL  | 10000 | 10000 |     0 | 100
        CANCEL_REJECTED      | FILLED           | -       | 10000 | 10000 |     0 | 100
        """,
        path="filled",
    ),
    matrix(
        *UNACKNOWLEDGED,
        """
        place 10000          | CREATED          | -       | 10000 |     0 | 10000 | -
        cancel               | PENDING_CANCEL   | CANCEL  | 10000 |     0 | 10000 | -
        PENDING_CANCEL       | PENDING_CANCEL   | CANCEL  | 10000 |     0 | 10000 | -
        CANCELED             | CANCELED         | -       | 10000 |     0 |     0 | -
        """,
    ),
    matrix(
        *CROSSING,
        """
        place 10000          | CREATED          | -       | 10000 |     0 | 10000 | -
        cancel               | PENDING_CANCEL   | CANCEL  | 10000 |     0 | 10000 | -
        NEW                  | PENDING_CANCEL   | CANCEL  | 10000 |     0 | 10000 | -   | FIX: NEW
        PENDING_CANCEL       | PENDING_CANCEL   | CANCEL  | 10000 |     0 | 10000 | -
        CANCELED             | CANCELED         | -       | 10000 |     0 |     0 | -
        """,
    ),
    matrix(*UNKNOWN, "cancel -> unknown-order"),
)
