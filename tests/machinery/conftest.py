"""An engine for a test, and a folder."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machinery.engine import Engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine that is not started yet; its folder lies in one that only its maker may enter."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    engine = Engine(private / "data")
    yield engine
    if engine.process is not None and engine.process.poll() is None:
        engine.stop(signal.SIGTERM)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike ``tmp_path``."""
    folder = Path(tempfile.mkdtemp(prefix="foldbook-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
