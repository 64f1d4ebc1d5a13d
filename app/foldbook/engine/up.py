"""``foldbook up``: everything that runs on one machine, which starts, recovers and stops together.

PostgreSQL, the projector, the API; and for simulated accounts the venue, the gateway, and market data for the venue.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psycopg

from foldbook.config import Settings, key_in_file
from foldbook.engine.address import check_address, check_venue_address
from foldbook.engine.console import tell
from foldbook.engine.database import require_log
from foldbook.engine.keys import ensure_operator_key
from foldbook.engine.lock import lock
from foldbook.engine.parts import Child, Database, Part
from foldbook.engine.privileges import Handover, give, hand_over, may_read, why_not
from foldbook.engine.supervisor import READY_TIMEOUT_S, STOP_SIGNALS, Supervisor
from foldbook.engine.welcome import welcome
from foldbook.errors import StoreUnavailable
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import NOT_SEPARATED, may_migrate


class Stopped(BaseException):
    """A signal asked this process to stop."""


def up(settings: Settings) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP; then stop everything and return. Raises what ``running`` raises."""
    with contextlib.suppress(Stopped), running(settings) as (supervisor, _):
        print(welcome(settings), flush=True)
        supervisor.watch()


@contextlib.contextmanager
def running(settings: Settings, *before: Part) -> Iterator[tuple[Supervisor, int]]:
    """Everything, started and ready, ``before`` first: its supervisor, and the lock that its parts share. At the end
    all of it has stopped. From its beginning, SIGINT, SIGTERM and SIGHUP raise ``Stopped``.

    Raises ``AlreadyRunning``, ``AddressError``, ``SupervisorError``, and what the embedded server and the migrations
    raise.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    with lock(settings.data_dir, settings.url) as lock_fd:
        check_address(settings)
        if _starts_venue(settings):
            check_venue_address(settings)
        with Supervisor() as supervisor:
            for part in before:
                supervisor.start(part)
            if settings.is_embedded:
                supervisor.start(Database(EmbeddedPostgres(settings.data_dir)))
            _migrate(settings)
            if settings.access == "keys" and asyncio.run(ensure_operator_key(settings)):
                tell(f"made an operator's key: {settings.key_file}")
            handover = _hand_over(settings)
            supervisor.start(Child("the projector", ("projections", "run"), lock_fd, handover))
            supervisor.start(Child("the API", ("serve",), lock_fd, handover))
            for part in (*_of_brokers(settings, lock_fd, handover), *_of_messaging(settings, lock_fd, handover)):
                supervisor.start(part)
            supervisor.wait_until(lambda: _is_ready(settings))
            yield supervisor, lock_fd


def _migrate(settings: Settings) -> None:
    """As the owner. With a login of the engine's own in DATABASE_URL, somebody else has done that."""
    try:
        is_owner = may_migrate(settings.owner_dsn)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the database can't be reached: {str(error).strip()}") from error
    if not is_owner:
        require_log(settings)
    elif not migrate(settings.owner_dsn, settings.shards):
        tell(f"roles: {NOT_SEPARATED}")


def _starts_venue(settings: Settings) -> bool:
    return "simulated" in settings.broker_kinds and settings.venue_url is None


def _hand_over(settings: Settings) -> Handover | None:
    """The user that the other parts run as, if that is not this one."""
    handover = hand_over(settings)
    if handover is not None:
        give(settings.data_dir / "venue", handover.user)
    elif reason := why_not(settings):
        tell(f"every part runs as root: {reason}")
    return handover


def _of_brokers(settings: Settings, lock_fd: int, handover: Handover | None) -> Iterator[Child]:
    """The venue, the gateway, and what feeds the venue."""
    if _starts_venue(settings):
        folder = str((settings.data_dir if handover is None else handover.data_dir) / "venue")
        venue = ("venue", "--port", str(settings.port_of_venue), "--data-dir", folder)
        yield Child("the venue", venue, lock_fd, handover)
    if settings.broker_kinds:
        yield Child("the gateway", ("gateway",), lock_fd, handover, has_credentials=True)
    if _starts_venue(settings) and settings.market != "none":
        feed = ("market", "run", settings.market, "--loop", "--venue", settings.venue_address)
        yield Child("the market data", feed, lock_fd, _for_market(settings.market, handover))


def _for_market(source: str, handover: Handover | None) -> Handover | None:
    """Whoever may read the file feeds it."""
    path = Path(source if Path(source).exists() else source.partition(":")[0])
    if handover is None or not path.is_absolute() or not path.exists() or may_read(handover.user, path):
        return handover
    tell(f"the market data is read as root: user {handover.user.name} may not read {path}")
    return None


def _of_messaging(settings: Settings, lock_fd: int, handover: Handover | None) -> Iterator[Child]:
    """What joins this engine with others over RabbitMQ: events out, commands in, and the venue's market data out."""
    if settings.amqp_url is None:
        return
    yield Child("the relay", ("relay",), lock_fd, handover)
    yield Child("the intake", ("intake",), lock_fd, handover)
    if "simulated" in settings.broker_kinds:
        published = ("market", "run", "venue", "--to", "amqp", "--no-prices", "--venue", settings.venue_address)
        yield Child("the market data for RabbitMQ", published, lock_fd, handover)


def _is_ready(settings: Settings) -> bool:
    """The API takes commands, and every gateway has begun to work."""
    if not _answers(f"{settings.url}/health/ready"):
        return False
    told = _get(f"{settings.url}/admin/gateways", key_in_file(settings))
    states = {each["broker"]: each["state"] for each in json.loads(told)["gateways"]} if told is not None else {}
    return all(states.get(kind) in ("working", "idle", "disconnected") for kind in settings.broker_kinds)


def _answers(url: str) -> bool:
    return _get(url) is not None


def _get(url: str, key: str | None = None) -> bytes | None:
    """What a GET returns; None if that is not a 200. The request ignores any proxy that the environment names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={} if key is None else {"Authorization": f"Bearer {key}"})  # noqa: S310
    try:
        with opener.open(request, timeout=READY_TIMEOUT_S) as response:
            body: bytes = response.read()
            return body if response.status == 200 else None
    except OSError:
        return None


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
