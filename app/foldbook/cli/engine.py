"""The engine's processes: start them, migrate their database, report their state."""

from __future__ import annotations

import typer

from foldbook.cli.exits import Exit
from foldbook.cli.lifetime import begin, run_server
from foldbook.cli.terminal import Json, UntilStdinCloses, print_json, read_settings, warn_of_unknown_variables
from foldbook.engine.address import check_address
from foldbook.engine.console import tell
from foldbook.engine.database import running_database
from foldbook.postgres.roles import NOT_SEPARATED


def up() -> None:
    """Start PostgreSQL, the projector and the API.

    Ctrl-C stops them.
    """
    from foldbook.engine.up import up

    warn_of_unknown_variables()
    up(read_settings())


def serve(until_stdin_closes: UntilStdinCloses = False) -> None:
    """Serve only the API, on a migrated database."""
    from foldbook.engine.server import create_server

    settings = read_settings()
    begin(settings, until_stdin_closes=until_stdin_closes, needs_log=True)
    check_address(settings)
    server = create_server(settings)
    run_server(server)


def migrate() -> None:
    """Bring the database to this program's version, and repair its code where it is not what the files say.

    Ends with code 5 if something is left that only its owner can mend; it is named.
    """
    from foldbook.postgres.migrations import migrate as migrate_database

    warn_of_unknown_variables()
    settings = read_settings()
    with running_database(settings):
        is_separated = migrate_database(settings.owner_dsn, settings.shards)
        before = _not_as_made(settings.owner_dsn)
        if before:
            migrate_database(settings.owner_dsn, settings.shards, is_forced=True)
        after = _not_as_made(settings.owner_dsn) if before else {}
    if not is_separated:
        tell(f"roles: {NOT_SEPARATED}")
    for guard in before.keys() - after.keys():
        tell(f"repaired: {guard}")
    for guard, mend in after.items():
        tell(f"not repaired: {guard}: {mend}")
    typer.echo("migrated")
    if after:
        raise typer.Exit(Exit.DIFFERENT)


def _not_as_made(dsn: str) -> dict[str, str]:
    """What is not as a migration makes it, and what mends it; not what the engine makes, which rebuilds it."""
    from foldbook.audit.guards import ELSEWHERE, START, missing_guards

    found = missing_guards(dsn)
    for guard in (guard for guard, mend in found if mend == ELSEWHERE):
        tell(guard)
    return {guard: mend for guard, mend in found if mend not in (START, ELSEWHERE)}


def doctor(as_json: Json = False) -> None:
    """Print what is wrong, why it matters and what mends it; then versions, settings, and the state of the engine.

    Secrets are not printed.
    """
    from foldbook.engine.doctor.examine import examine

    report = examine(read_settings())
    if as_json:
        print_json(report.document())
    else:
        for finding in report.findings:
            typer.secho(finding.problem, fg="red", bold=True)
            typer.echo(f"  why   {finding.why}\n  mend  {finding.mend}\n")
        for title, facts in report.sections.items():
            typer.secho(title, bold=True)
            for name, value in facts.items():
                typer.echo(f"  {name:<36} {value}")
    if not report.is_reachable:
        raise typer.Exit(Exit.UNREACHABLE)
    if report.findings:
        raise typer.Exit(Exit.UNWELL)
