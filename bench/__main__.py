"""``python -m bench``: runs the measurements, prints the table, writes ``bench/results/latest.json``."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bench.against import compare_trees
from bench.arena import arena, tell
from bench.audit import measure_audit
from bench.backtest import measure_backtest
from bench.brokers import measure_brokers
from bench.brokers_venue import measure_venue
from bench.bus import measure_snapshot
from bench.deciding import measure_deciding
from bench.growth import measure_growth
from bench.latency import measure_latency
from bench.loading import measure_loading
from bench.machine import describe_machine, describe_settings
from bench.memory import measure_memory
from bench.messaging import measure_messaging
from bench.messaging_intake import measure_intake
from bench.messaging_market import measure_market
from bench.pages import measure_pages
from bench.readme import LATEST
from bench.rebuild import measure_rebuild
from bench.rounds import FULL, QUICK, Sizes, Stage
from bench.small_rounds import measure_small_rounds
from bench.streams import measure_streams
from bench.table import Report, Row, format_table
from bench.throughput import MEASUREMENTS, measure_throughput

OTHERS: dict[str, Callable[[Stage], list[Row]]] = {
    "deciding": measure_deciding,
    "snapshot": measure_snapshot,
    "latency": measure_latency,
    "small-rounds": measure_small_rounds,
    "rebuild": measure_rebuild,
    "pages": measure_pages,
    "loading": measure_loading,
    "audit": measure_audit,
    "growth": measure_growth,
    "memory": measure_memory,
    "backtest": measure_backtest,
    "venue": measure_venue,
    "brokers": measure_brokers,
    "streams": measure_streams,
    "messaging": measure_messaging,
    "intake": measure_intake,
    "market": measure_market,
}
ALL = (*MEASUREMENTS, *OTHERS)


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(ALL)}; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option(help="Tiny sizes: shows that it works, not how fast it is.")] = False,
    size: Annotated[
        list[str] | None,
        typer.Option(help=f"name=number, may be repeated. Sizes: {', '.join(Sizes.__struct_fields__)}."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Another checkout: compares the bus and the decider with its, in turns, and nothing else."),
    ] = None,
) -> None:
    """Measure Foldbook. Only a whole run in full size writes its results (some 15 minutes on two quiet cores)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # what runs is stopped on the way out
    wanted = set(only or ALL)
    if unknown := wanted - set(ALL):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(ALL)}")
    sizes = _sized(QUICK if quick else FULL, size or [])
    if against is not None:
        with arena() as place:
            print(compare_trees(place, sizes, against.resolve()))
        return
    report, failed = run(sizes, wanted)
    print(f"\n{describe(report)}\n\n{format_table(report.rows)}")
    if failed:
        sys.exit(f"failed, nothing is written: {', '.join(failed)}")
    if sizes == FULL and wanted == set(ALL):
        LATEST.write_bytes(report.to_json())
        tell(f"wrote {LATEST}; make README's table from it with python -m bench.readme")


def _sized(sizes: Sizes, changes: list[str]) -> Sizes:
    for name, _, number in (change.partition("=") for change in changes):
        if name not in sizes.__struct_fields__:
            raise typer.BadParameter(f"{name}: there are {', '.join(sizes.__struct_fields__)}")
        kind = type(getattr(sizes, name))
        sizes = msgspec.structs.replace(sizes, **{name: kind(float(number))})
    return sizes


def run(sizes: Sizes, wanted: set[str]) -> tuple[Report, list[str]]:
    """The report, and the parts that failed. A part that fails does not prevent the others from being measured."""
    started, started_at = time.monotonic(), datetime.now(UTC)
    with arena() as place:
        machine, settings = describe_machine(place.folder), describe_settings(place)
        slices: dict[str, list[float]] = {}
        rows: list[Row] = []
        part_seconds: dict[str, float] = {}
        failed: list[str] = []
        for part, measure in _chosen(wanted).items():
            began = time.monotonic()
            with ExitStack() as cleanup:
                stage = Stage(place, sizes, cleanup)
                try:
                    rows += measure(stage)
                except Exception:
                    traceback.print_exc()
                    failed.append(part)
                slices |= {name: [turn.rate for turn in turns] for name, turns in stage.slices.items()}
            part_seconds[part] = time.monotonic() - began
            tell(f"-- {part}: {part_seconds[part]:.0f} s")
        describe_settings(place)  # durable to the end
    report = Report(
        started_at=started_at.isoformat(timespec="seconds"),
        version=metadata.version("foldbook"),
        seconds=time.monotonic() - started,
        part_seconds=part_seconds,
        machine=machine,
        settings=settings,
        sizes=msgspec.structs.asdict(sizes),
        rows=rows,
        slices=slices,
    )
    return report, failed


def _chosen(wanted: set[str]) -> dict[str, Callable[[Stage], list[Row]]]:
    chosen: dict[str, Callable[[Stage], list[Row]]] = {}
    if rates := wanted & set(MEASUREMENTS):
        chosen["rates"] = lambda stage: measure_throughput(stage, rates)
    return chosen | {name: measure for name, measure in OTHERS.items() if name in wanted}


def describe(report: Report) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    settings = ", ".join(f"{name} = {value}" for name, value in report.settings.items())
    return f"machine: {machine}\nPostgreSQL: {settings}\nthe run took {report.seconds:.0f} s"


if __name__ == "__main__":
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(main)
    program()
