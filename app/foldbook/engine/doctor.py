"""What ``foldbook doctor`` reports: enough to help somebody remotely, and no secrets."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import psycopg

from foldbook.brokers.port import LEASE_PREFIX
from foldbook.config import Settings, unknown_variables
from foldbook.engine.database import connect, log_facts
from foldbook.engine.lock import running_on
from foldbook.messaging.relay import RELAY
from foldbook.postgres.binaries import DISTRIBUTION
from foldbook.postgres.roles import ENGINE, NOT_SEPARATED, may_take_on
from foldbook.resources import ROOT

Report = dict[str, dict[str, Any]]

_PROJECTIONS = "select name, shard, state, lag, skipped, error from eventstore.projection_status()"
_LEASES = "select name, holder, is_held, status from eventstore.lease_status(%s)"
_RELAY_LAG = "select sum(h.last_position - eventstore.checkpoint(h.shard, %s))::bigint from eventstore.heads() h"


def examine(settings: Settings) -> Report:
    """Facts by section. ``database.reachable`` decides the exit code."""
    database, projections, gateways, relay = _of_database(settings)
    return {
        "program": {
            "foldbook": metadata.version("foldbook"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "embedded postgres": metadata.version(DISTRIBUTION),
            "sql and migrations": str(ROOT),
        },
        "settings": settings.describe() | {"unknown (misspelt?)": ", ".join(unknown_variables())},
        "engine": _engine(settings),
        "database": database,
        "projections": projections,
        "gateways": gateways,
        "relay": relay,
    }


def _engine(settings: Settings) -> dict[str, Any]:
    holder = running_on(settings.data_dir)
    return {"running": False} if holder is None else {"running": True, "pid": holder["pid"], "url": holder["url"]}


def _of_database(settings: Settings) -> tuple[dict[str, Any], dict[str, str], dict[str, str], dict[str, str]]:
    try:
        with connect(settings) as connection:
            server = {"reachable": True, "server": connection.info.parameter_status("server_version")}
            facts = log_facts(connection)
            if facts is None:
                return server | {"migrated": False}, {}, {}, {}
            roles = "separated" if may_take_on(connection, ENGINE) else NOT_SEPARATED
            told = server | {"migrated": True} | facts._asdict() | {"roles": roles}
            return told, _projections(connection), _gateways(settings, connection), _relay(settings, connection)
    except psycopg.OperationalError as error:
        return {"reachable": False, "error": str(error).strip()}, {}, {}, {}


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
        (lag,) = connection.execute(_RELAY_LAG, (RELAY,)).fetchone() or (0,)
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
        parts.append(f"stopped at position {error['position']}: {error['message']} ({error['sqlstate']})")
    return ", ".join(parts)
