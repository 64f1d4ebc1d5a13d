"""``python -m bench --against <checkout>``: this source tree and another one, in turns, on one server.

Each tree runs in its own child processes, with its own package, migrations and SQL, on its own database: the bus with
1, 32 and 256 callers, and the decider with a fill. On a busy machine rates jump from second to second, and CPU time per
command is steadier. So both are shown: the CPU of the Python process (bus and callers) and that of the server (the
writer's backend and the processes around it). With one caller on a slow disk the server's figure is high, because the
start of a backend is spread over few commands.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec
import psycopg

from bench.arena import ROOT, Arena, tell
from bench.rounds import Sizes
from bench.table import Slice

CALLERS = (1, 32, 256)
ENDING_TIMEOUT_S = 10.0

_MIGRATE = "import sys; from {package}.postgres.migrations import migrate; migrate(sys.argv[1], 1)"
_DECIDE = "from bench.deciding import measure_deciding; print(measure_deciding(None)[0].value)"
_BACKENDS = (
    "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
    " and pid <> pg_backend_pid()"
)


@dataclass(frozen=True)
class Turn:
    """CPU in microseconds per command. The server's includes that of the warm-up and the accounts."""

    rate: float
    python_us: float
    server_us: float


@dataclass
class Tree:
    """A checkout: its package is ``foldbook`` below ``app``, or ``app`` at the top of older ones."""

    name: str
    folder: Path
    turns: dict[int, list[Turn]] = field(default_factory=lambda: {callers: [] for callers in CALLERS})
    deciding_us: list[float] = field(default_factory=list)
    dsn: str = ""

    def prepare(self, place: Arena) -> None:
        self.dsn = place.create_empty_database()
        package = "foldbook" if (self.folder / "app" / "foldbook").is_dir() else "app"
        self._python("-c", _MIGRATE.format(package=package), self.dsn)

    def run_bus(self, place: Arena, callers: int, seconds: float) -> None:
        before_us, before = place.cpu_us(), self._commands()
        task = msgspec.json.encode({"dsn": self.dsn, "callers": callers, "seconds": seconds}).decode()
        turn = msgspec.json.decode(self._python("-m", "bench.bus_load", task), type=Slice)
        self._wait_until_alone()  # a backend's time is the server's once it has ended
        server_us = (place.cpu_us() - before_us) / (self._commands() - before)
        assert turn.cpu_share is not None
        self.turns[callers].append(Turn(turn.rate, turn.cpu_share * 1e6 / turn.rate, server_us))

    def run_decider(self) -> None:
        self.deciding_us.append(float(self._python("-c", _DECIDE)))

    def _python(self, *arguments: str) -> bytes:
        """The last line that a child of this tree prints."""
        source = self.folder / "app" if (self.folder / "app" / "foldbook").is_dir() else self.folder
        done = subprocess.run(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if "-c" in arguments else None,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(source)},
            check=True,
        )
        return done.stdout.splitlines()[-1] if done.stdout else b""

    def _commands(self) -> int:
        with psycopg.connect(self.dsn) as connection:
            (count,) = connection.execute("select count(*) from eventstore.commands").fetchone() or (0,)
            return int(count)

    def _wait_until_alone(self) -> None:
        deadline = time.monotonic() + ENDING_TIMEOUT_S
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            while connection.execute(_BACKENDS).fetchone() != (0,):
                if time.monotonic() > deadline:
                    raise RuntimeError("a backend of the bus did not end")
                time.sleep(0.02)


def compare_trees(place: Arena, sizes: Sizes, other: Path) -> str:
    """Markdown: this tree and ``other``, and this ÷ other. Medians; a ratio's range is that of its rounds."""
    this, that = trees = (Tree("this", ROOT), Tree("other", other))
    for tree in trees:
        tree.prepare(place)
    for number in range(sizes.rounds):
        for tree in trees:
            tree.run_decider()
        for callers in CALLERS:
            # Who goes first changes from round to round.
            for tree in trees if number % 2 == 0 else reversed(trees):
                tree.run_bus(place, callers, sizes.slice_s)
                turn = tree.turns[callers][-1]
                tell(
                    f"round {number + 1}, {callers} callers, {tree.name}: {turn.rate:,.0f}/s, CPU us per command: "
                    f"Python {turn.python_us:.0f}, server {turn.server_us:.0f}"
                )
    lines = ["| what | this | other | this ÷ other (rounds) |", "|---|---|---|---|"]
    for callers in CALLERS:
        for what, values in (
            ("commands/s", [[t.rate for t in tree.turns[callers]] for tree in trees]),
            ("Python CPU us/command", [[t.python_us for t in tree.turns[callers]] for tree in trees]),
            ("server CPU us/command", [[t.server_us for t in tree.turns[callers]] for tree in trees]),
        ):
            lines.append(_line(f"bus, {callers} callers, {what}", *values))
    lines.append(_line("decide and evolve a fill, CPU us", this.deciding_us, that.deciding_us))
    return "\n".join(lines)


def _line(what: str, ours: Sequence[float], its: Sequence[float]) -> str:
    ratios = [mine / other for mine, other in zip(ours, its, strict=True)]
    return (
        f"| {what} | {median(ours):,.1f} | {median(its):,.1f} "
        f"| {median(ours) / median(its):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )
