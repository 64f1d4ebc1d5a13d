"""``foldbook up``: PostgreSQL, the projector and the API, which start, recover and stop together."""

from __future__ import annotations

import contextlib
import signal
import urllib.request
from types import FrameType

from foldbook.config import Settings
from foldbook.engine.address import check_address
from foldbook.engine.console import tell
from foldbook.engine.lock import lock
from foldbook.engine.parts import Child, Database
from foldbook.engine.supervisor import READY_TIMEOUT_S, STOP_SIGNALS, Supervisor
from foldbook.engine.welcome import welcome
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import NOT_SEPARATED


class Stopped(BaseException):
    """A signal asked this process to stop."""


def up(settings: Settings) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP; then stop everything and return.

    Raises ``AlreadyRunning``, ``AddressError``, ``SupervisorError``, and what the embedded server and the migrations
    raise.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    with contextlib.suppress(Stopped), lock(settings.data_dir, settings.url) as lock_fd:
        check_address(settings)
        with Supervisor() as supervisor:
            if settings.is_embedded:
                supervisor.start(Database(EmbeddedPostgres(settings.data_dir)))
            if not migrate(settings.owner_dsn, settings.shards):
                tell(f"roles: {NOT_SEPARATED}")
            supervisor.start(Child("the projector", ("projections", "run"), lock_fd))
            supervisor.start(Child("the API", ("serve",), lock_fd))
            supervisor.wait_until(lambda: _answers(f"{settings.url}/health/ready"))
            print(welcome(settings), flush=True)
            supervisor.watch()


def _answers(url: str) -> bool:
    """Whether a GET returns 200. The request ignores any proxy that the environment names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=READY_TIMEOUT_S) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
