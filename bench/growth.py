"""What a long log costs an append: the bus with 256 callers on a long log and on a short one, in turns.

Both are filled by ``sql/fill_log.sql``, hold 10,000 accounts, and are written to on 100 of them. A turn on the short
log begins with a fresh copy, because the log would not stay short. A checkpoint before each turn makes the first
change of every page cost the same on both.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.arena import Arena
from bench.bus import Bus
from bench.rounds import Stage
from bench.table import Row, Slice
from bench.targets import LONG_LOG

ROUNDS_MAX = 4


def measure_growth(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    short_dsn, long_dsn = (stage.place.filled_log(events) for events in (sizes.short_log, sizes.long_log))
    short, long = f"bus 256, {sizes.short_log:,} events", f"bus 256, {sizes.long_log:,} events"
    contestants = {short: OnLog(stage.place, short_dsn, is_copied=True), long: OnLog(stage.place, long_dsn)}
    turns = stage.take_turns(contestants, rounds=min(ROUNDS_MAX, sizes.rounds))
    stage.place.drop_database(long_dsn)
    what = f"cost of an append at {sizes.long_log:,} events ÷ at {sizes.short_log:,}"
    # A cost is the inverse of a rate.
    rates, long_rates = ([turn.rate for turn in turns[name]] for name in (short, long))
    return [LONG_LOG.quotient(what, rates, long_rates, "bus, 256 callers")]


@dataclass
class OnLog:
    """The bus on an existing log."""

    place: Arena
    dsn: str
    is_copied: bool = False

    def run(self, seconds: float) -> Slice:
        dsn = self.place.create_database(template=self.dsn) if self.is_copied else self.dsn
        self.place.checkpoint()
        turn = Bus(dsn, callers=256, account_prefix="trader").run(seconds)
        if self.is_copied:
            self.place.drop_database(dsn)
        return turn
