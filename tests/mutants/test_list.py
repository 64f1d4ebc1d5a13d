"""The list of critical lines is about lines and tests that there are. ``make mutants`` breaks them."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from tests.mutants.critical import CRITICAL
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.trying import FAILED, outcomes, run_test
from tests.waiting import block_until


@pytest.mark.parametrize("mutant", CRITICAL, ids=lambda mutant: f"{Path(mutant.path).name}: {mutant.line.strip()}")
def test_the_line_is_there_once_and_the_test_exists(mutant: Mutant) -> None:
    assert mutant.broken != mutant.line
    assert (ROOT / mutant.path).read_text().count(mutant.line) == 1, "it has changed: see what became of it"
    path, _, function = mutant.test_id.partition("::")
    assert re.search(rf"^(?:async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE), mutant.test


def test_a_broken_line_is_broken_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one\ntwo\n")
    text = Mutant("file", "two", "three", "").break_in(tmp_path)
    assert (text, (tmp_path / "file").read_text()) == ("one\ntwo\n", "one\nthree\n")
    for line in ("e", "four"):
        with pytest.raises(ValueError, match="times"):
            Mutant("file", line, "", "").break_in(tmp_path)


def test_what_pytest_says_of_all_parameters() -> None:
    said = "PASSED tests/a.py::test_one[x-1]\nFAILED tests/a.py::test_one[y] - boom\nSKIPPED tests/a.py::test_two\n"
    assert outcomes(said) == {"tests/a.py::test_one": {"PASSED", "FAILED"}, "tests/a.py::test_two": {"SKIPPED"}}


def test_nothing_that_a_test_started_is_left(tmp_path: Path) -> None:
    (tmp_path / "test_leaving.py").write_text(
        "import subprocess\n"
        "def test_it():\n"
        "    left = subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "    open('left', 'w').write(str(left.pid))\n"
        "    assert False\n"
    )
    code, _ = run_test(tmp_path, "test_leaving.py")
    assert code == FAILED
    left = int((tmp_path / "left").read_text())
    block_until(lambda: not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE)
