"""The same order, placed with Axon Framework 4.13 (Java) and its JDBC engine on the same server, one caller.

``peers/axon`` is an ordinary Axon application set up for speed: an aggregate per account in a cache that never evicts,
so that nothing is read again; Jackson for payloads; a HikariCP pool; the simple command bus, which handles a command
in the caller's thread; prepared statements. Its event has the fields of ours, and both servers' settings are the same:
fsync and synchronous_commit are on, and a warm-up whose commits outnumber the server's fsyncs ends the run. Both sides
connect over the server's Unix socket, and neither runs a projection.

The two do not promise the same. In Axon's favour: it keeps no record of commands and refusals, makes no hash chain and
sends no notification; a command that is sent again is done again, and its positions come from a sequence, which has
gaps. Its process lives through all turns, so that the JIT compiler stays warm, while our bus starts anew in each. In
ours: Axon sends an INSERT and a COMMIT, two round trips, where ``append_one`` is one, and it wraps each event in
metadata that ours does not carry.

Maven builds the program when its sources are newer than what was built. It asks its repository only for what is not on
the machine. Where Java or Maven is missing the row says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from bench.arena import tell
from bench.bus import wal_syncs
from bench.rounds import Stage
from bench.table import Slice

FOLDER = Path(__file__).resolve().parent / "peers" / "axon"
JAR = FOLDER / "target" / "axon-peer-1.jar"
BUILD_TIMEOUT_S = 300.0
ANSWER_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
COUNTED_TIMEOUT_S = 20.0
"""A session that stays connected reports its fsyncs within 10 s."""
WARM_UP_S = 4.0
"""By then the JIT compiler has made the fast version of what a command runs through."""


class AxonUnavailable(Exception):
    """Why there is nothing to compare with, in a few words."""


class Axon:
    """The Java program with so many callers. Raises :class:`AxonUnavailable` if it cannot be built or started."""

    def __init__(self, stage: Stage, callers: int) -> None:
        build()
        self._dsn = stage.place.create_database()
        self._callers = callers
        self._process = subprocess.Popen(
            ["java", "-cp", f"{JAR}:{FOLDER / 'target' / 'lib'}/*", "peer.Main"],  # noqa: S607
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | _environment(self._dsn),
        )
        stage.cleanup.callback(self._stop)
        if self._next_line() != "ready":
            raise AxonUnavailable(f"the Java program ended with code {self._process.wait(STOP_TIMEOUT_S)}")
        self._warm_up(min(WARM_UP_S, 2 * stage.sizes.slice_s))

    def run(self, seconds: float) -> Slice:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._callers} {seconds}\n")
        self._process.stdin.flush()
        count, took = self._next_line(ANSWER_TIMEOUT_S + seconds).split()
        return Slice(count=int(count), seconds=float(took))

    def _warm_up(self, seconds: float) -> None:
        """Run unmeasured, and see that each commit of a single caller was synced."""
        before = wal_syncs(self._dsn)
        turn = self.run(seconds)
        deadline = time.monotonic() + COUNTED_TIMEOUT_S
        while self._callers == 1 and wal_syncs(self._dsn) - before < turn.count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{turn.count} commits of Axon, one after another, were answered with fewer fsyncs")
            time.sleep(0.2)

    def _next_line(self, timeout_s: float = ANSWER_TIMEOUT_S) -> str:
        """What the program says next; nothing once it has ended. It is ended if it takes too long."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(timeout_s, self._process.kill)
        watchdog.start()
        try:
            return self._process.stdout.readline().strip()
        finally:
            watchdog.cancel()

    def _stop(self) -> None:
        try:
            self._process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def build() -> None:
    """Build the program unless what is there is new. Raises :class:`AxonUnavailable` if that cannot be done."""
    if missing := [program for program in ("java", "mvn") if shutil.which(program) is None]:
        raise AxonUnavailable(f"{' and '.join(missing)} not found on this machine")
    sources = [FOLDER / "pom.xml", *FOLDER.glob("src/**/*.java")]
    if JAR.exists() and JAR.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    tell("building Axon's program with Maven")
    said = ""
    for offline in (["--offline"], []):
        try:
            done = subprocess.run(
                ["mvn", "--quiet", "--batch-mode", *offline, "package"],  # noqa: S607
                cwd=FOLDER,
                capture_output=True,
                text=True,
                timeout=BUILD_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise AxonUnavailable(f"Maven did not finish within {BUILD_TIMEOUT_S:.0f} s") from None
        if done.returncode == 0:
            JAR.touch()
            return
        said = next((line for line in done.stdout.splitlines() if "ERROR" in line), f"code {done.returncode}")
    raise AxonUnavailable(f"Maven could not build it: {said[:160]}")


def _environment(dsn: str) -> dict[str, str]:
    """Where the server is, for the JDBC driver: its Unix socket, through a socket factory."""
    server = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    socket = Path(server["host"]) / f".s.PGSQL.{server['port']}"
    factory = "org.newsclub.net.unix.AFUNIXSocketFactory$FactoryArg"
    return {
        "AXON_URL": f"jdbc:postgresql://localhost/{server['dbname']}?socketFactory={factory}&socketFactoryArg={socket}",
        "AXON_USER": server["user"],
        "AXON_PASSWORD": _password(Path(server["passfile"]), server["user"]),
    }


def _password(file: Path, role: str) -> str:
    lines = (line.split(":") for line in file.read_text().splitlines())
    return next(password for *_, user, password in lines if user == role)
