"""FIX 4.4 volume 4, appendix D, section D: replaces one after the other (D.1), or before the last is answered (D.2).

In FIX each request and each answer carries a ClOrdID. Here a request is answered in order: the oldest outstanding one
of its kind, or, when a report states the terms of a later one, all up to that.
"""

from __future__ import annotations

from tests.trading.matrices.case import PART_FILLED, REJECTED, matrix

BOTH_ACCEPTED = ("D.1.a", "One replace request is accepted, then another one is accepted too")
REJECTED_AT_ONCE = ("D.1.b", "One replace request is rejected before the order is pending; then another is accepted")
REJECTED_LATER = ("D.1.c", "One replace request is rejected after the order is pending; then another is accepted")
SEQUENTIALLY = ("D.2.a", "One replace request right after another; the broker processes them sequentially")
PENDING_FIRST = ("D.2.b", "One replace request right after another; the broker confirms both before it replaces")
BOTH_REJECTED = ("D.2.c", "One replace request right after another; both are rejected")
SECOND_REJECTED = ("D.2.d", "One replace request right after another; the second is rejected as the first is pending")

ASKED = f"""
    {PART_FILLED}
    replace 8000             | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100 | FIX: PARTIALLY_FILLED
"""

REJECTED_ASKED_AGAIN = f"""
    {ASKED}
    PENDING_REPLACE          | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
    TRADE B 500 @ 100        | PENDING_REPLACE  | REPLACE | 10000 |  1500 |  8500 | 100
    REPLACE_REJECTED         | PARTIALLY_FILLED | -       | 10000 |  1500 |  8500 | 100
    TRADE C 2000 @ 100       | PARTIALLY_FILLED | -       | 10000 |  3500 |  6500 | 100
    replace 6000             | PENDING_REPLACE  | REPLACE | 10000 |  3500 |  6500 | 100 | FIX: PARTIALLY_FILLED
    PENDING_REPLACE          | PENDING_REPLACE  | REPLACE | 10000 |  3500 |  6500 | 100
"""

ASKED_TWICE = f"""
    {ASKED}
    replace 7000             | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100 | FIX: PARTIALLY_FILLED
"""

CASES = (
    matrix(*BOTH_ACCEPTED, REJECTED, path="rejected"),
    matrix(
        *BOTH_ACCEPTED,
        ASKED,
        """
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        TRADE B 500 @ 100    | PENDING_REPLACE  | REPLACE | 10000 |  1500 |  8500 | 100
        REPLACED             | PARTIALLY_FILLED | -       |  8000 |  1500 |  6500 | 100
        TRADE C 2000 @ 100   | PARTIALLY_FILLED | -       |  8000 |  3500 |  4500 | 100
        replace 6000         | PENDING_REPLACE  | REPLACE |  8000 |  3500 |  4500 | 100 | FIX: PARTIALLY_FILLED
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE |  8000 |  3500 |  4500 | 100
        TRADE D 500 @ 100    | PENDING_REPLACE  | REPLACE |  8000 |  4000 |  4000 | 100
        REPLACED             | PARTIALLY_FILLED | -       |  6000 |  4000 |  2000 | 100
        TRADE E 2000 @ 100   | FILLED           | -       |  6000 |  6000 |     0 | 100
        """,
    ),
    matrix(*REJECTED_AT_ONCE, REJECTED, path="rejected"),
    matrix(
        *REJECTED_AT_ONCE,
        ASKED,
        """
        REPLACE_REJECTED     | PARTIALLY_FILLED | -       | 10000 |  1000 |  9000 | 100
        TRADE B 500 @ 100    | PARTIALLY_FILLED | -       | 10000 |  1500 |  8500 | 100
        TRADE C 2000 @ 100   | PARTIALLY_FILLED | -       | 10000 |  3500 |  6500 | 100
        replace 6000         | PENDING_REPLACE  | REPLACE | 10000 |  3500 |  6500 | 100 | FIX: PARTIALLY_FILLED
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |  3500 |  6500 | 100
        REPLACED             | PARTIALLY_FILLED | -       |  6000 |  3500 |  2500 | 100
        TRADE D 1500 @ 100   | PARTIALLY_FILLED | -       |  6000 |  5000 |  1000 | 100
        """,
    ),
    matrix(*REJECTED_LATER, REJECTED, path="rejected"),
    matrix(
        *REJECTED_LATER,
        REJECTED_ASKED_AGAIN,
        """
        REPLACE_REJECTED     | PARTIALLY_FILLED | -       | 10000 |  3500 |  6500 | 100
        """,
        path="the second is rejected too",
    ),
    matrix(
        *REJECTED_LATER,
        REJECTED_ASKED_AGAIN,
        """
        REPLACED             | PARTIALLY_FILLED | -       |  6000 |  3500 |  2500 | 100
        TRADE D 1500 @ 100   | PARTIALLY_FILLED | -       |  6000 |  5000 |  1000 | 100
        """,
        path="replaced",
    ),
    matrix(
        *SEQUENTIALLY,
        ASKED_TWICE,
        """
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        REPLACED             | PENDING_REPLACE  | REPLACE |  8000 |  1000 |  7000 | 100 | FIX: PARTIALLY_FILLED
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE |  8000 |  1000 |  7000 | 100
        REPLACED             | PARTIALLY_FILLED | -       |  7000 |  1000 |  6000 | 100
        TRADE B 6000 @ 100   | FILLED           | -       |  7000 |  7000 |     0 | 100
        """,
    ),
    matrix(
        *PENDING_FIRST,
        ASKED_TWICE,
        """
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100 | FIX: 8000, 7000 leave already
        REPLACED             | PENDING_REPLACE  | REPLACE |  8000 |  1000 |  7000 | 100
        REPLACED             | PARTIALLY_FILLED | -       |  7000 |  1000 |  6000 | 100
        TRADE B 6000 @ 100   | FILLED           | -       |  7000 |  7000 |     0 | 100
        """,
    ),
    matrix(
        *PENDING_FIRST,
        ASKED_TWICE,
        """
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        REPLACED 7000        | PARTIALLY_FILLED | -       |  7000 |  1000 |  6000 | 100
        TRADE B 6000 @ 100   | FILLED           | -       |  7000 |  7000 |     0 | 100
        """,
        path="one report answers both",
    ),
    matrix(
        *BOTH_REJECTED,
        ASKED_TWICE,
        """
        REPLACE_REJECTED     | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100 | FIX: PARTIALLY_FILLED
        REPLACE_REJECTED     | PARTIALLY_FILLED | -       | 10000 |  1000 |  9000 | 100
        TRADE B 9000 @ 100   | FILLED           | -       | 10000 | 10000 |     0 | 100
        """,
    ),
    matrix(
        *SECOND_REJECTED,
        ASKED_TWICE,
        """
        PENDING_REPLACE      | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        REPLACE_REJECTED     | PENDING_REPLACE  | REPLACE | 10000 |  1000 |  9000 | 100
        REPLACED 8000        | PARTIALLY_FILLED | -       |  8000 |  1000 |  7000 | 100
        TRADE B 2000 @ 100   | PARTIALLY_FILLED | -       |  8000 |  3000 |  5000 | 100
        """,
    ),
)
