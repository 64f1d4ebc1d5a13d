"""Contestants take turns, in short rounds, so that all of them meet the same machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from bench.arena import Arena, tell
from bench.table import Slice


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything. ``slice_s`` is the length of one turn in seconds, ``..._s`` of other things likewise.

    ``backtest_jobs``: of a sweep, for each core.
    """

    rounds: int
    slice_s: float
    snapshot_s: float
    rebuild_events: int
    row_by_row_events: int
    latency_s: float
    audit_events: int
    audit_small_commits: int
    account_events: int
    small_rounds_log: int
    small_rounds: int
    short_log: int
    long_log: int
    memory_commands: int
    memory_accounts: int
    backtest_ticks: int
    backtest_orders: int
    backtest_bars: int
    backtest_jobs: int
    backtest_memory_ticks: int
    brokers_s: float
    brokers_accounts: int
    streams_s: float
    relay_events: int


FULL = Sizes(
    rounds=5,
    slice_s=2,
    snapshot_s=30,
    rebuild_events=1_000_000,
    row_by_row_events=20_000,
    latency_s=12,
    audit_events=1_000_000,
    audit_small_commits=250_000,
    account_events=1_000_000,
    small_rounds_log=100_000,
    small_rounds=300,
    short_log=100_000,
    long_log=3_000_000,
    memory_commands=1_000_000,
    memory_accounts=10_000,
    backtest_ticks=2_000_000,
    backtest_orders=20_000,
    backtest_bars=20_000,
    backtest_jobs=4,
    backtest_memory_ticks=10_000_000,
    brokers_s=15,
    brokers_accounts=1_000,
    streams_s=8,
    relay_events=100_000,
)
QUICK = Sizes(
    rounds=2,
    slice_s=1,
    snapshot_s=10,
    rebuild_events=50_000,
    row_by_row_events=5_000,
    latency_s=3,
    audit_events=50_000,
    audit_small_commits=10_000,
    account_events=20_000,
    small_rounds_log=20_000,
    small_rounds=50,
    short_log=20_000,
    long_log=100_000,
    memory_commands=20_000,
    memory_accounts=1_000,
    backtest_ticks=100_000,
    backtest_orders=2_000,
    backtest_bars=2_000,
    backtest_jobs=2,
    backtest_memory_ticks=200_000,
    brokers_s=2,
    brokers_accounts=50,
    streams_s=2,
    relay_events=10_000,
)


class Contestant(Protocol):
    """Something that can be run for a while."""

    def run(self, seconds: float) -> Slice: ...


@dataclass
class Stage:
    """What every measurement gets: the server, the sizes, what to clean up, and where to record results."""

    place: Arena
    sizes: Sizes
    cleanup: ExitStack
    slices: dict[str, list[Slice]] = field(default_factory=dict)

    def take_turns(
        self, contestants: Mapping[str, Contestant], *, rounds: int | None = None, slice_s: float | None = None
    ) -> dict[str, list[Slice]]:
        """Each contestant once in every round. Returns the slices of each, one a round."""
        turns: dict[str, list[Slice]] = {name: [] for name in contestants}
        for number in range(rounds or self.sizes.rounds):
            for name, contestant in contestants.items():
                turn = contestant.run(slice_s or self.sizes.slice_s)
                turns[name].append(turn)
                tell(f"round {number + 1}, {name}: {turn.rate:,.0f}/s")
        self.slices.update(turns)
        return turns
