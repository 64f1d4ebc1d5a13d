"""``foldbook gateway``: works the accounts at their brokers."""

from __future__ import annotations

import os

import typer

from foldbook.cli.exits import Exit
from foldbook.cli.lifetime import end_with_stdin, run, start_logging, wait_for_stop
from foldbook.cli.terminal import UntilStdinCloses, read_settings, warn_of_unknown_variables
from foldbook.engine.console import tell


def gateway(until_stdin_closes: UntilStdinCloses = False) -> None:
    """Work the accounts at their brokers.

    Orders go out, reports come in. A second gateway waits until the first has ended, and then takes over.
    FOLDBOOK_BROKERS says of which kinds of broker.
    """
    import uvloop

    from foldbook.engine.database import require_log
    from foldbook.engine.gateways import Gateways

    settings = read_settings()
    if not settings.broker_kinds:
        tell("FOLDBOOK_BROKERS is empty: there is nothing to work")
        raise typer.Exit(Exit.FAILED)
    if until_stdin_closes:
        end_with_stdin()
    else:
        warn_of_unknown_variables()
        require_log(settings)
    start_logging(settings)
    run(Gateways(settings, os.environ).run(wait_for_stop()), uvloop.new_event_loop)
