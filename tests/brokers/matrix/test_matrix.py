"""A part of the matrix, in which each step, each fault and each request occurs. All of it is in ``make soak``."""

from __future__ import annotations

import pytest

from tests.brokers.matrix.cells import RULES, Cell, Rules, try_cell
from tests.brokers.matrix.matrix import chosen
from tests.brokers.matrix.stand import standing


@pytest.mark.parametrize("rules", RULES, ids=str)
async def test_nothing_is_lost_and_nothing_doubled(database: str, rules: Rules) -> None:
    async with standing(database, *rules.options) as stand:
        for cell in chosen(rules):
            await try_cell(stand, cell)
