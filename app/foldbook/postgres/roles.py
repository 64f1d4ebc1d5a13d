"""Who connects, and with which rights.

The owner migrates. The engine runs as ``ENGINE``, which writes the log through ``append`` only. An audit runs as
``AUDITOR``, which changes nothing (``sql/security``). The embedded server has a login for each. Elsewhere the login of
``DATABASE_URL`` is a member of the roles, and each connection takes on the role that it needs. If that login may not
create the roles and nobody else has, the engine runs as the login itself, and says so: ``NOT_SEPARATED``.
"""

from __future__ import annotations

import logging

import psycopg

from foldbook.postgres.blocking import Connection, connect
from foldbook.postgres.urls import with_setting

OWNER = "foldbook"
ENGINE = "foldbook_engine"
AUDITOR = "foldbook_auditor"

GRANT = (
    f"have a superuser run `create role {ENGINE}; create role {AUDITOR}; grant {ENGINE}, {AUDITOR} to <login>;`, then "
    "run `foldbook migrate`"
)
NOT_SEPARATED = f"not separated: engine and auditors run as the login that owns the log; {GRANT}"

# The roles may have been created after the last migration, which would have granted them what they need.
_MAY_TAKE_ON = """
select coalesce(bool_and(n.nspowner = to_regrole(%s) and pg_has_role(to_regrole(%s), 'member')), false)
from pg_namespace n
where n.nspname = 'read'
"""

_OWNS = "select pg_has_role(n.nspowner, 'usage') from pg_namespace n where n.nspname = 'eventstore'"

logger = logging.getLogger(__name__)


def as_role(url: str, role: str) -> str:
    """The URL of a database, for sessions that run as ``role``."""
    return with_setting(url, "role", role)


def as_role_if_separated(url: str, role: str) -> str:
    """Like :func:`as_role`; but if the login may not take on the role, the unchanged URL, with a warning if it is the
    owner's.

    Asks the database. If it can't be reached, the result names the role, so that a later connection does not have more
    rights than it should. Raises ``SessionRefused`` if the database does not give the session that is needed.
    """
    try:
        with connect(url) as connection:
            if may_take_on(connection, role):
                return as_role(url, role)
            if not _may_migrate(connection):
                return url
    except psycopg.OperationalError:
        return as_role(url, role)
    logger.warning("roles: %s", NOT_SEPARATED)
    return url


def may_take_on(connection: Connection, role: str) -> bool:
    """Whether the roles are separate in this database, and its login may take on ``role``."""
    row = connection.execute(_MAY_TAKE_ON, [ENGINE, role]).fetchone()
    return row is not None and bool(row[0])


def may_migrate(url: str) -> bool:
    """Whether the login owns the log, or there is none yet. The engine may have a login of its own, which does not.
    Raises ``psycopg.OperationalError``."""
    with connect(url) as connection:
        return _may_migrate(connection)


def _may_migrate(connection: Connection) -> bool:
    row = connection.execute(_OWNS).fetchone()
    return row is None or bool(row[0])
