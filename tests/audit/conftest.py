"""The ledger, to be looked at or to be broken, and a superuser to break it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from tests.audit.ledger import write_ledger
from tests.conftest import Postgres, name_of


@pytest.fixture(scope="session")
def ledger_template(postgres: Postgres, template_database: str) -> Iterator[str]:
    """The name of a database with the ledger in it. Nobody connects to it."""
    dsn = postgres.create_database(template_database)
    asyncio.run(write_ledger(dsn))
    yield name_of(dsn)
    postgres.drop_database(dsn)


@pytest.fixture(scope="session")
def shared_ledger(postgres: Postgres, ledger_template: str) -> Iterator[str]:
    """The DSN of a database with the ledger in it, for tests that leave no trace."""
    dsn = postgres.create_database(ledger_template)
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def ledger(postgres: Postgres, ledger_template: str) -> Iterator[str]:
    """The DSN of a database of the test's own with the ledger in it."""
    dsn = postgres.create_database(ledger_template)
    yield dsn
    postgres.drop_database(dsn)


def as_superuser(postgres: Postgres, dsn: str) -> str:
    """The same database's DSN, for a superuser."""
    return re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\g<1>/{name_of(dsn)}", postgres.admin_dsn)
