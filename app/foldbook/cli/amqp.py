"""``foldbook amqp``: what Foldbook has at RabbitMQ, and the messages that nobody could do anything with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from foldbook.cli.exits import Exit
from foldbook.cli.lifetime import run
from foldbook.cli.terminal import Json, amqp_url, print_json, print_rows, read_settings
from foldbook.config import own_key
from foldbook.errors import FoldbookError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection

amqp = typer.Typer(help="Show, declare and check what Foldbook has at RabbitMQ.", no_args_is_help=True)
dead = typer.Typer(help="Look at dead letters, send them again, drop them.", no_args_is_help=True)
amqp.add_typer(dead, name="dead")

LetterId = Annotated[UUID, typer.Argument(help="The id that `foldbook amqp dead list` shows.", metavar="ID")]

T = TypeVar("T")


@amqp.command()
def show(as_json: Json = False) -> None:
    """Print the exchanges and queues that Foldbook declares."""
    from msgspec import to_builtins

    from foldbook.messaging.topology import topology

    declared = topology(read_settings().shards)
    if as_json:
        print_json(to_builtins(declared))
        return
    rows = [
        {"kind": f"{exchange.type} exchange", "name": exchange.name, "key": exchange.routing_key, "": exchange.carries}
        for exchange in declared.exchanges
    ] + [
        {"kind": "queue", "name": queue.name, "key": queue.routing_key, "": _arguments(queue.arguments)}
        for queue in declared.queues
    ]
    print_rows(rows, ("kind", "name", "key", ""))


@amqp.command()
def declare() -> None:
    """Declare them, which changes nothing that is there."""
    from aio_pika.exceptions import ChannelPreconditionFailed

    from foldbook.messaging.topology import declare, topology

    declared = topology(read_settings().shards)

    async def work(connection: AbstractConnection) -> None:
        async with connection.channel() as channel:
            try:
                await declare(channel, declared)
            except ChannelPreconditionFailed as error:
                raise FoldbookError(f"RabbitMQ has it with other arguments: {error}. Delete it first") from error

    _at_rabbitmq(work)
    typer.echo(f"{len(declared.exchanges)} exchanges and {len(declared.queues)} queues are declared")


@amqp.command()
def check(as_json: Json = False) -> None:
    """Compare what is declared with what RabbitMQ has.

    Ends with code 5 if something is missing or has other arguments. Bindings cannot be asked for: `declare` makes them.
    """
    from msgspec import to_builtins

    from foldbook.messaging.topology import check, topology

    declared = topology(read_settings().shards)
    findings = _at_rabbitmq(lambda connection: check(connection, declared))
    rows = [to_builtins(finding) for finding in findings]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, ("kind", "name", "state", "detail"))
    if any(finding.state != "equal" for finding in findings):
        raise typer.Exit(Exit.DIFFERENT)


@amqp.command()
def asyncapi() -> None:
    """Print the AsyncAPI document of what goes over RabbitMQ."""
    from foldbook.engine.asyncapi import asyncapi_text

    typer.echo(asyncapi_text(), nl=False)


@dead.command("list")
def list_letters(as_json: Json = False) -> None:
    """List the dead letters, the oldest first."""
    from msgspec import to_builtins

    from foldbook.messaging.dead_letters import dead_letters

    rows = [to_builtins(letter) for letter in _at_rabbitmq(dead_letters)]
    for row in rows:
        del row["body"]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, ("id", "buried_at", "exchange", "routing_key", "type", "code", "reason"))


@dead.command("show")
def show_letter(letter_id: LetterId) -> None:
    """Print one, with the message as it came."""
    from msgspec import to_builtins

    from foldbook.messaging.dead_letters import dead_letter

    letter = _at_rabbitmq(lambda connection: dead_letter(connection, letter_id))
    print_json(to_builtins(letter) | {"body": letter.text})


@dead.command("retry")
def retry_letter(letter_id: LetterId) -> None:
    """Send one again to where it came from, and forget it.

    With the key in FOLDBOOK_KEY, else the operator's in the data folder. The same command is done only once.
    """
    from foldbook.messaging.dead_letters import retry

    key = own_key(read_settings())
    letter = _at_rabbitmq(lambda connection: retry(connection, letter_id, key))
    typer.echo(f"sent again to {letter.exchange} {letter.routing_key}")


@dead.command("drop")
def drop_letter(letter_id: LetterId) -> None:
    """Forget one."""
    from foldbook.messaging.dead_letters import drop

    letter = _at_rabbitmq(lambda connection: drop(connection, letter_id))
    typer.echo(f"dropped: {letter.code}: {letter.reason}")


def _at_rabbitmq(work: Callable[[AbstractConnection], Awaitable[T]]) -> T:
    """What ``work`` comes to, over a connection of its own."""
    from foldbook.messaging.connection import connected

    url = amqp_url(read_settings())

    async def connect_and_work() -> T:
        async with connected(url, "command line") as connection:
            return await work(connection)

    return run(connect_and_work())


def _arguments(arguments: object) -> str:
    assert isinstance(arguments, dict)
    return ", ".join(f"{name}={value}" for name, value in arguments.items())
