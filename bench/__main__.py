"""``python -m bench``: runs the measurements, prints the table, writes ``bench/results/latest.json``."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bench.arena import arena
from bench.audit import measure_audit
from bench.bus import measure_snapshot
from bench.deciding import measure_deciding
from bench.growth import measure_growth
from bench.latency import measure_latency
from bench.loading import measure_loading
from bench.machine import describe_machine, describe_settings
from bench.memory import measure_memory
from bench.rebuild import measure_rebuild
from bench.rounds import FULL, QUICK, Sizes, Stage, tell
from bench.table import Report, Row, format_table
from bench.throughput import MEASUREMENTS, measure_throughput

LATEST = Path(__file__).resolve().parent / "results" / "latest.json"

OTHERS: dict[str, Callable[[Stage], list[Row]]] = {
    "deciding": measure_deciding,
    "snapshot": measure_snapshot,
    "rebuild": measure_rebuild,
    "latency": measure_latency,
    "audit": measure_audit,
    "loading": measure_loading,
    "growth": measure_growth,
    "memory": measure_memory,
}
ALL = (*MEASUREMENTS, *OTHERS)


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(ALL)}; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option(help="Tiny sizes: shows that it works, not how fast it is.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0.5, help="Length of one turn.")] = None,
) -> None:
    """Measure Foldbook. Only a whole run writes its results."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # what runs is stopped on the way out
    wanted = set(only or ALL)
    if unknown := wanted - set(ALL):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(ALL)}")
    sizes = QUICK if quick else FULL
    if seconds is not None:
        sizes = msgspec.structs.replace(sizes, slice_s=seconds)
    report = run(sizes, wanted)
    print(f"\n{describe(report)}\n\n{format_table(report.rows)}")
    if not quick and wanted == set(ALL):
        LATEST.parent.mkdir(exist_ok=True)
        LATEST.write_bytes(report.to_json())
        tell(f"wrote {LATEST}")


def run(sizes: Sizes, wanted: set[str]) -> Report:
    started, started_at = time.monotonic(), datetime.now(UTC)
    with arena() as place:
        machine, settings = describe_machine(place.folder), describe_settings(place)
        slices: dict[str, list[float]] = {}
        rows: list[Row] = []
        for measure in _chosen(wanted):
            with ExitStack() as cleanup:
                stage = Stage(place, sizes, cleanup)
                rows += measure(stage)
                slices |= {name: [turn.rate for turn in turns] for name, turns in stage.slices.items()}
        describe_settings(place)  # durable to the end
    return Report(
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=time.monotonic() - started,
        machine=machine,
        settings=settings,
        sizes=msgspec.structs.asdict(sizes),
        rows=rows,
        slices=slices,
    )


def _chosen(wanted: set[str]) -> list[Callable[[Stage], list[Row]]]:
    chosen: list[Callable[[Stage], list[Row]]] = []
    if rates := wanted & set(MEASUREMENTS):
        chosen.append(lambda stage: measure_throughput(stage, rates))
    return chosen + [measure for name, measure in OTHERS.items() if name in wanted]


def describe(report: Report) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    settings = ", ".join(f"{name} = {value}" for name, value in report.settings.items())
    return f"machine: {machine}\nPostgreSQL: {settings}\nthe run took {report.seconds:.0f} s"


if __name__ == "__main__":
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(main)
    program()
