"""Which accounts a pattern means: the same in Python and in SQL."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldbook.access.principal import ANYONE, SEEN_MAX, UNKNOWN, Principal, roles_of
from foldbook.access.roles import EVERY_ACCOUNT, AccountHidden, Forbidden, Role, Unauthenticated, is_pattern, matches
from foldbook.trading.commands import COMMANDS
from tests.conftest import Postgres


@pytest.mark.parametrize(
    ("account", "pattern", "is_one"),
    [
        ("alice/binance/live", "alice/binance/live", True),
        ("alice/binance/live", "alice/*/*", True),
        ("alice/binance/live", "*/*/live", True),
        ("alice/binance/live", "*/*/simulated", False),
        ("alice/binance/live", "ALICE/*/*", False),
        ("alice2/binance/live", "alice/*/*", False),
        ("a.b/binance/live", "a.b/*/*", True),
        ("axb/binance/live", "a.b/*/*", False),
        ("a_b/binance/live", "a_b/*/*", True),
        ("axb/binance/live", "a_b/*/*", False),
        ("alice/binance/live", "al%/*/*", False),
        ("a:b/binance/live", "a:b/*/*", True),
        ("keys", "*/*/*", False),
        ("a/b", "*/*/*", False),
        ("a/b/c/d", "*/*/*", False),
        ("alice/binance/live/x", "alice/binance/live", False),
    ],
)
def test_what_a_pattern_means(account: str, pattern: str, is_one: bool) -> None:
    assert matches(account, pattern) is is_one


@pytest.mark.parametrize("text", ["*/*/*", "a.b/c_d/e-f", "a:1/*/live", "A/*/*", "a" * 64 + "/*/*"])
def test_patterns(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize(
    "text", ["", "*", "*/*", "*/*/*/*", "a*/*/*", "**/*/*", "%/*/*", "/*/*", "a/ /b", "a/b/c\n", "a" * 65 + "/*/*"]
)
def test_no_patterns(text: str) -> None:
    assert not is_pattern(text)


# Few letters, so that texts often match; and those that mean something to LIKE, to a regular expression, or to neither.
SEGMENTS = st.text(st.sampled_from("ab*%_.\\-:'\"\n ü"), max_size=3) | st.sampled_from(["*", "a", "b", "A", "%", "_"])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=5).map("/".join)
PATTERNS = st.lists(SEGMENTS, min_size=3, max_size=3).map("/".join)


@pytest.fixture(scope="module")
def connection(postgres: Postgres, template_database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    dsn = postgres.create_database(template_database)
    with psycopg.connect(dsn, autocommit=True) as connected:
        yield connected
    postgres.drop_database(dsn)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(PATHS, st.lists(PATTERNS, max_size=3)), min_size=1, max_size=30))
def test_python_and_sql_agree(
    connection: psycopg.Connection[tuple[object, ...]], cases: list[tuple[str, list[str]]]
) -> None:
    for account, patterns in cases:
        row = connection.execute("select eventstore.matches(%s, %s::text[])", (account, patterns)).fetchone()
        assert row == (any(matches(account, pattern) for pattern in patterns),), (account, patterns)


def test_no_patterns_mean_everything_to_sql(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    for account in ("keys", "alice/binance/live"):
        assert connection.execute("select eventstore.matches(%s, null)", (account,)).fetchone() == (True,)


# -- principals --------------------------------------------------------------------------------------------------


def principal(*roles: Role, accounts: tuple[str, ...] = ("alice/*/*",)) -> Principal:
    return Principal("00000000000a", "alice", frozenset(roles), accounts)


def test_an_account_that_is_not_seen_does_not_exist_whatever_the_role() -> None:
    trader = principal(Role.TRADER)
    trader.check(frozenset({Role.TRADER}), "alice/binance/live")
    for roles in (frozenset({Role.TRADER}), frozenset({Role.RISK})):
        with pytest.raises(AccountHidden):
            trader.check(roles, "bob/binance/live")
    with pytest.raises(Forbidden, match="operator or risk"):
        trader.check(frozenset({Role.RISK}), "alice/binance/live")
    with pytest.raises(Unauthenticated):
        UNKNOWN.check(frozenset(Role), "alice/binance/live")


def test_who_has_every_account_has_not_everything() -> None:
    reader = principal(Role.READER, accounts=(EVERY_ACCOUNT,))
    assert reader.sees("zoe/kraken/simulated")
    assert not reader.sees("keys"), "who may do what is for auditors"
    assert (reader.sees_all, reader.patterns) == (False, [EVERY_ACCOUNT])
    for role in (Role.AUDITOR, Role.OPERATOR):
        whole = principal(role, accounts=(EVERY_ACCOUNT,))
        assert whole.sees("keys")
        assert (whole.sees_all, whole.patterns) == (True, None)
    assert ANYONE.sees("keys")


def test_what_is_remembered_of_what_was_asked_is_bounded() -> None:
    trader = principal(Role.TRADER)
    for n in range(SEEN_MAX + 10):
        assert trader.sees(f"alice/x/{n}")
        assert not trader.sees(f"bob/x/{n}")
    assert len(trader._seen) <= SEEN_MAX


def test_a_command_without_a_declaration_is_an_operators() -> None:
    for command in COMMANDS:
        if command.declaration is None:
            assert roles_of(command) == frozenset()
        else:
            assert roles_of(command) == {Role(command.declaration.role)}
