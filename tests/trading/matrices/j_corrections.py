"""FIX 4.4 volume 4, appendix D, section J: executions that are taken back or corrected; the ExecIDs are its own."""

from __future__ import annotations

from tests.trading.matrices.case import ACCEPTED, REJECTED, matrix

FILLED = ("J.1.a", "Filled order, followed by correction and cancellation of executions")
CANCELED = ("J.1.b", "A canceled order followed by a busted execution and a new execution")
OVER_DAYS = ("J.1.c", "GTC order part-filled, renewed and part-filled the next day; both quantities corrected")

CASES = (
    matrix(*FILLED, REJECTED, path="rejected"),
    matrix(
        *FILLED,
        ACCEPTED,
        """
        TRADE C 1000 @ 100             | PARTIALLY_FILLED | -       | 10000 |  1000 | 9000 | 100
        TRADE D 9000 @ 110             | FILLED           | -       | 10000 | 10000 |    0 | 109
        TRADE_CANCEL E of C            | PARTIALLY_FILLED | -       | 10000 |  9000 | 1000 | 110
        TRADE_CORRECT F of D 9000 @ 100 | PARTIALLY_FILLED | -      | 10000 |  9000 | 1000 | 100
        TRADE G 1000 @ 120             | FILLED           | -       | 10000 | 10000 |    0 | 102
        TRADE_CORRECT H of F 9000 @ 120 | FILLED          | -       | 10000 | 10000 |    0 | 120
        replace 12000                  | PENDING_REPLACE  | REPLACE | 10000 | 10000 |    0 | 120 | FIX: FILLED
        PENDING_REPLACE                | PENDING_REPLACE  | REPLACE | 10000 | 10000 |    0 | 120
        REPLACED                       | PARTIALLY_FILLED | -       | 12000 | 10000 | 2000 | 120
        TRADE_CORRECT K of H 9500 @ 120 | PARTIALLY_FILLED | -      | 12000 | 10500 | 1500 | 120
        """,
    ),
    matrix(
        *CANCELED,
        ACCEPTED,
        """
        TRADE B 5000 @ 50              | PARTIALLY_FILLED | -       | 10000 |  5000 | 5000 | 50
        cancel                         | PENDING_CANCEL   | CANCEL  | 10000 |  5000 | 5000 | 50 | FIX: PARTIALLY_FILLED
        PENDING_CANCEL                 | PENDING_CANCEL   | CANCEL  | 10000 |  5000 | 5000 | 50
        CANCELED                       | CANCELED         | -       | 10000 |  5000 |    0 | 50
        TRADE_CANCEL E of B            | CANCELED         | -       | 10000 |     0 |    0 | -
        TRADE F 4000 @ 51              | CANCELED         | -       | 10000 |  4000 |    0 | 51
        """,
    ),
    matrix(
        *OVER_DAYS,
        ACCEPTED,
        """
        TRADE B 2000 @ 100             | PARTIALLY_FILLED | -       | 10000 |  2000 | 8000 | 100
        DONE_FOR_DAY                   | DONE_FOR_DAY     | -       | 10000 |  2000 | 8000 | 100
        RESTATED                       | PARTIALLY_FILLED | -       | 10000 |  2000 | 8000 | 100
        TRADE E 1000 @ 100             | PARTIALLY_FILLED | -       | 10000 |  3000 | 7000 | 100
        TRADE_CORRECT F of B 1500      | PARTIALLY_FILLED | -       | 10000 |  2500 | 7500 | 100
        TRADE_CORRECT G of E 500       | PARTIALLY_FILLED | -       | 10000 |  2000 | 8000 | 100
        """,
    ),
)
