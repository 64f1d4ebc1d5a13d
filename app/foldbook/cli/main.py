"""The command line: its groups of commands, and how an error ends it."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated, NoReturn

import asyncpg
import psycopg
import typer

from foldbook.cli.amqp import amqp
from foldbook.cli.audit import audit
from foldbook.cli.backtest import backtest
from foldbook.cli.database import add_client_programs
from foldbook.cli.demo import demo
from foldbook.cli.engine import doctor, migrate, serve, up
from foldbook.cli.events import events
from foldbook.cli.exits import exit_of, explain
from foldbook.cli.gateway import gateway
from foldbook.cli.intake import intake
from foldbook.cli.keys import keys
from foldbook.cli.lifetime import describe
from foldbook.cli.market import market
from foldbook.cli.projections import projections, run_all
from foldbook.cli.relay import relay
from foldbook.cli.replay import replay_account
from foldbook.cli.strategy import strategy
from foldbook.cli.venue import venue
from foldbook.engine.console import tell
from foldbook.errors import FoldbookError, StoreUnavailable
from foldbook.postgres.sqlstates import answer_to_operator

cli = typer.Typer(
    help="An event-sourced trading engine with PostgreSQL as its engine room.",
    # \b: lines are kept as they are.
    epilog=f"\b\n{explain()}\n\n\b\nThe settings come from the environment: see docs/operate.md and `foldbook doctor`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (up, serve, gateway, relay, intake, migrate, doctor, demo):
    cli.command()(command)
add_client_programs(cli)
cli.command("replay")(replay_account)
cli.command()(backtest)
cli.command()(venue)
cli.add_typer(amqp, name="amqp")
cli.command("project")(run_all)
cli.add_typer(projections, name="projections")
cli.add_typer(audit, name="audit")
cli.add_typer(keys, name="keys")
cli.add_typer(events, name="events")
cli.add_typer(market, name="market")
cli.add_typer(strategy, name="strategy")


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
