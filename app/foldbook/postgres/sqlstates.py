"""What an error of the server means for whoever asked: PostgreSQL's appendix A, "PostgreSQL Error Codes".

======================  =============================================================================================
again                   a lost, restarting, exhausted or busy server, or one that lets nobody in: 503, and try again
not ours                the database is not as a migration made it, or somebody restricted it: 503, doctor says what
content                 text that no database can store: 422
clock ahead             nobody can say what was recorded up to a time: 409
anything else           a defect, of the program or of the data: 500 with the SQLSTATE and the database's message
======================  =============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import psycopg

from foldbook.errors import DatabaseError, FoldbookError, LogClockAhead, StoreUnavailable, reason_of
from foldbook.postgres.pooling import pooled

UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server that closes between two steps of one call confuses asyncpg
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.ReadOnlySQLTransactionError,  # 25006
    asyncpg.IdleInTransactionSessionTimeoutError,  # 25P03
    asyncpg.TransactionTimeoutError,  # 25P04
    asyncpg.InvalidSQLStatementNameError,  # 26000, and 42P05: a pooler; the next connection is refused with its name
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InvalidCachedStatementError,  # 0A000, after a migration: the next connection prepares anew
    asyncpg.InvalidAuthorizationSpecificationError,  # class 28
    asyncpg.InvalidCatalogNameError,  # 3D000: the database is being restored, say
    asyncpg.TransactionRollbackError,  # class 40
    asyncpg.InsufficientResourcesError,  # class 53
    asyncpg.ObjectInUseError,  # 55006
    asyncpg.LockNotAvailableError,  # 55P03
    asyncpg.OperatorInterventionError,  # class 57
    asyncpg.PostgresSystemError,  # class 58
    asyncpg.SnapshotTooOldError,  # 72000
)
"""What a lost, restarting, exhausted or busy server raises: nothing was wrong with the request."""

NOT_OURS = (
    asyncpg.InvalidSchemaNameError,  # 3F000
    asyncpg.InsufficientPrivilegeError,  # 42501: rights are missing, or a policy hides rows
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
)
"""The database has another shape than a migration of this program gives it."""

CONTENT = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
"""22021 and 22P05: a NUL in a text, say."""

CLOCK_AHEAD = "FB022"
"""What ``eventstore.commit_at`` raises."""

UNREACHABLE_CLASSES = ("08", "28", "3D", "53", "57", "58")
"""Of a migration, which is not tried again: the server is not there, or not usable."""


@contextmanager
def unreachable_as_unavailable() -> Iterator[None]:
    """Raises ``StoreUnavailable`` for everything that asyncpg raises if the database cannot be reached."""
    try:
        yield
    except UNREACHABLE as error:
        raise StoreUnavailable(f"the database cannot be reached: {error}") from error


def raise_if_unavailable(error: asyncpg.PostgresError) -> None:
    """Raises ``StoreUnavailable`` if trying again may help, whoever tries."""
    told = answer(error)
    if isinstance(told, StoreUnavailable):
        raise told from error


def answer(error: Exception) -> FoldbookError:
    """The error that the caller of a statement is told, for one that asyncpg raised."""
    text = reason_of(error)
    sqlstate = getattr(error, "sqlstate", None)
    named = text if sqlstate is None else f"{text} (SQLSTATE {sqlstate})"
    if isinstance(error, (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)):
        return pooled(named)
    if isinstance(error, UNREACHABLE):
        return StoreUnavailable(f"the database cannot take this now: {named}")
    if isinstance(error, NOT_OURS):
        return StoreUnavailable(f"the database is not as a migration made it, `foldbook doctor` says more: {named}")
    if sqlstate == CLOCK_AHEAD:
        return LogClockAhead(f"{error.args[0]}. {getattr(error, 'hint', '')}")
    refused = DatabaseError(f"the database refused a statement: {named}")
    if isinstance(error, CONTENT):
        refused.code = "invalid-command"
    return refused


def answer_to_operator(error: asyncpg.PostgresError | psycopg.Error) -> FoldbookError:
    """The error that somebody at the command line is told, for one that nothing else has foreseen."""
    text, sqlstate = str(error).strip().partition("\n")[0], error.sqlstate
    if sqlstate is None or sqlstate[:2] in UNREACHABLE_CLASSES:
        return StoreUnavailable(f"the database can't be reached: {text}")
    return DatabaseError(f"the database refused a statement: {text} (SQLSTATE {sqlstate})")
