"""The same strategy on the same bars with two packages that run backtests: backtesting.py and nautilus_trader.

Neither is a dependency of anything here, and backtesting.py is under the AGPL: each is installed from PyPI into an
environment of its own when it is measured, and a program of ours in ``peers/backtests`` runs there and uses it from
outside. The environments are kept in ``peers/backtests/venvs``. Where one cannot be installed the row says so.

They do not promise the same. Their amounts are floats, or integers of a fixed precision, and they keep no log; ours
are exact, every order goes through the decider, and the whole stream of events is hashed. Our time begins before the
file is opened; theirs begin when the bars are in memory. backtesting.py and ours fill a market order at the next open,
nautilus_trader at the close of the bar.
"""

from __future__ import annotations

import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.arena import tell
from bench.table import Slice

FOLDER = Path(__file__).resolve().parent / "peers" / "backtests"
VENVS = FOLDER / "venvs"
INSTALL_TIMEOUT_S = 600.0
RUN_TIMEOUT_S = 600.0


class PeerUnavailable(Exception):
    """Why there is nothing to compare with, in a few words."""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package from PyPI, and the program that uses it."""

    name: str
    version: str
    program: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


BACKTESTING_PY = Package(name="backtesting", version="0.6.6", program="backtesting_py.py")
NAUTILUS = Package(name="nautilus_trader", version="1.221.0", program="nautilus.py")


@dataclass
class Peer:
    """Runs the program of a package on a file of bars. Raises :class:`PeerUnavailable` if it cannot be installed."""

    package: Package
    bars: Path

    def __post_init__(self) -> None:
        self._python = install(self.package)

    def run(self, _seconds: float) -> Slice:
        done = subprocess.run(
            [self._python, FOLDER / self.package.program, self.bars],
            stdout=subprocess.PIPE,
            check=True,
            timeout=RUN_TIMEOUT_S,
        )
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=Slice)


def install(package: Package) -> Path:
    """The Python of an environment that has the package."""
    folder = VENVS / f"{package.name}-{package.version}"
    python, finished = folder / "bin" / "python", folder / "installed"
    if finished.exists():
        return python
    tell(f"installing {package} into an environment of its own")
    try:
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--no-input", f"{package.name}=={package.version}"],
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise PeerUnavailable(f"pip did not install {package} within {INSTALL_TIMEOUT_S:.0f} s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeerUnavailable(f"no environment for {package}: {error}"[:160]) from error
    if done.returncode != 0:
        said = next((line for line in done.stderr.splitlines() if "ERROR" in line), f"code {done.returncode}")
        raise PeerUnavailable(f"pip could not install {package}: {said[:160]}")
    finished.touch()
    return python
