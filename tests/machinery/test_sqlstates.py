"""What the server can say of a statement, and what the caller is told: appendix A of PostgreSQL's manual, each code."""

from __future__ import annotations

import asyncpg
import pytest

from foldbook.errors import SessionRefused, StoreUnavailable
from foldbook.eventstore.problems import explain
from foldbook.postgres.sqlstates import UNREACHABLE, answer

AGAIN = """
08000 08001 08003 08004 08006 08007 08P01
0A000/InvalidCachedStatementError
25006 25P03 25P04 26000 28000 28P01 3D000
40000 40001 40002 40003 40P01 42P05
53000 53100 53200 53300 53400 55006 55P03
57000 57014 57P01 57P02 57P03 57P04 57P05
58000 58030 58P01 58P02 58P03 72000
"""
NOT_OURS = "3F000 42501 42883 42P01 42703 42704"
CONTENT = "22021 22P05"
"""Everything else is a defect: 500, with the code and the database's message."""

CLASSES = [
    found
    for found in vars(asyncpg.exceptions).values()
    if isinstance(found, type) and issubclass(found, asyncpg.PostgresError) and found.sqlstate is not None
]
"""Without warnings and notices, which are not raised."""


def code_of(kind: type[asyncpg.PostgresError]) -> str:
    return f"{kind.sqlstate}/{kind.__name__}" if kind.sqlstate == "0A000" else str(kind.sqlstate)


def test_every_class_of_the_appendix_is_here() -> None:
    assert len(CLASSES) > 230
    assert {*AGAIN.split(), *NOT_OURS.split(), *CONTENT.split()} <= {code_of(kind) for kind in CLASSES}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.sqlstate} {kind.__name__}")
def test_it_is_told(kind: type[asyncpg.PostgresError]) -> None:
    error = kind("the database says why")
    code = code_of(kind)
    told = explain(error)
    status = told.kind.status
    assert isinstance(error, UNREACHABLE) == (code in AGAIN.split())
    if code in AGAIN.split() or code in NOT_OURS.split():
        assert status == 503
        assert isinstance(answer(error), StoreUnavailable)
        assert isinstance(answer(error), SessionRefused) == (code in ("26000", "42P05"))
        assert "doctor" in told.detail or code not in NOT_OURS.split()
    elif code in CONTENT.split():
        assert (status, told.code) == (422, "invalid-command")
    else:
        assert (status, told.code) == (500, "database-error")
    assert "the database says why" in told.detail
    assert code[:5] in told.detail
