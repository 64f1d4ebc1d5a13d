"""``foldbook replay``: an order book as the fold of its events, and the digest of that fold."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer

from foldbook.audit.verify import current_checkpoints
from foldbook.cli.exits import Exit
from foldbook.cli.lifetime import run
from foldbook.cli.terminal import Json, print_json, read_settings
from foldbook.config import Settings
from foldbook.engine.console import tell
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.replay import Replay, replay
from foldbook.eventstore.store import shard_of
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.values import is_account

At = Annotated[
    str | None,
    typer.Option(help="A log position or an RFC 3339 time: the state recorded by then. By default now."),
]


def replay_account(
    account: Annotated[str, typer.Argument(help="user/exchange/broker")], at: At = None, as_json: Json = False
) -> None:
    """Fold an account's events, up to now or to an earlier moment.

    The same events give the same state and the same digest.
    """
    if not is_account(account):
        tell(f"{account} is not an account: write user/exchange/broker, with broker live, simulated or backtest")
        raise typer.Exit(Exit.USAGE)
    to_position, to_time = _moment(at)
    settings = read_settings()
    shard = shard_of(account, settings.shards)
    head, found = run(_replay(settings, account, shard, to_position, to_time))
    if to_position is not None and to_position > head:
        tell(f"shard {shard} ends at position {head}: position {to_position} does not exist yet")
        raise typer.Exit(Exit.FAILED)
    if found.sequence == 0:
        tell(f"the log has no events of {account}{f' up to {at}' if at else ''}")
        raise typer.Exit(Exit.FAILED)
    result = {
        "account": found.aggregate_id,
        "shard": shard,
        "up_to": to_time.isoformat() if to_time else head if to_position is None else to_position,
        "head": head,
        "sequence": found.sequence,
        "position": found.position,
        "sha256": found.sha256,
        "state": _readable(json.loads(found.state_json)),
    }
    if as_json:
        print_json(result)
        return
    for name, value in result.items():
        typer.echo(json.dumps(value, indent=2) if name == "state" else f"{name:<10} {value}")


async def _replay(
    settings: Settings, account: str, shard: int, to_position: int | None, to_time: datetime | None
) -> tuple[int, Replay[Book]]:
    """The shard's head, and the fold up to there or earlier."""
    heads = {checkpoint.shard: checkpoint.events for checkpoint in await current_checkpoints(settings.auditor_dsn)}
    head = heads.get(shard, 0)
    store = PostgresStore(settings.dsn, reads_only=True)
    try:
        to_position = head if to_position is None else to_position
        return head, await replay(store, ORDER_BOOK, shard, account, to_position=to_position, to_time=to_time)
    finally:
        await store.close()


def _moment(at: str | None) -> tuple[int | None, datetime | None]:
    if at is None:
        return None, None
    try:
        if at.isdecimal():
            return int(at), None
        time = datetime.fromisoformat(at)
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter("is neither a position nor an RFC 3339 time", param_hint="--at") from None
    if time > datetime.now(UTC):
        raise typer.BadParameter("is in the future, whose events are not known yet", param_hint="--at")
    return None, time


def _readable(state: Any) -> Any:
    """The state, with days as dates. The digest is over the state's own JSON, in which a day is a number."""
    if isinstance(state, list):
        return [_readable(each) for each in state]
    if isinstance(state, dict):
        return {name: _day(value) if name == "day" else _readable(value) for name, value in state.items()}
    return state


def _day(ordinal: int) -> str | None:
    """A date; None for day 0, before the first fill."""
    return date.fromordinal(ordinal).isoformat() if ordinal else None
