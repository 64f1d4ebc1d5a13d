"""What the commands of the command line share: exit codes, settings, lists, and when to end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from enum import IntEnum
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from foldbook.config import ENVIRONMENT_PREFIX, Settings
from foldbook.engine.console import tell
from foldbook.errors import StoreUnavailable
from foldbook.postgres.connection import UNREACHABLE

GRACE_S = 10
"""What a process gets to answer what it was asked before it ends."""
WIDTH_WITHOUT_TERMINAL = 200

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UntilStdinCloses = Annotated[
    bool,
    typer.Option("--until-stdin-closes", help="End when standard input closes: so nothing outlives `foldbook up`."),
]


class Exit(IntEnum):
    """Exit codes; the description of ``foldbook.cli.main`` says what they mean."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ALREADY_RUNNING = 3
    UNREACHABLE = 4
    DIFFERENT = 5
    OTHER_LOG = 6


def read_settings() -> Settings:
    """The settings, or the end of this process, with a line for each that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = str(problem["loc"][0])
            variable = name if name.isupper() else ENVIRONMENT_PREFIX + name.upper()
            tell(f"{variable}: {problem['msg']}")
        raise typer.Exit(Exit.USAGE) from None


def start_logging(settings: Settings) -> None:
    """To standard error, for a process that stays."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL).print(table)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end. Raises ``StoreUnavailable`` for every way in which the database can be away."""
    try:
        return asyncio.run(work)
    except UNREACHABLE as error:
        raise StoreUnavailable(f"the database can't be reached: {error}") from error


async def wait_for_stop() -> None:
    """Return at SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()


def end_with_stdin() -> None:
    """Ask this process to stop when its supervisor is gone, and insist after a while."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(Exit.FAILED)

    threading.Thread(target=watch, name="until-stdin-closes", daemon=True).start()
