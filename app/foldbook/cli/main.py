"""The command line.

==== =====================================================================
code meaning
==== =====================================================================
0    done
1    failed; the last line on standard error says why
2    wrong usage, or a setting that is wrong
3    already running on this data folder
4    the database can't be reached
5    ``projections verify`` or ``audit verify`` found a difference
6    the database's log is not the one the settings describe
==== =====================================================================

``psql`` ends with the code of psql itself.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata

import typer

from foldbook.cli.audit import audit
from foldbook.cli.projections import projections
from foldbook.cli.replay import replay_account
from foldbook.cli.terminal import (
    Exit,
    Json,
    UntilStdinCloses,
    end_with_stdin,
    print_json,
    read_settings,
    start_logging,
)
from foldbook.config import Settings
from foldbook.engine.console import tell
from foldbook.engine.lock import AlreadyRunning, lock, running_on
from foldbook.errors import FoldbookError, LogMismatch, StoreUnavailable
from foldbook.postgres.binaries import client_program
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.roles import NOT_SEPARATED

cli = typer.Typer(
    help="An event-sourced trading engine with PostgreSQL as its engine room.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cli.add_typer(projections, name="projections")
cli.add_typer(audit, name="audit")
cli.command("replay")(replay_account)


def main() -> None:
    """The entry point: every foreseen error becomes one line and a code."""
    try:
        cli()
    except AlreadyRunning as error:
        tell(error)
        sys.exit(Exit.ALREADY_RUNNING)
    except LogMismatch as error:
        tell(error)
        sys.exit(Exit.OTHER_LOG)
    except StoreUnavailable as error:
        tell(error if sys.argv[1:] == ["up"] else f"{error}\nIs `foldbook up` running?")
        sys.exit(Exit.UNREACHABLE)
    except (FoldbookError, OSError) as error:
        tell(error)
        sys.exit(Exit.FAILED)


@cli.command()
def up() -> None:
    """Start PostgreSQL, the API and the projector; Ctrl-C stops them."""
    from foldbook.engine import supervisor

    supervisor.up(read_settings())


@cli.command()
def serve(until_stdin_closes: UntilStdinCloses = False) -> None:
    """Serve the API; the database must be there and migrated."""
    if until_stdin_closes:
        end_with_stdin()
    settings = read_settings()
    start_logging(settings)
    run_server(settings)


@cli.command()
def migrate() -> None:
    """Bring the database's tables and functions to this program's version."""
    from foldbook.postgres.migrations import migrate as migrate_database

    settings = read_settings()
    if settings.is_embedded and not running_on(settings.data_dir):
        with lock(settings.data_dir, settings.url):
            server = EmbeddedPostgres(settings.data_dir)
            server.start()
            try:
                is_separated = migrate_database(settings.owner_dsn, settings.shards)
            finally:
                server.stop()
    else:
        is_separated = migrate_database(settings.owner_dsn, settings.shards)
    if not is_separated:
        tell(f"roles: {NOT_SEPARATED}")
    typer.echo("migrated")


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql on the database; what follows is passed on to it."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    options = conninfo_to_dict(read_settings().owner_dsn)
    # Other users can read a process's arguments, not its environment.
    if password := options.pop("password", None):
        os.environ["PGPASSWORD"] = str(password)
    program = str(client_program("psql"))
    os.execv(program, [program, make_conninfo("", **options), *context.args])


@cli.command()
def doctor(as_json: Json = False) -> None:
    """Print versions, settings (without secrets), and how the engine and its database are."""
    from foldbook.engine.doctor import examine

    report = examine(read_settings())
    if as_json:
        print_json(report)
    else:
        for title, facts in report.items():
            typer.secho(title, bold=True)
            for name, value in facts.items():
                typer.echo(f"  {name:<36} {value}")
    if not report["database"]["reachable"]:
        raise typer.Exit(Exit.UNREACHABLE)


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(metadata.version("foldbook"))


def run_server(settings: Settings) -> None:
    """One process, no access log; returns after SIGTERM or SIGINT, when what was asked has been answered."""
    from foldbook.engine.server import create_server

    server = create_server(settings)
    server.run()
    if not server.started:
        raise typer.Exit(Exit.FAILED)
