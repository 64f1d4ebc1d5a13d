"""``foldbook projections``: the state of the read tables, and their repair."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
import typer

from foldbook.cli.exits import Exit
from foldbook.cli.lifetime import begin, run, wait_for_stop
from foldbook.cli.terminal import (
    Json,
    UntilStdinCloses,
    print_json,
    print_rows,
    read_settings,
)
from foldbook.engine.console import tell
from foldbook.eventstore.readers.administration import ProjectionAdmin
from foldbook.eventstore.readers.status import ProjectionStatus, Run

PROGRESS_INTERVAL_S = 1.0
COLUMNS = ("name", "shard", "state", "checkpoint", "head", "lag", "skipped", "definition_hash")

projections = typer.Typer(help="The read tables: list, reset, rebuild, verify, skip.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The projection: the name of its file.")]


@projections.command("list")
def list_all(as_json: Json = False) -> None:
    """All projections, and how far behind the log they are."""
    _print_statuses(run(_status(None)), as_json)


@projections.command()
def status(name: Name, as_json: Json = False) -> None:
    """One projection in detail.

    Its state on each shard, where it failed, and its last reset, rebuild or verification.
    """
    rows = _rows(run(_status(name)))
    if as_json:
        print_json({"projections": rows})
        return
    print_rows(rows, COLUMNS)
    for row in rows:
        for fact in ("error", "run"):
            for key, value in (row[fact] or {}).items():
                typer.echo(f"shard {row['shard']}  {fact:<5}  {key:<18} {'' if value is None else value}")


@projections.command()
def reset(name: Name, as_json: Json = False) -> None:
    """Empty the tables and replay the log into them.

    Readers see them fill.
    """
    _print_statuses(run(_with_progress(name, ProjectionAdmin.start_reset)), as_json)


@projections.command()
def rebuild(name: Name, as_json: Json = False) -> None:
    """Replay the log into new tables, then swap.

    Readers see the old tables until then.
    """
    _print_statuses(run(_with_progress(name, ProjectionAdmin.start_rebuild)), as_json)


@projections.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="The projection; by default all of them.")] = None,
    as_json: Json = False,
) -> None:
    """Fold the log again and compare, row by row.

    Ends with code 5 if there is a difference.
    """

    async def work() -> list[dict[str, Any]]:
        async with _admin() as admin:
            names = [name] if name else sorted({status.name for status in await admin.status()})
            found = []
            for each in names:
                verification = msgspec.json.decode(msgspec.json.encode(await admin.verify(each)))
                found.append({"name": each, **verification})
                if not as_json:
                    _print_verification(found[-1])
            return found

    found = run(work())
    is_equal = all(each["equal"] for each in found)
    if as_json:
        print_json({"equal": is_equal, "projections": found})
    if not is_equal:
        raise typer.Exit(Exit.DIFFERENT)


def _print_verification(found: dict[str, Any]) -> None:
    typer.echo(f"{found['name']}: {found['rows']} rows, {found['rows_different']} different")
    for difference in found["differences"]:
        typer.echo(f"  {difference}")


@projections.command()
def skip(
    name: Name,
    position: Annotated[int, typer.Option(min=1, max=2**63 - 1, help="Position of the event that it is stopped at.")],
    reason: Annotated[str, typer.Option(help="Why the event may be skipped.")],
    shard: Annotated[int, typer.Option(min=0, max=1023)] = 0,
    actor: Annotated[str | None, typer.Option(help="Who decides this; by default, the user who is logged in.")] = None,
    as_json: Json = False,
) -> None:
    """Skip the event that a projection is stopped at.

    The decision is recorded in eventstore.dead_letters.
    """

    async def work() -> list[ProjectionStatus]:
        async with _admin() as admin:
            await admin.skip(name, shard, position, reason=reason, actor=actor or getpass.getuser())
            return await admin.status(name)

    _print_statuses(run(work()), as_json)


@projections.command("run")
def run_all(until_stdin_closes: UntilStdinCloses = False) -> None:
    """Keep all projections up to date until stopped."""
    settings = read_settings()
    begin(settings, until_stdin_closes=until_stdin_closes, needs_log=True)

    async def work() -> None:
        from foldbook.engine.wiring import projection_runner

        runner = projection_runner(settings)
        await runner.start()
        try:
            await wait_for_stop()
        finally:
            await runner.stop()

    run(work())


@asynccontextmanager
async def _admin() -> AsyncIterator[ProjectionAdmin]:
    from foldbook.engine.wiring import projection_admin

    admin = projection_admin(read_settings())
    try:
        yield admin
    finally:
        await admin.stop()


async def _status(name: str | None) -> list[ProjectionStatus]:
    async with _admin() as admin:
        return await admin.status(name)


async def _with_progress(
    name: str, start: Callable[[ProjectionAdmin, str], Awaitable[asyncio.Task[None]]]
) -> list[ProjectionStatus]:
    async with _admin() as admin:
        task = await start(admin, name)
        while not (await asyncio.wait([task], timeout=PROGRESS_INTERVAL_S))[0]:
            if run := (await admin.status(name))[0].run:
                tell(_progress(name, run))
        await task
        return await admin.status(name)


def _progress(name: str, run: Run) -> str:
    left = "" if run.eta_seconds is None else f", {run.eta_seconds:.0f} s left"
    return f"{name}: {run.events_done} of {run.events_total} events, {run.events_per_second}/s{left}"


def _print_statuses(statuses: list[ProjectionStatus], as_json: bool) -> None:
    rows = _rows(statuses)
    if as_json:
        print_json({"projections": rows})
    else:
        print_rows(rows, COLUMNS)


def _rows(statuses: list[ProjectionStatus]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = msgspec.to_builtins(statuses)
    return rows
