"""The command line, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 120


def foldbook(*arguments: str, cwd: Path | str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, with these environment variables besides those of the tests."""
    return subprocess.run(
        [sys.executable, "-m", "foldbook.cli", *arguments],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
