"""Any permutation and repetition of a run's reports ends in the same book."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldbook.trading.commands import BookCommand
from tests.brokers.runs import Run, runs, shuffled
from tests.trading.lives import Life, facts_of


def lived(run: Run, told: Iterable[BookCommand]) -> Life:
    life = Life()
    for command in (*run.asked, *told):
        life.execute(command)
    return life


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_permutation_and_repetition_of_a_runs_reports_ends_in_the_same_book(data: st.DataObject) -> None:
    run = data.draw(runs())
    told = run.commands()
    as_told = facts_of(lived(run, told))
    assert facts_of(lived(run, data.draw(shuffled(told)))) == as_told
