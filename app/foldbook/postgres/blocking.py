"""Sessions without an event loop, over psycopg: migrations, doctor, and the question for the roles.

They are what :mod:`foldbook.postgres.connection` opens: the same URL, the same settings, the same refusals.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import psycopg

from foldbook.postgres import sessions
from foldbook.postgres.connection import connect as connect_in_loop
from foldbook.postgres.urls import parse

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_SET = sessions.SET.format(names="%s", values="%s").encode()
_LOOK = sessions.LOOK.format(names="%s").encode()


def connect(dsn: str, *, application_name: str | None = None) -> Connection:
    """A session with the pinned settings, in the role that the URL names.

    Raises ``psycopg.Error`` if the database cannot be reached or has no such role,
    :class:`~foldbook.errors.SessionRefused` if it does not give such a session, and ``UrlError``.
    """
    url = parse(dsn)
    arguments = url.for_psycopg()
    if application_name is not None:
        arguments["application_name"] = application_name
    connection = psycopg.connect(**arguments, autocommit=True)  # what a transaction sets ends with its rollback
    try:
        asked = sessions.wanted(url.settings, {}, url.role)
        connection.execute(_SET, asked.to_set)
        row = connection.execute(_LOOK, [asked.to_look_at]).fetchone()
        assert row is not None
        found = sessions.Found(*row)
        if found.backend != connection.info.backend_pid:
            _refuse_pooling(dsn)
        sessions.check(asked, found)
        connection.autocommit = False
    except psycopg.ProgrammingError as error:
        connection.close()
        if error.sqlstate in sessions.LOST_STATEMENT:
            raise sessions.pooled(str(error)) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_pooling(dsn: str) -> None:
    """There is a pooler. A session in an event loop finds out which kind it is."""

    async def find_out() -> None:
        (await connect_in_loop(dsn)).terminate()

    with ThreadPoolExecutor(1) as thread:  # also where a loop runs already
        thread.submit(asyncio.run, find_out()).result()
