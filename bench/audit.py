"""``foldbook audit verify`` of a long log: every hash of it computed anew, as an auditor, while nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import uvloop

from bench.clock import Stopwatch
from bench.growth import COMMIT_SIZE, fill_log
from bench.rounds import Stage, tell
from bench.table import Row, Slice
from foldbook.audit.verify import verify
from foldbook.postgres.roles import AUDITOR, as_role

ROUNDS_MAX = 3
MUST_S = 20.0


def measure_audit(stage: Stage) -> list[Row]:
    events = stage.sizes.audit_events
    rows = []
    for commit_size in (COMMIT_SIZE, 1):
        tell(f"filling a log of {events:,} events, {commit_size} in a commit")
        dsn = fill_log(stage.place, events, commit_size)
        what = f"audit verify of {events:,} events, {commit_size} in a commit"
        turns = stage.take_turns({what: Audit(dsn)}, rounds=min(ROUNDS_MAX, stage.sizes.rounds))[what]
        stage.place.drop_database(dsn)
        seconds = [turn.seconds for turn in turns]
        rows.append(
            Row(
                what=what,
                value=median(seconds),
                low=min(seconds),
                high=max(seconds),
                unit="s",
                must=MUST_S,
                is_cost=True,
                detail=f"{events / median(seconds):,.0f} events/s",
            )
        )
    return rows


@dataclass
class Audit:
    """The product's verification, once a turn, whatever its length."""

    dsn: str

    def run(self, seconds: float) -> Slice:
        stopwatch = Stopwatch()
        report = uvloop.run(verify(as_role(self.dsn, AUDITOR)))
        if not report.ok:
            raise RuntimeError(f"the log that was filled is not sound: {report}")
        return stopwatch.slice(report.shards[0].events)
