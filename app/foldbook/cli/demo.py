"""``foldbook demo``: two strategies at the simulated venue, to be watched."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from foldbook.engine.transports import Way


def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="How long. By default until Ctrl-C.")] = None,
    transport: Annotated[
        Way | None, typer.Option(help="By default over RabbitMQ, if FOLDBOOK_AMQP_URL names one or one is installed.")
    ] = None,
) -> None:
    """Watch two strategies trade at the simulated venue.

    Market data, strategies, engine, gateway and venue are separate processes, with a database of their own. Nothing of
    it stays.
    """
    from foldbook.engine.demo import demo as run_demo

    run_demo(transport, math.inf if seconds is None else seconds)
