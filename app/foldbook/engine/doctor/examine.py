"""What ``foldbook doctor`` reports: enough to help somebody remotely, and no secrets."""

from __future__ import annotations

import platform
import stat
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import psycopg

from foldbook.access.commands import AGGREGATE_ID
from foldbook.api.operations.keys import KeyPage
from foldbook.brokers.port import LEASE_PREFIX
from foldbook.config import Settings, unknown_variables
from foldbook.engine.database import connect, log_facts
from foldbook.engine.doctor.checks import CHECKS
from foldbook.engine.doctor.finding import Finding, Patient
from foldbook.engine.keys import IN_FORCE, PAGE, describe
from foldbook.engine.lock import running_on
from foldbook.engine.privileges import parts_run_as
from foldbook.errors import LogMismatch, SessionRefused
from foldbook.eventstore.store import shard_of
from foldbook.messaging.relay import RELAY
from foldbook.postgres.binaries import DISTRIBUTION
from foldbook.postgres.roles import AUDITOR, NOT_SEPARATED, may_take_on
from foldbook.resources import ROOT


class Report(NamedTuple):
    """``sections``: facts by section. ``findings``: what is wrong. ``is_reachable``: the database is."""

    sections: dict[str, dict[str, Any]]
    findings: list[Finding]
    is_reachable: bool

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"findings": [finding._asdict() for finding in self.findings], **self.sections}


_PROJECTIONS = "select name, shard, state, lag, skipped, error from eventstore.projection_status()"
_LEASES = "select name, holder, is_held, status from eventstore.lease_status(%s)"
_SHARDS = "select lag from eventstore.subscription_status(%s)"
_KEYS = "select document from access.query_keys(%s, %s, %s)"


NOT_MIGRATED = Finding(
    "the database has no log of this version", "no process of this version can work with it", "foldbook migrate"
)


def unfit(refused: SessionRefused) -> Finding:
    """The database does not give a session that can be trusted."""
    return Finding(refused.problem, "every process refuses such a session, and no command is taken", mend=refused.mend)


def newer(mismatch: LogMismatch) -> Finding:
    """The database is not for this program."""
    problem, _, mend = mismatch.detail.partition(": ")
    return Finding(problem, "this program does not fit what is there, and every command of it refuses to run", mend)


EXHAUSTED = ("too many clients", "too many connections", "remaining connection slots")
"""What a server says to a login for which it has no connection left."""


def unreachable(why: str) -> Finding:
    """The database, for this reason."""
    mend = "start it (`foldbook up` starts the embedded one), or correct DATABASE_URL"
    if any(words in why for words in EXHAUSTED):
        mend = (
            "end sessions that need no connection (select pid, usename, application_name from pg_stat_activity), as a "
            "superuser, for whom some connections are reserved; limit their login, or raise max_connections"
        )
    return Finding(f"the database cannot be reached: {why}", "no command can be taken, and nothing be asked", mend)


