"""What the appendix leaves open and its rules decide: the precedence of statuses, expiry, and reports that cross.

The precedence, the highest first: PENDING_CANCEL, PENDING_REPLACE, DONE_FOR_DAY, FILLED, CANCELED or EXPIRED,
SUSPENDED, PARTIALLY_FILLED, NEW (FIX 4.4 volume 4, appendix D, as far as its table goes).
"""

from __future__ import annotations

from tests.trading.matrices.case import ACCEPTED, PART_FILLED, matrix

CASES = (
    matrix(
        "X.1",
        "An order is submitted, pending new, and new",
        """
        place 10000            | CREATED          | -       | 10000 |     0 | 10000 | -
        PENDING_NEW            | PENDING_NEW      | -       | 10000 |     0 | 10000 | -
        NEW                    | NEW              | -       | 10000 |     0 | 10000 | -
        PENDING_NEW -> nothing | NEW              | -       | 10000 |     0 | 10000 | -
        """,
    ),
    matrix(
        "X.2",
        "A fill overtakes the acknowledgement",
        """
        place 10000            | CREATED          | -       | 10000 |     0 | 10000 | -
        TRADE A 1000 @ 100     | PARTIALLY_FILLED | -       | 10000 |  1000 |  9000 | 100
        NEW -> nothing         | PARTIALLY_FILLED | -       | 10000 |  1000 |  9000 | 100
        """,
    ),
    matrix(
        "X.3",
        "A cancel request overtakes a replace that is pending, and is carried out",
        PART_FILLED,
        """
        replace 8000           | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        cancel                 | PENDING_CANCEL   | CANCEL  | 10000 |  1000 |  9000 | 100
        PENDING_REPLACE        | PENDING_CANCEL   | CANCEL  | 10000 |  1000 |  9000 | 100
        REPLACED               | PENDING_CANCEL   | CANCEL  |  8000 |  1000 |  7000 | 100
        CANCELED               | CANCELED         | -       |  8000 |  1000 |     0 | 100
        """,
        path="replaced, then canceled",
    ),
    matrix(
        "X.3",
        "A cancel request overtakes a replace that is pending, and is rejected",
        PART_FILLED,
        """
        replace 8000           | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        cancel                 | PENDING_CANCEL   | CANCEL  | 10000 |  1000 |  9000 | 100
        CANCEL_REJECTED        | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        REPLACED               | PARTIALLY_FILLED | -       |  8000 |  1000 |  7000 | 100
        """,
        path="cancel rejected, then replaced",
    ),
    matrix(
        "X.4",
        "An order fills while a replace for more is pending, and works on when it is accepted",
        PART_FILLED,
        """
        replace 12000          | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        TRADE B 9000 @ 100     | PENDING_REPLACE  | REPLACE | 10000 | 10000 |     0 | 100
        REPLACED               | PARTIALLY_FILLED | -       | 12000 | 10000 |  2000 | 100
        """,
    ),
    matrix(
        "X.5",
        "An order is canceled although it fills while the request is pending: CANCELED stands",
        PART_FILLED,
        """
        cancel                 | PENDING_CANCEL   | CANCEL  | 10000 |  1000 |  9000 | 100
        CANCELED               | CANCELED         | -       | 10000 |  1000 |     0 | 100
        TRADE B 500 @ 100      | CANCELED         | -       | 10000 |  1500 |     0 | 100
        CANCEL_REJECTED -> nothing | CANCELED     | -       | 10000 |  1500 |     0 | 100
        """,
    ),
    matrix(
        "X.6",
        "A day order expires, and a fill of before is told late",
        """
        place 10000 DAY        | CREATED          | -       | 10000 |     0 | 10000 | -
        NEW                    | NEW              | -       | 10000 |     0 | 10000 | -
        TRADE A 1000 @ 100     | PARTIALLY_FILLED | -       | 10000 |  1000 |  9000 | 100
        EXPIRED                | EXPIRED          | -       | 10000 |  1000 |     0 | 100
        TRADE B 500 @ 103      | EXPIRED          | -       | 10000 |  1500 |     0 | 101
        EXPIRED -> nothing     | EXPIRED          | -       | 10000 |  1500 |     0 | 101
        """,
    ),
    matrix(
        "X.7",
        "A pending request takes precedence over done for day, and that over filled",
        PART_FILLED,
        """
        DONE_FOR_DAY           | DONE_FOR_DAY     | -       | 10000 |  1000 |  9000 | 100
        TRADE B 9000 @ 100     | DONE_FOR_DAY     | -       | 10000 | 10000 |     0 | 100
        TRADE_CANCEL C of B    | DONE_FOR_DAY     | -       | 10000 |  1000 |  9000 | 100
        cancel                 | PENDING_CANCEL   | CANCEL  | 10000 |  1000 |  9000 | 100
        CANCEL_REJECTED        | DONE_FOR_DAY     | -       | 10000 |  1000 |  9000 | 100
        """,
    ),
    matrix(
        "X.8",
        "A suspended order fills: filled takes precedence, part-filled does not",
        ACCEPTED,
        """
        SUSPENDED              | SUSPENDED        | -       | 10000 |     0 | 10000 | -
        TRADE A 1000 @ 100     | SUSPENDED        | -       | 10000 |  1000 |  9000 | 100
        TRADE B 9000 @ 100     | FILLED           | -       | 10000 | 10000 |     0 | 100
        """,
    ),
    matrix(
        "X.9",
        "A busted fill opens a filled order again, and a bust again says nothing new",
        ACCEPTED,
        """
        TRADE A 10000 @ 100    | FILLED           | -       | 10000 | 10000 |     0 | 100
        TRADE_CANCEL B of A    | NEW              | -       | 10000 |     0 | 10000 | -
        TRADE_CANCEL B of A -> nothing | NEW      | -       | 10000 |     0 | 10000 | -
        TRADE C 10000 @ 101    | FILLED           | -       | 10000 | 10000 |     0 | 101
        """,
    ),
    matrix(
        "X.10",
        "An overfill is a fact: nothing is left, and nothing is cut off",
        PART_FILLED,
        """
        TRADE B 9500 @ 100     | FILLED           | -       | 10000 | 10500 |     0 | 100
        TRADE_CORRECT C of B 9000 | FILLED        | -       | 10000 | 10000 |     0 | 100
        """,
    ),
    matrix(
        "X.11",
        "A request about an order that is closed is refused, and every report that comes twice says nothing",
        PART_FILLED,
        """
        TRADE A 1000 @ 100 -> nothing | PARTIALLY_FILLED | - | 10000 |  1000 |  9000 | 100
        cancel                 | PENDING_CANCEL   | CANCEL  | 10000 |  1000 |  9000 | 100
        cancel -> nothing      | PENDING_CANCEL   | CANCEL  | 10000 |  1000 |  9000 | 100
        CANCELED               | CANCELED         | -       | 10000 |  1000 |     0 | 100
        CANCELED -> nothing    | CANCELED         | -       | 10000 |  1000 |     0 | 100
        cancel -> order-closed | CANCELED         | -       | 10000 |  1000 |     0 | 100
        replace 12000 -> order-closed | CANCELED  | -       | 10000 |  1000 |     0 | 100
        place 10000 -> nothing | CANCELED         | -       | 10000 |  1000 |     0 | 100
        """,
    ),
)
