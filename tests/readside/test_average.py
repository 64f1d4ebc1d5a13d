"""One average: exact, rounded once, half to even, 18 digits; the same in Python and SQL, of orders and of positions.

So are the other quotients: what a unit of an inverse contract costs, and a share of a cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldbook.eventstore.readers.runner import LiveRounds
from foldbook.postgres.connection import connect
from foldbook.trading.position import Position, share
from foldbook.trading.values import ONE, InstrumentKind, average, quotient, unit_cost
from tests.builders import ACCOUNT, open_account, place, trade
from tests.readside.histories import Happening, write
from tests.trading.lives import Life

CASES = [
    # Its digits from the 19th on are 49966: rounded to 21 digits first, to ...678500, it would end in 9.
    ("64250", "2986", "1", "21.517079705291359678"),
    ("602", "6", "1", "100.333333333333333333"),
    ("2", "3", "1", "0.666666666666666667"),
    # Exact ties go to the even digit, whatever the sign.
    ("0.000000000000000001", "2", "1", "0"),
    ("0.000000000000000003", "2", "1", "0.000000000000000002"),
    ("0.000000000000000005", "2", "1", "0.000000000000000002"),
    ("0.000000000000000001", "0.4", "5", "0"),
    ("-0.000000000000000003", "2", "1", "-0.000000000000000002"),
    ("-0.000000000000000005", "-2", "1", "0.000000000000000002"),
    ("0.0000000000000000050000000000000000000000000000000001", "2", "1", "0.000000000000000003"),
    # A short position's cost is negative, and its price is not.
    ("-336", "-3", "1", "112"),
    ("336", "-3", "1", "-112"),
    ("500000", "2", "50", "5000"),
    ("7", "0", "1", "0"),
    ("0", "3", "1", "0"),
    ("99999999999999999999.999999999999999999", "0.000000000000000001", "1", "99999999999999999999999999999999999999"),
]


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


def in_sql(connection: psycopg.Connection[Any], cost: Decimal, quantity: Decimal, multiplier: Decimal) -> str:
    row = connection.execute(
        "select eventstore.plain(trading.average(%s, %s, %s))", [cost, quantity, multiplier]
    ).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(("cost", "quantity", "multiplier", "expected"), CASES)
def test_an_average(
    connection: psycopg.Connection[Any], cost: str, quantity: str, multiplier: str, expected: str
) -> None:
    amounts = Decimal(cost), Decimal(quantity), Decimal(multiplier)
    assert f"{average(*amounts):f}" == expected
    assert in_sql(connection, *amounts) == expected


amounts = st.decimals(min_value=-(10**12), max_value=10**12, places=9)
positive = st.decimals(min_value=Decimal("1e-9"), max_value=10**6, places=9)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cost=amounts, quantity=amounts.filter(bool), multiplier=st.just(ONE) | positive)
def test_any_average_is_the_nearest(
    connection: psycopg.Connection[Any], cost: Decimal, quantity: Decimal, multiplier: Decimal
) -> None:
    found = average(cost, quantity, multiplier)
    exact = Fraction(cost) / (Fraction(quantity) * Fraction(multiplier))
    assert Fraction(found) == Fraction(round(exact * 10**18), 10**18)  # Fraction rounds half to even
    assert in_sql(connection, cost, quantity, multiplier) == f"{found:f}"


def computed(connection: psycopg.Connection[Any], expression: str, *parameters: object) -> Decimal:
    (found,) = one(connection, f"select {expression}", *parameters)
    assert isinstance(found, Decimal)
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dividend=amounts, divisor=amounts.filter(bool), digits=st.sampled_from([0, 1, 18, 36]))
def test_any_quotient_is_the_nearest(
    connection: psycopg.Connection[Any], dividend: Decimal, divisor: Decimal, digits: int
) -> None:
    found = quotient(dividend, divisor, digits)
    exact = Fraction(dividend) / Fraction(divisor)
    assert Fraction(found) == Fraction(round(exact * 10**digits), 10**digits)
    assert computed(connection, "trading.quotient(%s, %s, %s)", dividend, divisor, digits) == found


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(price=amounts, multiplier=st.none() | positive, kind=st.sampled_from(InstrumentKind))
def test_a_unit_costs_the_same(
    connection: psycopg.Connection[Any], price: Decimal, multiplier: Decimal | None, kind: InstrumentKind
) -> None:
    found = unit_cost(price, multiplier, kind)
    assert computed(connection, "trading.unit_cost(%s, %s, %s)", price, multiplier, kind) == found
    if kind is not InstrumentKind.INVERSE:
        assert Fraction(found) == Fraction(price) * Fraction(multiplier or ONE)


@pytest.mark.parametrize(
    ("price", "multiplier", "expected"),
    [
        ("3", "1", "-0.333333333333333333333333333333333333"),
        ("-3", "2", "0.666666666666666666666666666666666667"),
        ("0", "100", "0"),
        ("50000", "100", "-0.002"),
    ],
)
def test_a_unit_of_an_inverse_contract_costs_less_the_higher_the_price(
    connection: psycopg.Connection[Any], price: str, multiplier: str, expected: str
) -> None:
    amounts = Decimal(price), Decimal(multiplier)
    assert unit_cost(*amounts, InstrumentKind.INVERSE) == Decimal(expected)
    assert computed(connection, "trading.unit_cost(%s, %s, 'INVERSE')", *amounts) == Decimal(expected)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amount=amounts, part=amounts, whole=amounts.filter(bool))
def test_a_share_is_cut(connection: psycopg.Connection[Any], amount: Decimal, part: Decimal, whole: Decimal) -> None:
    found = share(amount, part, whole)
    assert Fraction(found) == Fraction(int(Fraction(amount) * Fraction(part) / Fraction(whole) * 10**36), 10**36)
    assert computed(connection, "trading.share(%s, %s, %s)", amount, part, whole) == found


INVERSE = InstrumentKind.INVERSE


@pytest.mark.parametrize(
    ("cost", "quantity", "kind", "expected"),
    [
        ("1000", "5", InstrumentKind.FUTURE, "2"),
        ("-0.01", "5", INVERSE, "50000"),
        ("0.01", "-5", INVERSE, "50000"),
        ("-0.03", "7", INVERSE, "23333.333333333333333333"),
        ("0", "5", INVERSE, "0"),
        ("0", "0", INVERSE, "0"),
    ],
)
def test_the_average_price_of_a_position(
    connection: psycopg.Connection[Any], cost: str, quantity: str, kind: InstrumentKind, expected: str
) -> None:
    position = Position(Decimal(quantity), Decimal(cost), multiplier=Decimal(100), kind=kind)
    assert position.avg_px == Decimal(expected)
    said = position.cost, position.quantity, position.multiplier, kind
    assert computed(connection, "trading.average_price(%s, %s, %s, %s)", *said) == Decimal(expected)


@pytest.mark.parametrize(
    "fills",
    [
        (("1000", "21"), ("1000", "21"), ("986", "22.565922920892494929")),
        (("1", "100"), ("2", "101")),
        (("1", "0.000000000000000001"), ("1", "0.000000000000000002")),
        (("3", "7"), ("4", "11.1"), ("0.000000000000000001", "13")),
    ],
)
async def test_an_order_and_a_position_of_the_same_fills_have_the_same_average(
    database: str, connection: psycopg.Connection[Any], fills: tuple[tuple[str, str], ...]
) -> None:
    life = Life()
    for command in (
        open_account(),
        place(quantity="10000"),
        *(trade(f"e-{number}", qty, px) for number, (qty, px) in enumerate(fills)),
    ):
        life.execute(command)
    write(connection, [Happening(ACCOUNT, type(e).__name__, json.loads(e.payload())) for e in life.events])
    engine = await connect(database)
    for projection in ("orders", "positions"):
        await LiveRounds(projection, 0)(engine)
    await engine.close()
    of_order, of_position, cost = one(
        connection,
        "select trading.order_json(o) ->> 'avg_px', trading.position_json(p, null) ->> 'avg_px', o.cum_cost"
        " from read.orders o cross join read.positions p",
    )
    (as_of,) = one(connection, "select eventstore.plain(avg_px) from audit.position_as_of(%s, 'BTCUSDT')", ACCOUNT)
    order, position = life.book.orders["o-1"], life.book.positions["BTCUSDT"]
    assert of_order == of_position == as_of == f"{position.avg_px:f}" == f"{average(order.cum_cost, order.cum_qty):f}"
    assert cost == order.cum_cost == position.cost


def one(connection: psycopg.Connection[Any], query: str, *parameters: object) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return tuple(row)
