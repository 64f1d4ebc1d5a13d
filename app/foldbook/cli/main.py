"""The command line: its commands, and how an error ends it.

A command is imported when it is called, or when the help names it: each of them starts in half the time so.
"""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import Annotated, Any, NoReturn

import asyncpg
import psycopg
import typer
from typer.core import TyperGroup

from foldbook.cli.exits import exit_of, explain
from foldbook.cli.lifetime import describe
from foldbook.engine.console import tell
from foldbook.errors import FoldbookError, StoreUnavailable
from foldbook.postgres.sqlstates import answer_to_operator

COMMANDS = {
    "up": "engine.up",
    "serve": "engine.serve",
    "gateway": "gateway.gateway",
    "relay": "relay.relay",
    "intake": "intake.intake",
    "migrate": "engine.migrate",
    "doctor": "engine.doctor",
    "demo": "demo.demo",
    "psql": "database.psql",
    "pg_dump": "database.pg_dump",
    "pg_restore": "database.pg_restore",
    "replay": "replay.replay_account",
    "backtest": "backtest.backtest",
    "venue": "venue.venue",
    "project": "projections.run_all",
    "amqp": "amqp.amqp",
    "projections": "projections.projections",
    "audit": "audit.audit",
    "keys": "keys.keys",
    "events": "events.events",
    "market": "market.market",
    "strategy": "strategy.strategy",
}
"""Where each command is, below ``foldbook.cli``: a function, or a group of commands."""

_STYLE: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}


class _Commands(TyperGroup):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Any = dict.fromkeys(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module_name, _, name = COMMANDS[cmd_name].partition(".")
        module = import_module(f"foldbook.cli.{module_name}")
        found = getattr(module, name)
        if isinstance(found, typer.Typer):
            group = typer.Typer(**_STYLE)
            group.add_typer(found, name=cmd_name)
            return typer.main.get_group(group).commands[cmd_name]
        alone = typer.Typer(**_STYLE)
        alone.command(cmd_name, context_settings=getattr(module, "CONTEXT_SETTINGS", None))(found)
        return typer.main.get_command(alone)


cli = typer.Typer(
    cls=_Commands,
    help="An event-sourced trading engine with PostgreSQL as its engine room.",
    # \b: lines are kept as they are.
    epilog=f"\b\n{explain()}\n\n\b\nThe settings come from the environment: see docs/operate.md and `foldbook doctor`.",
    no_args_is_help=True,
    **_STYLE,
)


def main() -> None:
    """The entry point: every expected error becomes one line and an exit code."""
    try:
        cli()
    except (asyncpg.PostgresError, psycopg.Error) as error:
        _end(answer_to_operator(error))
    except FoldbookError as error:
        _end(error)
    except OSError as error:
        tell(describe(error))
        sys.exit(exit_of(error))


def _end(error: FoldbookError) -> NoReturn:
    is_engine_needed = isinstance(error, StoreUnavailable) and sys.argv[1:] != ["up"]
    tell(f"{error}\nIs `foldbook up` running?" if is_engine_needed else error)
    sys.exit(exit_of(error))


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(metadata.version("foldbook"))
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
