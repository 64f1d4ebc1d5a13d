"""FIX 4.4 volume 4, appendix D, section I: orders that are filled at once or not at all. What kills one is CANCELED."""

from __future__ import annotations

from tests.trading.matrices.case import REJECTED, matrix

FILL_OR_KILL = ("I.1.a", "Fill-or-kill order cannot be filled")
IMMEDIATE_OR_CANCEL = ("I.1.b", "Immediate-or-cancel order that cannot be immediately hit")

CASES = (
    matrix(*FILL_OR_KILL, REJECTED, path="rejected"),
    matrix(
        *FILL_OR_KILL,
        """
        place 10000 FOK      | CREATED          | -       | 10000 |     0 | 10000 | -
        NEW                  | NEW              | -       | 10000 |     0 | 10000 | -
        CANCELED             | CANCELED         | -       | 10000 |     0 |     0 | -
        """,
    ),
    matrix(*IMMEDIATE_OR_CANCEL, REJECTED, path="rejected"),
    matrix(
        *IMMEDIATE_OR_CANCEL,
        """
        place 10000 IOC      | CREATED          | -       | 10000 |     0 | 10000 | -
        NEW                  | NEW              | -       | 10000 |     0 | 10000 | -
        TRADE A 1000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  1000 |  9000 | 100
        CANCELED             | CANCELED         | -       | 10000 |  1000 |     0 | 100
        """,
    ),
)
