"""What the benchmark does when something is missing or the machine cannot keep up."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import Any

import pytest

from bench import throughput
from bench.bus_load import BusLoad, Driver
from bench.peer_axon import AxonUnavailable, build
from bench.rounds import QUICK, Stage
from bench.table import Slice, Verdict
from foldbook.errors import Overloaded
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.memory_store import MemoryStore
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import OpenAccount


class Steady:
    def run(self, seconds: float) -> Slice:
        return Slice(count=100, seconds=seconds)


def _without_java(_stage: Stage) -> Steady:
    raise AxonUnavailable("java not found on this machine")


def test_without_java_and_maven_there_is_no_program_to_compare_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    with pytest.raises(AxonUnavailable, match="java and mvn not found"):
        build()


def test_a_peer_that_is_missing_leaves_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    makers: dict[str, Any] = dict.fromkeys(throughput._MAKERS, lambda _stage: Steady())
    monkeypatch.setattr(throughput, "_MAKERS", {**makers, throughput.AXON: _without_java})
    place: Any = None
    by_axon, by_pgbench, *_ = throughput.measure_throughput(Stage(place, QUICK, ExitStack()), {"axon", "bus"})
    assert by_axon.verdict is Verdict.NOT_MEASURED
    assert by_axon.detail == "not measured: java not found on this machine"
    assert by_pgbench.value == 1.0


async def test_a_paced_load_that_is_too_much_ends_and_says_so() -> None:
    class Full(CommandBus):
        """Takes what opens accounts and nothing else."""

        def submit(self, command: Any, **options: Any) -> Any:
            if not isinstance(command, OpenAccount):
                raise Overloaded("10,000 commands are waiting already")
            return super().submit(command, **options)

    bus = Full(MemoryStore(), ORDER_BOOK)
    await bus.start()
    turn = await Driver(bus, BusLoad(dsn="", seconds=60, rate=1_000)).run()
    await bus.stop()
    assert turn.is_refused and turn.count == 0 and turn.seconds < 30
