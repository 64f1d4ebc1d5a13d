"""Whatever happens to two engines on one log, in whatever order: a few runs here, many in ``make soak``."""

from __future__ import annotations

from tests.conftest import Postgres
from tests.proof.machine import drive


def test_the_log_and_the_read_tables_hold_whatever_happens(postgres: Postgres, template_database: str) -> None:
    drive(postgres, template_database, runs=5, steps=15)
