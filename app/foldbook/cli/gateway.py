"""``foldbook gateway``: works the accounts at their brokers."""

from __future__ import annotations

import os

import typer

from foldbook.cli.exits import Exit
from foldbook.cli.lifetime import begin, run, wait_for_stop
from foldbook.cli.terminal import UntilStdinCloses, read_settings
from foldbook.engine.console import tell


def gateway(until_stdin_closes: UntilStdinCloses = False) -> None:
    """Work the accounts at their brokers.

    Orders go out, reports come in. A second gateway waits until the first has ended, and then takes over.
    FOLDBOOK_BROKERS says of which kinds of broker.
    """
    import uvloop

    from foldbook.brokers.live.credentials import tables_of
    from foldbook.engine.gateways import Gateways
    from foldbook.engine.privileges import is_dropped_later

    settings = read_settings()
    if not settings.broker_kinds:
        tell("FOLDBOOK_BROKERS is empty: there is nothing to work")
        raise typer.Exit(Exit.FAILED)
    # Who becomes another user reads the file of root's before that.
    tables = tables_of(os.environ) if is_dropped_later(os.environ) else None
    begin(settings, until_stdin_closes=until_stdin_closes, needs_log=True)
    run(Gateways(settings, os.environ, tables).run(wait_for_stop()), uvloop.new_event_loop)
