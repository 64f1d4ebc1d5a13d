"""``python -m tests.mutants``: break each critical line in a copy of the tree, and see its test fail.

Ends with code 1 if a broken line was not noticed, or if the list is out of date.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tests.mutants.critical import CRITICAL
from tests.mutants.trying import Tried, break_all
from tests.soak import table


def main(
    only: Annotated[str, typer.Option(help="Only those with this in their file, line or test.")] = "",
    at_once: Annotated[int, typer.Option(min=1, max=16)] = 2,
) -> None:
    """Break each critical line, one at a time, and run the test that must notice."""
    chosen = [mutant for mutant in CRITICAL if only in " ".join(mutant)]

    def show(tried: Tried | None) -> bool:
        if tried is not None:
            print(f"{tried.outcome}: {tried.mutant.path}: {tried.mutant.line.strip()}", flush=True)
        return True

    print(f"{len(chosen)} lines to break", flush=True)
    tried = break_all(chosen, at_once=at_once, goes_on=show)
    rows = [
        (t.mutant.path.rpartition("/")[2], t.mutant.line.strip()[:60], t.mutant.test[:90], t.outcome[:60])
        for t in tried
    ]
    print("\n" + table([("file", "line", "test", "outcome"), *rows]))
    sys.exit(any(t.is_bad for t in tried))


if __name__ == "__main__":
    typer.run(main)
