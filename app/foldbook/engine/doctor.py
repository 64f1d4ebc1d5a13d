"""What ``foldbook doctor`` reports: enough to help somebody remotely, and no secrets."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import psycopg

from foldbook.config import Settings, unknown_variables
from foldbook.engine.database import connect, log_facts
from foldbook.engine.lock import running_on
from foldbook.postgres.binaries import DISTRIBUTION
from foldbook.postgres.roles import ENGINE, NOT_SEPARATED, may_take_on
from foldbook.resources import ROOT

Report = dict[str, dict[str, Any]]

_PROJECTIONS = "select name, shard, state, lag, skipped, error from eventstore.projection_status()"


def examine(settings: Settings) -> Report:
    """Facts by section. ``database.reachable`` decides the exit code."""
    database, projections = _database_and_projections(settings)
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
    }


def _engine(settings: Settings) -> dict[str, Any]:
    holder = running_on(settings.data_dir)
    return {"running": False} if holder is None else {"running": True, "pid": holder["pid"], "url": holder["url"]}


def _database_and_projections(settings: Settings) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with connect(settings) as connection:
            server = {"reachable": True, "server": connection.info.parameter_status("server_version")}
            facts = log_facts(connection)
            if facts is None:
                return server | {"migrated": False}, {}
            roles = "separated" if may_take_on(connection, ENGINE) else NOT_SEPARATED
            return server | {"migrated": True} | facts._asdict() | {"roles": roles}, _projections(connection)
    except psycopg.OperationalError as error:
        return {"reachable": False, "error": str(error).strip()}, {}


def _projections(connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, str]:
    return {f"{name}:{shard}": _health(*facts) for name, shard, *facts in connection.execute(_PROJECTIONS)}


def _health(state: str, lag: int, skipped: int, error: dict[str, Any] | None) -> str:
    parts = [state, f"{lag} behind"]
    if skipped:
        parts.append(f"{skipped} skipped")
    if error is not None:
        parts.append(f"stopped at position {error['position']}: {error['message']} ({error['sqlstate']})")
    return ", ".join(parts)
