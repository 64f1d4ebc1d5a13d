"""``foldbook audit verify`` of a long log: computes every hash again, as an auditor, while nothing is written."""

from __future__ import annotations

from dataclasses import dataclass

import uvloop

from bench.arena import COMMIT_SIZE
from bench.clock import Stopwatch
from bench.rounds import Stage
from bench.table import Row, Slice
from bench.targets import VERIFY
from foldbook.audit.verify import verify
from foldbook.postgres.roles import AUDITOR, as_role

ROUNDS_MAX = 2


def measure_audit(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    rows = []
    for events, commit_size in ((sizes.audit_events, COMMIT_SIZE), (sizes.audit_small_commits, 1)):
        dsn = stage.place.filled_log(events, commit_size)
        what = f"audit verify of {events:,} events, {commit_size} in a commit"
        turns = stage.take_turns({what: Audit(dsn)}, rounds=min(ROUNDS_MAX, stage.sizes.rounds))[what]
        stage.place.drop_database(dsn)
        seconds = max(turn.seconds for turn in turns)
        rows.append(VERIFY.row(what, [turn.rate for turn in turns], f"{seconds:.1f} s at most"))
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
