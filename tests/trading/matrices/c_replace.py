"""FIX 4.4 volume 4, appendix D, section C: replaces, of the quantity (C.1 more, C.3 less) or not (C.2).

There is no status REPLACED: an order that was replaced is new, part-filled or filled.
"""

from __future__ import annotations

from tests.trading.matrices.case import ACCEPTED, PART_FILLED, REJECTED, matrix

MORE_ZERO_FILLED = ("C.1.a", "Zero-filled order, replace request issued to increase the quantity")
MORE_PART_FILLED = (
    "C.1.b",
    "Part-filled order, replace request to increase the quantity, execution while it is pending",
)
MORE_FILLED = ("C.1.c", "Filled order, followed by a replace request to increase the quantity")
ANOTHER_PRICE = ("C.2.a", "Replace request, not for the quantity, is rejected as a fill has occurred")
LESS_ABOVE = ("C.3.a", "Replace request sent while an execution is reported; it exceeds CumQty; replaced, then filled")
LESS_EQUAL = ("C.3.b", "Replace request sent while an execution is reported; it equals CumQty; the order is filled")
LESS_BELOW = ("C.3.c", "Replace request sent while an execution is reported; it is below CumQty; it becomes CumQty")

ASKED_ZERO_FILLED = f"""
    {ACCEPTED}
    replace 11000            | PENDING_REPLACE  | REPLACE | 10000 |     0 | 10000 | -   | FIX: NEW
"""

ASKED_PART_FILLED = f"""
    {PART_FILLED}
    replace 12000            | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100 | FIX: PARTIALLY_FILLED
"""

ASKED_PART_FILLED_AND_FILLED_ON = f"""
    {ASKED_PART_FILLED}
    PENDING_REPLACE          | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
    TRADE B 100 @ 100        | PENDING_REPLACE  | REPLACE | 10000 |  1100 |  8900 | 100
"""

ASKED_FILLED = f"""
    {ACCEPTED}
    TRADE A 10000 @ 100      | FILLED           | -       | 10000 | 10000 |     0 | 100
    replace 12000            | PENDING_REPLACE  | REPLACE | 10000 | 10000 |     0 | 100 | FIX: FILLED
"""

# The second execution and the request pass each other on the connection.
ASKED_FOR_LESS = f"""
    {PART_FILLED}
    replace 8000             | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100 | FIX: PARTIALLY_FILLED
    TRADE B 500 @ 100        | PENDING_REPLACE  | REPLACE | 10000 |  1500 |  8500 | 100 | FIX: PARTIALLY_FILLED
"""

ASKED_FOR_LESS_AND_FILLED_ON = f"""
    {ASKED_FOR_LESS}
    PENDING_REPLACE          | PENDING_REPLACE  | REPLACE | 10000 |  1500 |  8500 | 100
    TRADE C 100 @ 100        | PENDING_REPLACE  | REPLACE | 10000 |  1600 |  8400 | 100
"""

