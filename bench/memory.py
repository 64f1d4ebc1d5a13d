"""Resident memory of the engine process (``foldbook serve``: bus and API) after very many commands.

The commands come as NDJSON and are the lives of orders (``load.py``): 10,000 orders are open at any time, and most
end filled or canceled.
"""

from __future__ import annotations

from pathlib import Path

import psutil

from bench.arena import run_child, served, tell
from bench.bulk_load import BulkLoad
from bench.rounds import Stage
from bench.table import Row, Slice
from bench.targets import MEMORY

CONNECTIONS = 2


def measure_memory(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    with served(stage.place.create_database(), stage.place.folder) as (process, port):
        engine = psutil.Process(process.pid)
        before = _resident_mib(engine)
        load = BulkLoad(
            port=port,
            connections=CONNECTIONS,
            commands=sizes.memory_commands,
            accounts=sizes.memory_accounts,
        )
        turn = run_child("bench.bulk_load", load, Slice)
        after = _resident_mib(engine)
        peak = peak_mib(process.pid)
    tell(f"memory: {turn.count:,} commands at {turn.rate:,.0f}/s")
    what = f"resident memory after {turn.count:,} commands on {sizes.memory_accounts:,} accounts"
    detail = f"{before:.0f} MiB before, {peak:.0f} at its peak; {turn.rate:,.0f} commands/s"
    return [MEMORY.row(what, [after], detail)]


def _resident_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def peak_mib(pid: int | str = "self") -> float:
    """The resident memory of a process at its peak, without what its parent used before it began."""
    with Path(f"/proc/{pid}/status").open() as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
