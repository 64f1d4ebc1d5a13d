"""PostgreSQL's own programs, in the right version, connected to Foldbook's database, with no password on the screen.

psql connects as an auditor, who only reads. The engine owns the schemas of the read tables, so a view, a function or an
operator there may be anything: who calls it lends it their rights. As the owner, psql finds only what is named with its
schema, as pg_dump and pg_restore do by themselves.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from foldbook.cli.exits import Exit
from foldbook.cli.terminal import read_settings
from foldbook.config import Settings
from foldbook.engine.console import tell
from foldbook.engine.database import running_database
from foldbook.postgres.binaries import client_program
from foldbook.postgres.data_folder import open_own

AS_OWNER = "-c search_path=pg_catalog"


CONTEXT_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Of the commands here: what they do not know is the program's."""


def psql(
    context: typer.Context,
    is_owner: Annotated[bool, typer.Option("--owner", help="Connect as the owner of the database.")] = False,
) -> None:
    """Run psql on the database, with your arguments; --owner: as its owner, not as an auditor."""
    _run_program("psql", context.args, is_owner=is_owner, options=AS_OWNER if is_owner else "")


def pg_dump(context: typer.Context) -> None:
    """Run pg_dump on the database, with your arguments.

    It connects as the owner. Only this user may read the dump.
    """
    _run_program("pg_dump", context.args, is_owner=True)


def pg_restore(context: typer.Context) -> None:
    """Run pg_restore on the database, with your arguments.

    It connects as the owner.
    """
    _run_program("pg_restore", context.args, is_owner=True)


def _run_program(name: str, arguments: list[str], *, is_owner: bool, options: str = "") -> None:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    program = str(client_program(name))
    if arguments[:1] in (["--help"], ["--version"]):  # needs no database, and must be the first argument
        os.execv(program, [program, *arguments])
    settings = read_settings()
    if name == "pg_dump":
        _claim(arguments)
    with running_database(settings):
        login = conninfo_to_dict(_dsn(settings, is_owner=is_owner))
        # Other users can read a process's arguments, but not its environment, which has no place for an sslpassword.
        if "sslpassword" in login:
            tell(f"DATABASE_URL has an sslpassword, which {name} would show to other users: use a key that needs none")
            raise typer.Exit(Exit.USAGE)
        if password := login.pop("password", None):
            os.environ["PGPASSWORD"] = str(password)
        if given := " ".join(filter(None, (str(login.pop("options", "")), options))):
            login["options"] = " ".join(filter(None, (os.environ.get("PGOPTIONS"), given)))
        # The program handles a Ctrl-C itself: psql cancels a query and stays.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        done = subprocess.run([program, f"--dbname={make_conninfo('', **login)}", *arguments], umask=0o077)
    sys.exit(done.returncode)


def _dsn(settings: Settings, *, is_owner: bool) -> str:
    return settings.owner_dsn if is_owner else settings.auditor_dsn


def _claim(arguments: list[str]) -> None:
    """The file that pg_dump will write is this user's alone, and no link. Raises ``UnsafeFolder``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-f", "--file", type=Path)
    parser.add_argument("-F", "--format", default="p")
    given = parser.parse_known_args(arguments)[0]
    if given.file is None or given.format.startswith("d"):
        return
    if given.file.is_symlink() or given.file.is_file() or not given.file.exists():
        with open_own(given.file, "ab") as file:
            os.fchmod(file.fileno(), 0o600)
