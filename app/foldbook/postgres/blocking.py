"""Sessions without an event loop, over psycopg: migrations, doctor, and the question for the roles.

They are what :mod:`foldbook.postgres.connection` opens: the same URL, the same settings, the same refusals.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias

import psycopg

from foldbook.postgres import sessions
from foldbook.postgres.hosts import reach
from foldbook.postgres.pooling import LOST_STATEMENT, Probe, pooled
from foldbook.postgres.program import WHOSE_CODE, refuse_newer
from foldbook.postgres.urls import DatabaseUrl, parse

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_SET = sessions.SET.format(names="%s", values="%s").encode()
_LOOK = sessions.LOOK.format(names="%s").encode()


def connect(dsn: str, *, application_name: str | None = None) -> Connection:
    """A session with the pinned settings, in the role that the URL names.

    Raises ``psycopg.Error`` if the database cannot be reached or has no such role,
    :class:`~foldbook.errors.SessionRefused` if it does not give such a session, :class:`~foldbook.errors.LogMismatch`
    if a newer program has migrated it, and ``UrlError``.
    """
    url = parse(dsn)
    arguments = url.for_psycopg()
    if application_name is not None:
        arguments["application_name"] = application_name
    connection = psycopg.connect(**arguments, autocommit=True)  # what a transaction sets ends with its rollback
    try:
        _prepare(connection, url)
    except psycopg.Error as error:
        connection.close()
        if error.sqlstate in LOST_STATEMENT:
            raise pooled(error) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: Connection, url: DatabaseUrl) -> None:
    asked = sessions.wanted(url.settings, {}, url.role)
    connection.execute(_SET, asked.to_set)
    found = _look(connection, asked)
    if found.backend != connection.info.backend_pid:
        with ThreadPoolExecutor(1) as thread:  # also where a loop runs already
            found = thread.submit(asyncio.run, _refuse_pooling(connection, asked, url)).result()
    sessions.check(asked, found)
    if found.knows_program:
        refuse_newer(*(connection.execute(WHOSE_CODE).fetchone() or (None,)))
    connection.autocommit = False


def _look(connection: Connection, asked: sessions.Wanted) -> sessions.Found:
    row = connection.execute(_LOOK, [asked.to_look_at]).fetchone()
    assert row is not None
    return sessions.Found(*row)


async def _refuse_pooling(connection: Connection, asked: sessions.Wanted, url: DatabaseUrl) -> sessions.Found:
    host = url.at(connection.info.host, str(connection.info.port))  # the one that psycopg has reached
    other, _ = await reach(host)
    try:
        return await Probe(other, partial(asyncio.to_thread, _look, connection, asked)).run()
    finally:
        other.terminate()
