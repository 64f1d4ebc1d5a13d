"""Statements that call SQL functions by name."""

from __future__ import annotations

import pytest

from foldbook.postgres.calls import call


def test_a_call_is_a_statement_with_numbered_arguments() -> None:
    assert call("trading.query_order", 3) == "select * from trading.query_order($1, $2, $3)"
    assert call("eventstore.now", 0) == "select * from eventstore.now()"
    assert call("trading.query_order", 3) is call("trading.query_order", 3)


@pytest.mark.parametrize(
    "name",
    ["", "query_order", "trading.", ".f", "a.b.c", "Trading.f", "a.b; drop table c", "a.b\n", 'a."b"', "a.b(1)", "a.é"],
)
def test_nothing_but_a_name_is_put_into_a_statement(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of an SQL function"):
        call(name, 1)