def examine(settings: Settings) -> Report:
    """Everything that can be seen from here."""
    found = _of_database(settings)
    sections: dict[str, dict[str, Any]] = {
        "program": {
            "foldbook": metadata.version("foldbook"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "embedded postgres": metadata.version(DISTRIBUTION),
            "sql and migrations": str(ROOT),
        },
        "settings": settings.describe() | {"unknown (misspelt?)": ", ".join(unknown_variables())},
        "engine": _engine(settings),
        "access": _access(settings) | dict(found.keys),
        "database": found.database,
        "projections": dict(found.projections),
        "gateways": dict(found.gateways),
        "relay": dict(found.relay),
    }
    return Report(sections, list(found.findings), found.database["reachable"])


def _engine(settings: Settings) -> dict[str, Any]:
    """``parts run as``: if this user starts the engine."""
    holder = running_on(settings.data_dir)
    state = {"running": False} if holder is None else {"running": True, "pid": holder["pid"], "url": holder["url"]}
    return state | {"parts run as": parts_run_as(settings)}


def _access(settings: Settings) -> dict[str, Any]:
    if settings.access == "open":
        mode = f"open: whoever reaches {settings.host} port {settings.port} may do everything, without a key"
    else:
        mode = "keys: every request needs one"
    return {"mode": mode, "key file": f"{settings.key_file}: {_file_of_key(settings.key_file)}"}


def _file_of_key(path: Path) -> str:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return "not there; `foldbook up` makes one"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    mode = stat.S_IMODE(facts.st_mode)
    if not stat.S_ISREG(facts.st_mode):
        return "not a file"
    return f"there, mode {mode:04o}" + ("" if mode & 0o077 == 0 else ": others may read it; chmod 600, and revoke it")


class _Found(NamedTuple):
    """What the database says. Without a database, nothing of all others."""

    database: dict[str, Any]
    keys: Mapping[str, Any] = MappingProxyType({})
    projections: Mapping[str, str] = MappingProxyType({})
    gateways: Mapping[str, str] = MappingProxyType({})
    relay: Mapping[str, str] = MappingProxyType({})
    findings: Sequence[Finding] = ()


def _of_database(settings: Settings) -> _Found:
    try:
        with connect(settings) as connection:
            server = {"reachable": True, "server": connection.info.parameter_status("server_version")}
            facts = log_facts(connection)
            if facts is None:
                return _Found(server | {"migrated": False}, findings=[NOT_MIGRATED])
            roles = "separated" if may_take_on(connection, AUDITOR) else NOT_SEPARATED
            told = server | {"migrated": True} | facts._asdict() | {"roles": roles}
            return _Found(
                told,
                _keys(connection, facts.shard_count),
                _projections(connection),
                _gateways(settings, connection),
                _relay(settings, connection),
                [finding for check in CHECKS for finding in check(Patient(settings, connection))],
            )
    except SessionRefused as refused:
        return _Found({"reachable": True, "error": refused.detail}, findings=[unfit(refused)])
    except LogMismatch as mismatch:
        return _Found({"reachable": True, "error": mismatch.detail}, findings=[newer(mismatch)])
    except psycopg.OperationalError as error:
        why = str(error).strip()
        return _Found({"reachable": False, "error": why}, findings=[unreachable(why)])
    except psycopg.Error as error:
        return _Found({"reachable": True, "error": str(error).strip()}, findings=[NOT_MIGRATED])


def _keys(connection: psycopg.Connection[tuple[Any, ...]], shard_count: int) -> dict[str, Any]:
    count = 0
    after: int | None = 0
    while after is not None:
        row = connection.execute(_KEYS, (shard_of(AGGREGATE_ID, shard_count), after, PAGE)).fetchone()
        page = msgspec.convert(row[0] if row else {}, KeyPage, strict=False)
        count += [describe(key) for key in page.keys].count(IN_FORCE)
        after = page.next
    return {"keys in force": count}


def _projections(connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, str]:
    return {f"{name}:{shard}": _health(*facts) for name, shard, *facts in connection.execute(_PROJECTIONS)}


def _gateways(settings: Settings, connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, str]:
    """By kind of broker; those that the settings ask for, and those that there were."""
    told = dict.fromkeys(settings.broker_kinds, "nobody works these accounts: is `foldbook gateway` running?")
    for name, holder, is_held, status in connection.execute(_LEASES, (LEASE_PREFIX,)):
        told[name.removeprefix(LEASE_PREFIX)] = _gateway(holder, is_held, status)
    return told


def _relay(settings: Settings, connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, str]:
    """By name; none, if the settings name no RabbitMQ and there never was a relay."""
    told = {} if settings.amqp_url is None else {RELAY: "nobody relays the log: is `foldbook relay` running?"}
    for name, holder, is_held, status in connection.execute(_LEASES, (RELAY,)):
        lag = sum(lag for (lag,) in connection.execute(_SHARDS, (RELAY,)))
        parts = [status.get("state", "starting") if is_held else f"dead: the last was {holder}", f"{lag} behind"]
        if status.get("unrouted"):
            parts.append(f"{status['unrouted']} events were for no queue")
        if is_held and status.get("error"):
            parts.append(status["error"])
        told[name] = ", ".join(parts)
    return told


def _gateway(holder: str, is_held: bool, status: dict[str, Any]) -> str:
    if not is_held:
        return f"dead: the last was {holder}"
    accounts = f"{status.get('ready', 0)} of {status.get('accounts', 0)} accounts ready"
    parts = [status.get("state", "starting"), accounts, f"{status.get('doubts', 0)} in doubt"]
    parts += [f"position differs: {what}" for what in status.get("mismatched", [])]
    for what in ("problems", "not_worked"):
        parts += [f"{name}: {why}" for name, why in status.get(what, {}).items()]
    parts += [f"open at the broker and closed in the book: {orphan}" for orphan in status.get("orphans", [])]
    return ", ".join(parts)


def _health(state: str, lag: int, skipped: int, error: dict[str, Any] | None) -> str:
    parts = [state, f"{lag} behind"]
    if skipped:
        parts.append(f"{skipped} skipped")
    if error is not None:
        what = "stopped" if error.get("events", 1) == 1 else f"too slow for {error['events']} events"
        parts.append(f"{what} at position {error['position']}: {error['message']} ({error['sqlstate']})")
    return ", ".join(parts)
