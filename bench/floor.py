"""The floor: pgbench, one INSERT of one such event per transaction, prepared, on a table like ``eventstore.events``.

It has the log's columns and indexes and none of its promises: no idempotency, no gapless order, no hash, no NOTIFY, no
decision. Its rate is what this PostgreSQL on this disk can do with single-row transactions.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

from bench.arena import SQL, Arena, apply_sql
from bench.table import Slice
from foldbook.postgres.binaries import client_program

_DONE = re.compile(r"number of transactions actually processed: (\d+)")
_FAILED = re.compile(r"number of failed transactions: (\d+)")
_RATE = re.compile(r"tps = ([\d.]+) \(without initial connection time\)")


@dataclass
class Floor:
    """pgbench with so many clients."""

    dsn: str
    clients: int

    def run(self, seconds: float) -> Slice:
        threads = min(self.clients, os.cpu_count() or 1)
        done = subprocess.run(
            [
                client_program("pgbench"),
                *("--no-vacuum", "--protocol=prepared", f"--file={SQL / 'floor.pgbench'}"),
                *(f"--client={self.clients}", f"--jobs={threads}", f"--time={max(1, round(seconds))}"),
                self.dsn,
            ],
            capture_output=True,
            text=True,
        )
        said = done.stdout + done.stderr
        processed, failed, rate = _DONE.search(said), _FAILED.search(said), _RATE.search(said)
        if done.returncode != 0 or processed is None or rate is None or (failed and failed[1] != "0"):
            raise RuntimeError(f"pgbench failed: {said}")
        return Slice(count=int(processed[1]), seconds=int(processed[1]) / float(rate[1]))


def prepare_floor(place: Arena) -> str:
    """The DSN of a database with the floor's table."""
    dsn = place.create_database()
    apply_sql(dsn, "floor")
    return dsn
