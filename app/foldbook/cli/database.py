"""PostgreSQL's own programs, in the right version, connected to Foldbook's database, with no password on the screen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import typer

from foldbook.cli.terminal import read_settings
from foldbook.engine.database import running_database
from foldbook.postgres.binaries import client_program

PROGRAMS = {
    "psql": "Run psql on the database, with your arguments.",
    "pg_dump": "Run pg_dump on the database, with your arguments.",
    "pg_restore": "Run pg_restore on the database, with your arguments.",
}


def add_client_programs(cli: typer.Typer) -> None:
    """Add a command of the same name for each of ``PROGRAMS``."""
    for name, help_text in PROGRAMS.items():
        everything = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
        cli.command(name, help=help_text, context_settings=everything)(_run_program)


def _run_program(context: typer.Context) -> None:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    assert context.info_name is not None
    program = str(client_program(context.info_name))
    if context.args[:1] in (["--help"], ["--version"]):  # needs no database, and must be the first argument
        os.execv(program, [program, *context.args])
    settings = read_settings()
    options = conninfo_to_dict(settings.owner_dsn)
    # Other users can read a process's arguments, but not its environment.
    if password := options.pop("password", None):
        os.environ["PGPASSWORD"] = str(password)
    with running_database(settings):
        # The program handles a Ctrl-C itself: psql cancels a query and stays.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        done = subprocess.run([program, f"--dbname={make_conninfo('', **options)}", *context.args])
    sys.exit(done.returncode)
