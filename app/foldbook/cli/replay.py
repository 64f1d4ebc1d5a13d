"""``foldbook replay``: an order book as the fold of its events, and the digest of that fold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from foldbook.cli.terminal import Exit, Json, print_json, read_settings, run
from foldbook.config import Settings
from foldbook.engine.console import tell
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.replay import Replay, replay
from foldbook.eventstore.store import shard_of
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.values import is_account

At = Annotated[
    str | None,
    typer.Option(help="A position, or an RFC 3339 time: the state as it was recorded then. Without: as it is now."),
]


def replay_account(
    account: Annotated[str, typer.Argument(help="user/exchange/broker")], at: At = None, as_json: Json = False
) -> None:
    """Fold an account's events from the first; the same events give the same digest."""
    if not is_account(account):
        tell(f"{account} is no account: user/exchange/broker, the broker one of live, simulated, backtest")
        raise typer.Exit(Exit.USAGE)
    to_position, to_time = _moment(at)
    found = run(_replay(read_settings(), account, to_position, to_time))
    if found.sequence == 0:
        tell(f"the log has no event of {account}{f' up to {at}' if at else ''}")
        raise typer.Exit(Exit.FAILED)
    result = {
        "account": found.aggregate_id,
        "sequence": found.sequence,
        "position": found.position,
        "sha256": found.sha256,
        "state": json.loads(found.state_json),
    }
    if as_json:
        print_json(result)
        return
    for name in ("account", "sequence", "position", "sha256"):
        typer.echo(f"{name:<10} {result[name]}")
    typer.echo(json.dumps(result["state"], indent=2))


async def _replay(settings: Settings, account: str, to_position: int | None, to_time: datetime | None) -> Replay[Book]:
    store = PostgresStore(settings.dsn)
    try:
        shard = shard_of(account, settings.shards)
        return await replay(store, ORDER_BOOK, shard, account, to_position=to_position, to_time=to_time)
    finally:
        await store.close()


def _moment(at: str | None) -> tuple[int | None, datetime | None]:
    if at is None:
        return None, None
    if at.isdecimal():
        return int(at), None
    try:
        time = datetime.fromisoformat(at)
    except ValueError:
        raise typer.BadParameter("is neither a position nor an RFC 3339 time", param_hint="--at") from None
    return None, time if time.tzinfo else time.replace(tzinfo=UTC)
