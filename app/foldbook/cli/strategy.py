"""``foldbook strategy``: a strategy as a service of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from foldbook.cli.exits import Exit
from foldbook.cli.lifetime import begin, run, wait_for_stop
from foldbook.cli.options import number_of, pair_of, symbols_of, url_of
from foldbook.cli.terminal import UntilStdinCloses, amqp_url, read_settings
from foldbook.engine.console import tell
from foldbook.engine.transports import Way, default_way
from foldbook.trading.values import is_account

strategy = typer.Typer(help="Strategies in accounts of the log.", no_args_is_help=True)


@strategy.callback()
def _group() -> None:
    pass


@strategy.command("run")
def run_service(
    reference: Annotated[str, typer.Argument(metavar="STRATEGY", help="FILE.py:CLASS or package.module:CLASS")],
    account: Annotated[str, typer.Option(help="user/exchange/broker; opened if it is not there.")],
    symbols: Annotated[str, typer.Option(help="Whose data it is told: BTCUSDT,ETHUSDT.")],
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the strategy; may be repeated.")] = None,
    strategy_id: Annotated[str | None, typer.Option(help="By default the name of the class.")] = None,
    cash: Annotated[str, typer.Option(help="What an account that is opened begins with.")] = "10000",
    currency: Annotated[str | None, typer.Option(help="In which it is kept. By default that of the symbols.")] = None,
    venue: Annotated[str | None, typer.Option(help="The venue's address, if not that of the settings.")] = None,
    transport: Annotated[
        Way | None, typer.Option(help="How it is connected. By default over RabbitMQ if FOLDBOOK_AMQP_URL is set.")
    ] = None,
    clock: Annotated[str, typer.Option(help="wall: the machine's; data: that of the market data.")] = "wall",
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Run a strategy in an account of the log, on the venue's market data.

    Its commands go through the engine's API, or over RabbitMQ, with the key in FOLDBOOK_KEY, else the operator's in the
    data folder. What its account is, it reads from the log.

    Started again, it goes on where it was: with its position, its open orders and its cash. Ctrl-C stops it; its orders
    stay open unless it cancels them in on_stop.
    """
    from foldbook.engine.strategy import StrategyJob, run_strategy

    if clock not in ("wall", "data"):
        raise typer.BadParameter("is wall or data", param_hint="--clock")
    if not is_account(account):
        raise typer.BadParameter(f"{account!r} is not user/exchange/broker", param_hint="--account")
    settings = read_settings()
    if transport is Way.AMQP:
        amqp_url(settings)
    job = StrategyJob(
        strategy=reference,
        account=account,
        symbols=symbols_of(symbols),
        parameters=dict(pair_of("--param", text) for text in param or ()),
        strategy_id=strategy_id,
        cash=number_of("--cash", cash),
        currency=currency,
        way=transport or default_way(settings),
        venue_url=url_of("--venue", venue or settings.venue_address),
        is_data_clock=clock == "data",
    )
    begin(settings, until_stdin_closes=until_stdin_closes, needs_log=True)

    async def work() -> str | None:
        return await run_strategy(settings, job, wait_for_stop(), _say)

    error = run(work())
    if error is not None:
        tell(f"the strategy was stopped: {error}")
        raise typer.Exit(Exit.FAILED)


def _say(line: str) -> None:
    print(line, flush=True)
