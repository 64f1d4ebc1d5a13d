"""``foldbook venue``: the simulated venue as a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldbook.cli.lifetime import begin, run_server
from foldbook.cli.options import costs_of
from foldbook.cli.terminal import UntilStdinCloses, read_settings
from foldbook.venue.orders import Path as BarPath
from foldbook.venue.server.options import Clock, VenueOptions


def venue(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="On 127.0.0.1.")],
    data_dir: Annotated[Path, typer.Option(help="Where it keeps its orders and fills.")],
    dedup: Annotated[bool, typer.Option(help="Take a client order id of an account only once.")] = True,
    replace: Annotated[bool, typer.Option(help="Change orders in place.")] = True,
    replace_moves_id: Annotated[
        bool, typer.Option("--replace-moves-id", help="Give an order another venue order id when it is replaced.")
    ] = False,
    clock: Annotated[Clock, typer.Option(help="The machine's time, or that of the latest datum.")] = Clock.WALL,
    fee: Annotated[str, typer.Option(help="taker=0.001,maker=0.0005: fractions of the money.")] = "",
    spread: Annotated[str, typer.Option(help="How much worse than the price of a bar or trade, as a fraction.")] = "0",
    slippage: Annotated[str, typer.Option(help="How much worse than the price, as a fraction.")] = "0",
    path: Annotated[BarPath, typer.Option(help="How the price moves within a bar.")] = BarPath.ADVERSE,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Run the simulated venue."""
    from foldbook.venue.server.application import create_server
    from foldbook.venue.store import Store

    options = VenueOptions(
        deduplicates=dedup,
        replaces=replace,
        replace_moves_id=replace_moves_id,
        clock=clock,
        costs=costs_of(fee, spread, slippage),
        path=path,
    )
    settings = read_settings()
    begin(settings, until_stdin_closes=until_stdin_closes)
    store = Store(data_dir)
    server = create_server(store, options, port)
    run_server(server)