CASES = (
    matrix(*MORE_ZERO_FILLED, REJECTED, path="rejected"),
    matrix(
        *MORE_ZERO_FILLED,
        ASKED_ZERO_FILLED,
        """
        REPLACE_REJECTED     | NEW              | -       | 10000 |     0 | 10000 | -
        """,
        path="request rejected at once",
    ),
    matrix(
        *MORE_ZERO_FILLED,
        ASKED_ZERO_FILLED,
        """
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |     0 | 10000 | -
        REPLACE_REJECTED     | NEW              | -       | 10000 |     0 | 10000 | -
        """,
        path="request rejected in the end",
    ),
    matrix(
        *MORE_ZERO_FILLED,
        ASKED_ZERO_FILLED,
        """
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |     0 | 10000 | -
        REPLACED             | NEW              | -       | 11000 |     0 | 11000 | -
        TRADE A 1000 @ 100   | PARTIALLY_FILLED | -       | 11000 |  1000 | 10000 | 100
        TRADE B 2000 @ 100   | PARTIALLY_FILLED | -       | 11000 |  3000 |  8000 | 100
        """,
        path="replaced",
    ),
    matrix(*MORE_PART_FILLED, REJECTED, path="rejected"),
    matrix(
        *MORE_PART_FILLED,
        ASKED_PART_FILLED,
        """
        REPLACE_REJECTED     | PARTIALLY_FILLED | -       | 10000 |  1000 |  9000 | 100
        """,
        path="request rejected at once",
    ),
    matrix(
        *MORE_PART_FILLED,
        ASKED_PART_FILLED_AND_FILLED_ON,
        """
        REPLACE_REJECTED     | PARTIALLY_FILLED | -       | 10000 |  1100 |  8900 | 100
        """,
        path="request rejected in the end",
    ),
    matrix(
        *MORE_PART_FILLED,
        ASKED_PART_FILLED_AND_FILLED_ON,
        """
        REPLACED             | PARTIALLY_FILLED | -       | 12000 |  1100 | 10900 | 100
        TRADE C 10900 @ 100  | FILLED           | -       | 12000 | 12000 |     0 | 100
        """,
        path="replaced",
    ),
    matrix(*MORE_FILLED, REJECTED, path="rejected"),
    matrix(
        *MORE_FILLED,
        ASKED_FILLED,
        """
        REPLACE_REJECTED     | FILLED           | -       | 10000 | 10000 |     0 | 100
        """,
        path="request rejected at once",
    ),
    matrix(
        *MORE_FILLED,
        ASKED_FILLED,
        """
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 | 10000 |     0 | 100
        REPLACE_REJECTED     | FILLED           | -       | 10000 | 10000 |     0 | 100
        """,
        path="request rejected in the end",
    ),
    matrix(
        *MORE_FILLED,
        ASKED_FILLED,
        """
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 | 10000 |     0 | 100
        REPLACED             | PARTIALLY_FILLED | -       | 12000 | 10000 |  2000 | 100
        TRADE B 2000 @ 100   | FILLED           | -       | 12000 | 12000 |     0 | 100
        """,
        path="replaced",
    ),
    matrix(*ANOTHER_PRICE, REJECTED, path="rejected"),
    matrix(
        *ANOTHER_PRICE,
        PART_FILLED,
        """
        replace @ 101        | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100 | FIX: PARTIALLY_FILLED
        TRADE B 9000 @ 100   | PENDING_REPLACE  | REPLACE | 10000 | 10000 |     0 | 100 | FIX: FILLED
        REPLACE_REJECTED     | FILLED           | -       | 10000 | 10000 |     0 | 100
        """,
    ),
    matrix(*LESS_ABOVE, REJECTED, path="rejected"),
    matrix(
        *LESS_ABOVE,
        ASKED_FOR_LESS,
        """
        REPLACE_REJECTED     | PARTIALLY_FILLED | -       | 10000 |  1500 |  8500 | 100
        """,
        path="request rejected at once",
    ),
    matrix(
        *LESS_ABOVE,
        ASKED_FOR_LESS_AND_FILLED_ON,
        """
        REPLACE_REJECTED     | PARTIALLY_FILLED | -       | 10000 |  1600 |  8400 | 100
        """,
        path="request rejected in the end",
    ),
    matrix(
        *LESS_ABOVE,
        ASKED_FOR_LESS_AND_FILLED_ON,
        """
        REPLACED             | PARTIALLY_FILLED | -       |  8000 |  1600 |  6400 | 100
        TRADE D 6400 @ 100   | FILLED           | -       |  8000 |  8000 |     0 | 100
        """,
        path="replaced",
    ),
    matrix(*LESS_EQUAL, REJECTED, path="rejected"),
    matrix(
        *LESS_EQUAL,
        ACCEPTED,
        """
        replace 7000         | PENDING_REPLACE  | REPLACE | 10000 |     0 | 10000 | -   | FIX: NEW
        TRADE A 7000 @ 100   | PENDING_REPLACE  | REPLACE | 10000 |  7000 |  3000 | 100 | FIX: PARTIALLY_FILLED
        REPLACED             | FILLED           | -       |  7000 |  7000 |     0 | 100
        """,
    ),
    matrix(*LESS_BELOW, REJECTED, path="rejected"),
    matrix(
        *LESS_BELOW,
        ACCEPTED,
        """
        replace 7000         | PENDING_REPLACE  | REPLACE | 10000 |     0 | 10000 | -   | FIX: NEW
        TRADE A 8000 @ 100   | PENDING_REPLACE  | REPLACE | 10000 |  8000 |  2000 | 100 | FIX: PARTIALLY_FILLED
        REPLACED 8000        | FILLED           | -       |  8000 |  8000 |     0 | 100
        """,
        path="the report states the quantity",
    ),
    matrix(
        *LESS_BELOW,
        ACCEPTED,
        """
        replace 7000         | PENDING_REPLACE  | REPLACE | 10000 |     0 | 10000 | -   | FIX: NEW
        TRADE A 8000 @ 100   | PENDING_REPLACE  | REPLACE | 10000 |  8000 |  2000 | 100 | FIX: PARTIALLY_FILLED
        REPLACED             | FILLED           | -       |  8000 |  8000 |     0 | 100
        """,
        path="the report states nothing",
    ),
)
