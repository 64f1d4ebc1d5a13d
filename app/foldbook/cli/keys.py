"""``foldbook keys``: who may do what."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from foldbook.cli.lifetime import run
from foldbook.cli.terminal import Json, print_json, print_rows, read_settings

keys = typer.Typer(help="Keys: issue them, list them, revoke them.", no_args_is_help=True)


@keys.command("issue")
def issue(
    name: Annotated[str, typer.Argument(help="Whose it is: the actor of what is done with it.")],
    role: Annotated[list[str], typer.Option(help="trader, risk, broker, reader, auditor, operator; may be repeated.")],
    account: Annotated[
        list[str] | None, typer.Option(help="user/exchange/broker, * for any name; may be repeated. By default all.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends, such as 2030-01-31T00:00:00Z.")] = None,
    as_json: Json = False,
) -> None:
    """Issue a key, and print it.

    It is shown only now. Pass it to programs in a file or in FOLDBOOK_KEY, not as an argument.
    """
    import msgspec
    from uuid_utils.compat import uuid7

    from foldbook.access.roles import EVERY_ACCOUNT
    from foldbook.api.operations.keys import Issued, NewKey
    from foldbook.engine.keys import key_admin
    from foldbook.eventstore.events import Metadata

    given = {"name": name, "roles": role, "accounts": account or [EVERY_ACCOUNT], "expires_at": expires}
    try:
        new = msgspec.convert(given, NewKey)
    except msgspec.ValidationError as error:
        raise typer.BadParameter(str(error)) from None
    settings = read_settings()

    async def work() -> Issued:
        async with key_admin(settings) as admin:
            return await admin.issue(new, uuid7(), Metadata(actor=_user()))

    issued = run(work())
    if as_json:
        print_json({"id": issued.id, "name": issued.name, "key": issued.key})
    else:
        typer.echo(issued.key)


@keys.command("list")
def list_keys(
    every: Annotated[bool, typer.Option("--all", help="Also those that are not in force any more.")] = False,
    as_json: Json = False,
) -> None:
    """List the keys in force."""
    import msgspec

    from foldbook.engine.keys import IN_FORCE, all_keys, describe

    found = [(key, describe(key)) for key in run(all_keys(read_settings()))]
    shown = [(key, state) for key, state in found if every or state == IN_FORCE]
    if as_json:
        print_json([msgspec.to_builtins(key) | {"state": state} for key, state in shown])
        return
    rows = [
        {
            "id": key.id,
            "name": key.name,
            "roles": ", ".join(key.roles),
            "accounts": ", ".join(key.accounts),
            "issued": f"{key.issued_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            "expires": None if key.expires_at is None else f"{key.expires_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            "state": state,
        }
        for key, state in shown
    ]
    print_rows(rows, ("id", "name", "roles", "accounts", "issued", "expires", "state"))


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, from `foldbook keys list`.")],
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
) -> None:
    """Revoke a key, for good. Servers that run refuse it at once."""
    from uuid_utils.compat import uuid7

    from foldbook.engine.keys import key_admin
    from foldbook.eventstore.events import Metadata

    settings = read_settings()

    async def work() -> None:
        async with key_admin(settings) as admin:
            await admin.revoke(key_id, reason, uuid7(), Metadata(actor=_user()))

    run(work())
    typer.echo(f"revoked {key_id} at {datetime.now(UTC):%H:%M:%S} UTC")


def _user() -> str:
    """The actor: who runs the command."""
    return f"{getpass.getuser()} at the command line"
