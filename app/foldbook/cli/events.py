"""``foldbook events``: the log on a terminal, as it is written."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldbook.cli.lifetime import run, start_logging
from foldbook.cli.options import url_of
from foldbook.cli.terminal import read_settings
from foldbook.config import own_key

if TYPE_CHECKING:
    from foldbook.client.follow import StreamEvent

SHOWN = (
    *("side", "quantity", "symbol", "order_type", "limit_price", "stop_price", "exec_type", "exec_id"),
    *("last_qty", "last_px", "cum_qty", "avg_px", "price", "kind", "state", "name", "request", "reason"),
)
"""The members of a payload that say most, in this order."""

events = typer.Typer(help="The events of the log.", no_args_is_help=True)


@events.callback()
def _group() -> None:
    pass


@events.command("follow")
def follow_events(
    after: Annotated[
        str, typer.Option(help="SHARD:POSITION, where to begin: 0:0 is the beginning. By default, now.")
    ] = "now",
    account: Annotated[str | None, typer.Option(help="Only this one: user/exchange/broker.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only this type of events, such as OrderFilled.")] = None,
    url: Annotated[str | None, typer.Option(help="The API's address, if not that of the settings.")] = None,
    is_raw: Annotated[bool, typer.Option("--json", help="Print each event as JSON, as GET /events shows it.")] = False,
) -> None:
    """Print events as they are appended, one a line, until Ctrl-C.

    A lost connection is opened again where it was. The key is that of FOLDBOOK_KEY, or the one in the data folder.
    """
    from foldbook.client.follow import follow

    settings = read_settings()
    address = url_of("--url", url or settings.url)
    start_logging(settings)

    async def work() -> None:
        stream = follow(address, own_key(settings), after=after, account=account, type=type_)
        async with aclosing(stream) as told:
            async for event in told:
                print(event.document.decode() if is_raw else line_of(event), flush=True)

    try:
        run(work())
    except KeyboardInterrupt:
        sys.exit(0)


def line_of(event: StreamEvent) -> str:
    """Where it is in the log, when it was recorded, whose it is, what it is, and what it says."""
    document = event.decoded()
    payload: dict[str, Any] = document["payload"]
    said = [f"{name}={payload[name]}" for name in SHOWN if payload.get(name) is not None]
    about = [document["subject"]] if document["subject"] else []
    return "  ".join(
        [event.id, document["recorded_at"], document["aggregate_id"], event.type, " ".join([*about, *said])]
    ).rstrip()
