"""``foldbook market``: market data in, from files, the venue or an exchange."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from foldbook.cli.lifetime import begin, run, wait_for_stop
from foldbook.cli.options import file_of, symbols_of, url_of
from foldbook.cli.terminal import UntilStdinCloses, amqp_url, read_settings
from foldbook.config import AMQP, CCXT, Settings

if TYPE_CHECKING:
    from foldbook.engine.market import Fed, MarketJob


market = typer.Typer(help="Market data: feed it to the venue and to the books.", no_args_is_help=True)


@market.callback()
def _group() -> None:
    pass


@market.command("run")
def run_feed(
    source: Annotated[
        list[str],
        typer.Argument(
            help="FILE[:SYMBOL], which may be repeated; sample; venue; ccxt:EXCHANGE; or amqp:VENUE, from RabbitMQ."
        ),
    ],
    symbols: Annotated[str | None, typer.Option(help="Only these, such as BTCUSDT,ETHUSDT.")] = None,
    speed: Annotated[str, typer.Option(help="Of files: 1 is real time, 10 ten times as fast; or max.")] = "1",
    loop: Annotated[bool, typer.Option("--loop", help="Begin files again at their end.")] = False,
    original_times: Annotated[
        bool, typer.Option("--original-times", help="Leave the times of files as they are, instead of making them now.")
    ] = False,
    to: Annotated[
        str | None, typer.Option(help="venue, amqp or none. By default venue if the source is files or an exchange.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--as", help="With --to amqp, whose data it is. By default the source's: simulated, an exchange."),
    ] = None,
    venue: Annotated[str | None, typer.Option(help="The venue's address, if not that of the settings.")] = None,
    prices: Annotated[bool, typer.Option("--prices/--no-prices", help="Tell the books the last prices.")] = True,
    price_interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two prices of a book.")] = 10,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Feed market data to the venue or to RabbitMQ, and last prices to the books.

    It runs until the files end, or Ctrl-C. What the venue does not take in time is dropped, and told; the latest quote
    of each symbol wins. With --speed max the feed waits for the venue, and drops nothing.
    """
    from foldbook.engine.market import until_stopped

    settings = read_settings()
    job = _job(
        settings,
        source,
        symbols=symbols,
        speed=_speed(speed),
        loops=loop,
        is_moved=not original_times,
        to=to,
        name=name,
        venue=venue,
        price_interval_s=price_interval if prices else None,
    )
    begin(settings, until_stdin_closes=until_stdin_closes, needs_log=prices)

    async def work() -> Fed | None:
        return await until_stopped(settings, job, wait_for_stop())

    fed = run(work())
    if fed is not None:
        lost = f", {fed.dropped} dropped, {fed.failed} failed" if fed.dropped or fed.failed else ""
        place = "RabbitMQ" if job.publish_as is not None else "the venue"
        typer.echo(f"{fed.data} data, {fed.sent} sent to {place}{lost}, {fed.prices} prices told to books")


def _job(
    settings: Settings,
    source: list[str],
    *,
    symbols: str | None,
    speed: float | None,
    loops: bool,
    is_moved: bool,
    to: str | None,
    name: str | None,
    venue: str | None,
    price_interval_s: float | None,
) -> MarketJob:
    """What the options ask for. Raises ``typer.BadParameter``."""
    from foldbook.engine.market import MarketJob
    from foldbook.engine.transports import SIMULATED
    from foldbook.market.feeds.replay import Pace
    from foldbook.market.sample import FILES

    if to not in (None, "venue", "amqp", "none"):
        raise typer.BadParameter("is venue, amqp or none", param_hint="--to")
    first = source[0]
    is_venue, is_exchange, is_published = first == "venue", first.startswith(CCXT), first.startswith(AMQP)
    is_live = is_venue or is_exchange or is_published
    if len(source) > 1 and (is_live or "sample" in source):
        raise typer.BadParameter("only files can be several", param_hint="SOURCE")
    if (is_venue and to == "venue") or (is_published and to == "amqp"):
        raise typer.BadParameter("that is the source", param_hint="--to")
    if to == "amqp" or is_published:
        amqp_url(settings)
    files: tuple[tuple[str, str | None], ...] = ()
    if first == "sample":
        files = tuple((str(path), None) for path in FILES)
    elif not is_live:
        files = tuple(file_of(text) for text in source)
    return MarketJob(
        files=files,
        exchange=first.removeprefix(CCXT) if is_exchange else None,
        published=first.removeprefix(AMQP) if is_published else None,
        venue_url=url_of("--venue", venue or settings.venue_address),
        symbols=symbols_of(symbols),
        pace=Pace(speed=speed, loops=loops, is_moved=is_moved),
        is_sent=to == "venue" or (to is None and not is_venue and not is_published),
        publish_as=(name or (first.removeprefix(CCXT) if is_exchange else SIMULATED)) if to == "amqp" else None,
        price_interval_s=price_interval_s,
    )


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = Decimal(text)
    except InvalidOperation:
        speed = Decimal(0)
    if not (speed.is_finite() and speed > 0):
        raise typer.BadParameter(f"{text!r} is neither a number greater than 0 nor max", param_hint="--speed")
    return float(speed)
