"""How a command runs and ends: as a coroutine that completes, or as a process that runs until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import typer

from foldbook.cli.exits import Exit
from foldbook.cli.terminal import warn_of_unknown_variables
from foldbook.config import Settings
from foldbook.engine.privileges import drop
from foldbook.errors import LogMismatch, StoreUnavailable
from foldbook.postgres.connection import UNREACHABLE

if TYPE_CHECKING:
    import uvicorn

GRACE_S = 10
"""How long a stopping process may take to finish its work."""

_NOT_MIGRATED = (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError, asyncpg.UndefinedTableError)
_FILE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EPIPE}
"""Errors of a write to a file, which do not name it."""

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """Run a coroutine to completion, in a loop of asyncio's or another one.

    Raises ``StoreUnavailable`` if the database is unavailable for any reason, ``LogMismatch`` if it was not migrated,
    and ``OSError`` for a file that cannot be read or written.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(work)
    except _NOT_MIGRATED as error:
        raise LogMismatch(f"the database has no log of this version ({error}): run `foldbook migrate`") from error
    except UNREACHABLE as error:
        if isinstance(error, OSError) and is_about_a_file(error):
            raise
        raise StoreUnavailable(f"the database can't be reached: {error}") from error


def is_about_a_file(error: OSError) -> bool:
    """Whether the error is about a file, not a connection: only an error about a file carries its name."""
    return error.filename is not None or error.errno in _FILE_ERRORS


def describe(error: OSError) -> str:
    """One line for a person: the file, if one is named, and what happened."""
    if error.filename is None or error.strerror is None:
        return error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def begin(settings: Settings, *, until_stdin_closes: bool, needs_log: bool = False) -> None:
    """What every process that keeps running begins with.

    A supervisor has looked at the variables before it started this one, which ends with it. Raises what ``require_log``
    does. Afterwards this process is the user that its supervisor told it to be.
    """
    if until_stdin_closes:
        _end_with_stdin()
    else:
        warn_of_unknown_variables()
    if needs_log:
        from foldbook.engine.database import require_log

        with suppress(StoreUnavailable) if until_stdin_closes else nullcontext():  # It waits for the database.
            require_log(settings)
    start_logging(settings)
    drop(os.environ)


def start_logging(settings: Settings) -> None:
    """Log to standard error, for a process that keeps running."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


async def wait_for_stop() -> None:
    """Return at SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()


def _end_with_stdin() -> None:
    """Stop this process when standard input closes, because its supervisor is gone; force it after ``GRACE_S``."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(Exit.FAILED)

    threading.Thread(target=watch, name="until-stdin-closes", daemon=True).start()


def run_server(server: uvicorn.Server) -> None:
    """Run a server to its end. One that could not start ends this process."""
    try:
        server.run()
    except SystemExit:  # uvicorn could not start; its code means something else here
        raise typer.Exit(Exit.FAILED) from None
    if not server.started:
        raise typer.Exit(Exit.FAILED)
