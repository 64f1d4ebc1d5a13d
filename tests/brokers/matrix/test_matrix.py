"""A part of the matrix, in which each step, each fault and each request occurs. All of it is in ``make soak``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.brokers.matrix.cells import FAULTS, REQUESTS, RULES, Cell, Rules, all_cells, try_cell
from tests.brokers.matrix.matrix import until_caught
from tests.brokers.matrix.stand import standing
from tests.brokers.matrix.stopping import try_stop
from tests.brokers.matrix.traps import Request, Step

CELLS = 13
"""Each fault once; all cells are in the soak."""


def chosen() -> Iterator[Cell]:
    """Another request and another step for each."""
    pairs = [(rules, request) for rules in RULES for request in REQUESTS[rules.replaces]]
    for n, fault in zip(range(CELLS), FAULTS, strict=True):
        rules, request = pairs[n * 5 % len(pairs)]
        yield Cell(rules, request, list(Step)[n % len(Step)], fault)


def test_the_chosen_cells_have_something_of_everything() -> None:
    cells = list(chosen())
    assert {cell.step for cell in cells} == set(Step)
    assert {cell.fault for cell in cells} == set(FAULTS)
    assert {cell.request for cell in cells} == set(Request)
    assert {cell.rules for cell in cells} == set(RULES)
    of_all = list(all_cells())
    assert set(cells) <= set(of_all)
    assert len(of_all) == len(set(of_all)) == 2 * 6 * len(Step) * len(FAULTS)


@pytest.mark.parametrize("rules", RULES, ids=str)
async def test_nothing_is_lost_and_nothing_doubled(database: str, rules: Rules) -> None:
    async with standing(database, *rules.options) as stand:
        for cell in chosen():
            if cell.rules == rules:
                await until_caught(stand, cell, try_cell)


@pytest.mark.parametrize("deduplicates", [True, False], ids=["dedup", "no-dedup"])
async def test_a_gateway_that_was_stopped_sends_nothing_when_it_goes_on(database: str, deduplicates: bool) -> None:
    rules = Rules(deduplicates)
    requests = REQUESTS[rules.replaces]
    async with standing(database, *rules.options) as stand:
        for n, step in enumerate(Step):
            if n % 2 == deduplicates:
                await until_caught(stand, Cell(rules, requests[n // 2 % 3], step, "none"), try_stop)
