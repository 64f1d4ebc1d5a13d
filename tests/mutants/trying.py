"""Breaks critical lines, one at a time, in copies of the tree, and runs the test that must notice.

Before that, the test runs on the unbroken copy: if it fails there, it shows nothing, and if it is skipped, its mutant
is left out. The checkout itself is never touched.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.mutants.mutant import ROOT, Mutant

TEST_S_MAX = 150
RUN_S_MAX = 600
FAILED, PASSED = 1, 0
"""Exit codes of pytest."""

_IGNORED = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "*.egg-info", "bench")
_OUTCOME = re.compile(r"^(PASSED|FAILED|ERROR|SKIPPED) (tests/[^\[\s]+)", re.MULTILINE)


class Tried(NamedTuple):
    mutant: Mutant
    outcome: str
    """``noticed``, ``left out: ...``, or what is wrong."""

    @property
    def is_bad(self) -> bool:
        return self.outcome != "noticed" and not self.outcome.startswith("left out")


def break_all(
    mutants: Sequence[Mutant], *, at_once: int = 2, goes_on: Callable[[Tried | None], bool] = lambda _: True
) -> list[Tried]:
    """Every mutant that there is time for. ``goes_on`` is told each outcome, and asked before each."""
    with copies(at_once) as free:

        def attempt(mutant: Mutant) -> Tried | None:
            if not goes_on(None):
                return None
            root = free.get()
            try:
                tried = Tried(mutant, _try(mutant, root))
            finally:
                free.put(root)
            goes_on(tried)
            return tried

        with ThreadPoolExecutor(at_once) as threads:
            return [tried for tried in threads.map(attempt, mutants) if tried is not None]


def _try(mutant: Mutant, root: Path) -> str:
    code, said = run_test(root, mutant.test_id)
    sound = outcomes(said).get(mutant.test_id, set())
    if code != PASSED or not sound:
        return f"NO SOUND TEST: pytest ends with {code} without the mutant: {said[-300:]}"
    if "PASSED" not in sound:
        return "left out: the test is skipped here"
    try:
        text = mutant.break_in(root)
    except (OSError, ValueError) as error:
        return f"NO SUCH LINE: {error}"
    try:
        code, said = run_test(root, mutant.test_id, "-x")
    finally:
        (root / mutant.path).write_text(text)
    if code == FAILED:
        return "noticed"
    return "NOT NOTICED" if code == PASSED else f"BROKEN OTHERWISE: pytest ended with {code}: {said[-300:]}"


def outcomes(said: str) -> dict[str, set[str]]:
    """What pytest said of each test, all its parameters together."""
    found: dict[str, set[str]] = {}
    for outcome, test in _OUTCOME.findall(said):
        found.setdefault(test, set()).add(outcome)
    return found


def run_test(root: Path, test: str, *options: str) -> tuple[int, str]:
    """pytest in a copy, with nothing of the checkout in its path. Its exit code, and what it printed.

    A broken line may keep a test from ending what it started; nothing of that is left.
    """
    pytest = subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "-q", "-rA", "--tb=no", "--show-capture=no", "-p", "no:cacheprovider"),
            *(f"--timeout={TEST_S_MAX}", *options, test),
        ],
        cwd=root,
        # Without bytecode: a broken line may be as long as the line, and of the same second.
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join((str(root / "app"), str(root))), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = pytest.communicate(timeout=RUN_S_MAX)
    finally:
        end_session(pytest.pid)
    return pytest.wait(), said


def end_session(leader: int) -> None:
    """Kill every process of the session that the process ``leader`` began."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == leader:
                process.kill()


@contextmanager
def copies(count: int) -> Iterator[queue.Queue[Path]]:
    """So many copies of the tree, to be taken and given back."""
    free: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="foldbook-mutants-") as folder:
        for number in range(count):
            root = Path(folder) / str(number)
            shutil.copytree(ROOT, root, ignore=_IGNORED)
            free.put(root)
        yield free
