"""FIX 4.4 volume 4, appendix D, section H: orders that live for days.

DayOrderQty and DayCumQty are not kept: a fill has its time. CumQty is the sum of the fills, so a stock split (H.1.b) is
reported as its effect on them: each fill is corrected, then the order is restated.
"""

from __future__ import annotations

from tests.trading.matrices.case import ACCEPTED, matrix

RENEWED = ("H.1.a", "GTC order part-filled, restated (renewed) and part-filled the following day")
SPLIT = ("H.1.b", "GTC order with a part fill, a 2:1 stock split, then a part fill and a fill the following day")
CANCELED = ("H.1.c", "GTC order part-filled, restated (renewed) and canceled the following day")
REPLACED = ("H.1.d", "GTC order part-filled, restated (renewed), then a replace request to increase the quantity")

FIRST_DAY = f"""
    {ACCEPTED}
    TRADE A 2000 @ 100       | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
    DONE_FOR_DAY             | DONE_FOR_DAY     | -       | 10000 |  2000 |  8000 | 100
"""

SECOND_DAY = f"""
    {FIRST_DAY}
    RESTATED                 | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
"""

CANCEL_ASKED = f"""
    {SECOND_DAY}
    cancel                   | PENDING_CANCEL   | CANCEL  | 10000 |  2000 |  8000 | 100 | FIX: PARTIALLY_FILLED
"""

REPLACE_ASKED = f"""
    {SECOND_DAY}
    replace 15000            | PENDING_REPLACE  | REPLACE | 10000 |  2000 |  8000 | 100 | FIX: PARTIALLY_FILLED
"""

REPLACE_ASKED_AND_FILLED_ON = f"""
    {REPLACE_ASKED}
    PENDING_REPLACE          | PENDING_REPLACE  | REPLACE | 10000 |  2000 |  8000 | 100
    TRADE B 1000 @ 100       | PENDING_REPLACE  | REPLACE | 10000 |  3000 |  7000 | 100
"""

CASES = (
    matrix(
        *RENEWED,
        SECOND_DAY,
        """
        TRADE B 1000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  3000 |  7000 | 100
        """,
    ),
    matrix(
        *RENEWED,
        ACCEPTED,
        """
        TRADE A 2000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
        TRADE B 1000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  3000 |  7000 | 100
        """,
        path="both reports are optional",
    ),
    matrix(
        *SPLIT,
        FIRST_DAY,
        """
        TRADE_CORRECT B of A 4000 @ 50 | DONE_FOR_DAY     | - | 10000 |  4000 |  6000 | 50 | FIX: told by RESTATED
        RESTATED 20000                 | PARTIALLY_FILLED | - | 20000 |  4000 | 16000 | 50
        TRADE C 5000 @ 50              | PARTIALLY_FILLED | - | 20000 |  9000 | 11000 | 50
        TRADE D 11000 @ 50             | FILLED           | - | 20000 | 20000 |     0 | 50
        """,
    ),
    matrix(
        *CANCELED,
        CANCEL_ASKED,
        """
        CANCEL_REJECTED      | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
        """,
        path="request rejected at once",
    ),
    matrix(
        *CANCELED,
        CANCEL_ASKED,
        """
        PENDING_CANCEL       | PENDING_CANCEL   | CANCEL  | 10000 |  2000 |  8000 | 100
        CANCEL_REJECTED      | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
        """,
        path="request rejected in the end",
    ),
    matrix(
        *CANCELED,
        CANCEL_ASKED,
        """
        PENDING_CANCEL       | PENDING_CANCEL   | CANCEL  | 10000 |  2000 |  8000 | 100
        CANCELED             | CANCELED         | -       | 10000 |  2000 |     0 | 100
        """,
        path="canceled",
    ),
    matrix(
        *REPLACED,
        REPLACE_ASKED,
        """
        REPLACE_REJECTED     | PARTIALLY_FILLED | -       | 10000 |  2000 |  8000 | 100
        """,
        path="request rejected at once",
    ),
    matrix(
        *REPLACED,
        REPLACE_ASKED_AND_FILLED_ON,
        """
        REPLACE_REJECTED     | PARTIALLY_FILLED | -       | 10000 |  3000 |  7000 | 100
        """,
        path="request rejected in the end",
    ),
    matrix(
        *REPLACED,
        REPLACE_ASKED_AND_FILLED_ON,
        """
        REPLACED             | PARTIALLY_FILLED | -       | 15000 |  3000 | 12000 | 100
        """,
        path="replaced",
    ),
)
