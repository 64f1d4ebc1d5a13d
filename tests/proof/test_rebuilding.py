"""Rebuilt under full write load, read tables equal a fresh fold: three times here, twenty in ``make soak``."""

from __future__ import annotations

from itertools import count

from foldbook.postgres.roles import ENGINE, as_role
from tests.proof.rebuilding import rebuild_under_load


async def test_rebuilds_under_full_write_load_equal_a_fresh_fold(database: str) -> None:
    done = count(1)
    await rebuild_under_load(as_role(database, ENGINE), lambda: next(done) < 3)
