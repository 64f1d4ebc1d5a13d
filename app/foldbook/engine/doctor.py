"""What ``foldbook doctor`` reports: enough to help somebody from afar, and no secrets."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import psycopg

from foldbook.config import Settings, unknown_variables
from foldbook.engine.lock import running_on
from foldbook.postgres.binaries import DISTRIBUTION
from foldbook.postgres.roles import ENGINE, NOT_SEPARATED, may_take_on
from foldbook.resources import ROOT

CONNECT_TIMEOUT_S = 5

Report = dict[str, dict[str, Any]]

_PROJECTIONS = "select name, shard, state, lag, skipped, error from eventstore.projection_status()"
_LOG = """
select
    (select version_num from eventstore.alembic_version) as revision,
    i.log_id::text,
    i.shard_count,
    (select sum(c.last_position)::bigint from generate_series(0, i.shard_count - 1) s, eventstore.head(s) c) as events
from eventstore.log_info i
"""


def examine(settings: Settings) -> Report:
    """Facts by section. ``database.reachable`` decides whether all is well."""
    return {
        "program": {
            "foldbook": metadata.version("foldbook"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "embedded postgres": metadata.version(DISTRIBUTION),
            "sql and migrations": str(ROOT),
        },
        "settings": settings.describe() | {"not known (misspelt?)": ", ".join(unknown_variables())},
        "engine": _engine(settings),
        "database": _database(settings),
        "projections": _projections(settings),
    }


def _engine(settings: Settings) -> dict[str, Any]:
    holder = running_on(settings.data_dir)
    return {"running": False} if holder is None else {"running": True, "pid": holder["pid"], "url": holder["url"]}


def _database(settings: Settings) -> dict[str, Any]:
    try:
        with psycopg.connect(settings.owner_dsn, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            facts: dict[str, Any] = {
                "reachable": True,
                "server": connection.info.parameter_status("server_version"),
            }
            try:
                row = connection.execute(_LOG).fetchone()
            except psycopg.errors.UndefinedTable:
                row = None
            if row is None:
                return facts | {"migrated": False}
            names = ("revision", "log_id", "shard_count", "events")
            roles = "separated" if may_take_on(connection, ENGINE) else NOT_SEPARATED
            return facts | {"migrated": True} | dict(zip(names, row, strict=True)) | {"roles": roles}
    except psycopg.OperationalError as error:
        return {"reachable": False, "error": str(error).strip()}


def _projections(settings: Settings) -> dict[str, str]:
    try:
        with psycopg.connect(settings.owner_dsn, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            rows = connection.execute(_PROJECTIONS).fetchall()
    except psycopg.Error:  # not to be reached, or not migrated: the section above says so
        return {}
    return {f"{name}:{shard}": _health(*facts) for name, shard, *facts in rows}


def _health(state: str, lag: int, skipped: int, error: dict[str, Any] | None) -> str:
    parts = [state, f"{lag} behind"]
    if skipped:
        parts.append(f"{skipped} skipped")
    if error is not None:
        parts.append(f"stopped at position {error['position']}: {error['message']} ({error['sqlstate']})")
    return ", ".join(parts)
