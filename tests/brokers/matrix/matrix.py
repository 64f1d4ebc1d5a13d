"""All cells of the matrix, tried on several stands at once, and the table of those that held."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby

from tests.brokers.matrix.cells import FAULTS, Cell, NotCaught, Result, try_cell
from tests.brokers.matrix.stand import Stand, standing
from tests.brokers.matrix.traps import Request, Step

CELLS_OF_A_STAND = 26
Ordeal = Callable[[Stand, Cell], Awaitable[Result]]

TRIES_MAX = 4
"""How often a cell is tried until the gateway comes to the step under its lease."""


class Matrix:
    """What was found. ``failures``: by cell, what did not hold."""

    def __init__(self) -> None:
        self.held: dict[Cell, Result] = {}
        self.failures: dict[Cell, str] = {}

    @property
    def tried(self) -> int:
        return len(self.held) + len(self.failures)

    def summary(self) -> str:
        results = self.held.values()
        doubts, decisions = sum(r.doubts for r in results), sum(r.decisions for r in results)
        late = sum(not result.was_caught for result in results)
        return (
            f"{len(self.held)} of {self.tried} cells held: {doubts} doubts, {decisions} decided by a person; "
            f"in {late} the order was refused before the step"
        )

    def table(self) -> list[tuple[str, ...]]:
        """Steps by faults: how many cells held, of how many. Then requests by faults."""
        return [
            ("", *FAULTS),
            *((step.value, *(self._share(step=step, fault=fault) for fault in FAULTS)) for step in Step),
            *((each.value, *(self._share(request=each, fault=fault) for fault in FAULTS)) for each in Request),
        ]

    def _share(self, **of: str) -> str:
        def concerns(cell: Cell) -> bool:
            return all(getattr(cell, name) == value for name, value in of.items())

        held = sum(map(concerns, self.held))
        return f"{held}/{held + sum(map(concerns, self.failures))}"


async def try_all(
    cells: Iterable[Cell],
    new_database: Callable[[], str],
    *,
    at_once: int,
    goes_on: Callable[[Matrix], bool] = lambda _: True,
    ordeal: Ordeal = try_cell,
) -> Matrix:
    """Each stand has a database, a venue and gateways of its own."""
    matrix = Matrix()
    batches: list[list[Cell]] = []
    for _, group in groupby(cells, key=lambda cell: cell.rules):
        alike = list(group)
        batches += (alike[n : n + CELLS_OF_A_STAND] for n in range(0, len(alike), CELLS_OF_A_STAND))
    random.shuffle(batches)  # There may not be time for all of them.

    async def work() -> None:
        while batches:
            batch = batches.pop(0)
            while batch and goes_on(matrix):
                await _try_batch(matrix, batch, await asyncio.to_thread(new_database), goes_on, ordeal)

    async with asyncio.TaskGroup() as group_of_workers:
        for _ in range(at_once):
            group_of_workers.create_task(work())
    return matrix


async def _try_batch(
    matrix: Matrix, batch: list[Cell], dsn: str, goes_on: Callable[[Matrix], bool], ordeal: Ordeal
) -> None:
    """Until one does not hold: nobody knows what it has left behind."""
    async with standing(dsn, *batch[0].rules.options) as stand:
        while batch and goes_on(matrix):
            cell = batch.pop(0)
            try:
                matrix.held[cell] = await until_caught(stand, cell, ordeal)
            except Exception as error:
                matrix.failures[cell] = "".join(traceback.format_exception(error))
                print(f"{cell}\n{matrix.failures[cell]}", flush=True)
                return


async def until_caught(stand: Stand, cell: Cell, ordeal: Ordeal) -> Result:
    """Raises what did not hold."""
    for _ in range(TRIES_MAX - 1):
        try:
            return await ordeal(stand, cell)
        except NotCaught:
            continue
    return await ordeal(stand, cell)
