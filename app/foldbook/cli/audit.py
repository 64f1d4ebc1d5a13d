"""``foldbook audit``: verify the log, export it, anchor it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from foldbook.audit import resume as resuming
from foldbook.audit.export import export as export_log
from foldbook.audit.files import Format
from foldbook.audit.offline import verify_export
from foldbook.audit.orders import order_differences
from foldbook.audit.report import Checkpoint, Report
from foldbook.audit.snapshots import verify_snapshots
from foldbook.audit.verify import current_checkpoints
from foldbook.audit.verify import verify as verify_log
from foldbook.cli.exits import Exit
from foldbook.cli.lifetime import run
from foldbook.cli.progress import ProgressDisplay
from foldbook.cli.terminal import Json, print_json, read_settings
from foldbook.config import Settings
from foldbook.engine.console import tell
from foldbook.postgres.data_folder import check_data_folder, make_data_folder, open_own

KEY_FILE = "anchor.key"

audit = typer.Typer(help="The log: verify it, export it, anchor it.", no_args_is_help=True)


@audit.command()
def verify(
    folder: Annotated[Path | None, typer.Option("--export", help="Verify this export, without a database.")] = None,
    anchors: Annotated[Path | None, typer.Option("--anchor", help="Compare with the anchors in this file.")] = None,
    key: Annotated[
        Path | None, typer.Option(help=f"Public key of the anchors; by default {KEY_FILE}.pub in the data folder.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Keep the progress in this file, and continue from it after an interruption.")
    ] = None,
    orders: Annotated[
        bool,
        typer.Option(
            "--orders", help="Compare the state in each order's last event with its facts, instead of verifying hashes."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Compute every hash of the log again, fold every snapshot anew, compare the database's code with the program's.

    Ends with code 5 if something is wrong.
    """
    if orders:
        if any(given is not None for given in (folder, anchors, key, resume)):
            raise typer.BadParameter("goes with none of --export, --anchor, --key and --resume", param_hint="--orders")
        _verify_orders(as_json)
        return
    if folder is not None and resume is not None:
        raise typer.BadParameter("an export is always verified as a whole", param_hint="--resume")
    settings = read_settings()
    anchored = _read_anchors(settings, anchors, key) if anchors is not None else []
    with ProgressDisplay("verified") as display:
        if folder is not None:
            report = verify_export(folder, anchors=anchored, on_progress=display.show)
        else:
            report = _verify_log(settings, anchored, resume, display)
    try:
        if folder is None:
            report = _with_snapshots(settings, report)
    finally:  # What was found in the log is told, whatever becomes of the snapshots.
        if as_json:
            print_json(msgspec.to_builtins(report))
        else:
            _print(report)
    if not report.ok:
        raise typer.Exit(Exit.DIFFERENT)
    if resume is not None:
        resume.unlink(missing_ok=True)


def _verify_orders(as_json: bool) -> None:
    differences = run(order_differences(read_settings().auditor_dsn))
    if as_json:
        print_json(msgspec.to_builtins(differences))
    else:
        for d in differences:
            typer.echo(f"position {d.position}, order {d.order_id} of {d.account}: says {d.carried}, is {d.folded}")
        typer.echo(
            f"{len(differences)} orders differ" if differences else "ok: every order is what its last event says"
        )
    if differences:
        raise typer.Exit(Exit.DIFFERENT)


@audit.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A folder that is empty or does not exist yet.")],
    rows: Annotated[Format, typer.Option("--format", help="How the rows are written.")] = Format.NDJSON,
    as_json: Json = False,
) -> None:
    """Write the log to files that can be verified without a database."""
    with ProgressDisplay("exported") as display:
        manifest = run(export_log(read_settings().auditor_dsn, folder, rows, on_progress=display.show))
    if as_json:
        print_json(msgspec.to_builtins(manifest))
        return
    for head in manifest.shards:
        typer.echo(f"shard {head.shard}: {head.events} events, {head.commits} commits, head {head.hash}")


@audit.command()
def anchor(
    file: Annotated[Path | None, typer.Argument(help="File to append to; by default standard output.")] = None,
    key: Annotated[
        Path | None, typer.Option(help=f"Signing key, created on first use; by default {KEY_FILE} in the data folder.")
    ] = None,
) -> None:
    """Sign the log's head, one JSON line per shard.

    Keep the lines where nobody who can write to the log can change them.
    """
    from foldbook.audit.anchor import encode, sign, signing_key

    settings = read_settings()
    if key is None:
        make_data_folder(settings.data_dir)
    signer = signing_key(key or _key_file(settings))
    lines = encode(sign(checkpoint, signer) for checkpoint in run(current_checkpoints(settings.auditor_dsn)))
    if file is None:
        sys.stdout.write(lines.decode())
    else:
        with open_own(file, "ab") as output:
            output.write(lines)


def _read_anchors(settings: Settings, anchors: Path, key: Path | None) -> Sequence[Checkpoint]:
    from foldbook.audit.anchor import public_key, public_key_path, read_anchors

    return read_anchors(anchors, public_key(key or public_key_path(_key_file(settings))))


def _key_file(settings: Settings) -> Path:
    check_data_folder(settings.data_dir)
    return settings.data_dir / KEY_FILE


def _verify_log(
    settings: Settings, anchors: Sequence[Checkpoint], resume: Path | None, display: ProgressDisplay
) -> Report:
    verified = resuming.read(resume) if resume is not None else []

    def on_progress(reached: Checkpoint, head: Checkpoint) -> None:
        if resume is not None:
            resuming.write(resume, reached)
        display.show(head.shard, reached.events, head.events)

    return run(verify_log(settings.auditor_dsn, verified=verified, anchors=anchors, on_progress=on_progress))


def _with_snapshots(settings: Settings, report: Report) -> Report:
    from foldbook.engine.domains import DOMAINS

    snapshots = run(verify_snapshots(settings.auditor_dsn, [domain.decider for domain in DOMAINS]))
    return msgspec.structs.replace(report, ok=report.ok and not snapshots.findings, snapshots=snapshots)


def _print(report: Report) -> None:
    for shard in report.shards:
        state = "ok" if shard.ok else f"BAD from position {shard.first_bad_position}"
        size = f"{shard.events} events, {shard.commits} commits"
        typer.echo(f"shard {shard.shard}: {state}; {size}, head {shard.head_hash}")
        for f in shard.findings:
            typer.echo(f"  position {f.position}, commit {f.commit or '-'}: {f.problem}: {f.detail}")
    if report.snapshots is not None:
        found = report.snapshots
        state = f"BAD: {len(found.findings)}" if found.findings else "ok"
        typer.echo(f"snapshots: {state}; {found.same} are what the log folds to, {found.ignored} are ignored")
        for f in found.findings:
            typer.echo(f"  shard {f.shard}, position {f.position}, commit {f.commit}: {f.problem}: {f.detail}")
    for guard in report.missing_guards:
        tell(f"not protected: {guard}")


@audit.command()
def losses(
    settle: Annotated[bool, typer.Option("--settle", help="They are dealt with: doctor tells them no more.")] = False,
    as_json: Json = False,
) -> None:
    """What a process saw in the log and the log does not have, as after a failover to a replica that lagged behind."""
    from foldbook.engine.database import connect, require_log
    from foldbook.engine.losses import open_losses
    from foldbook.engine.losses import settle as settle_losses
    from foldbook.postgres import blocking

    settings = read_settings()
    require_log(settings)
    with connect(settings) as connection:
        found = open_losses(connection)
    if settle and found:
        with blocking.connect(settings.owner_dsn) as owner:
            settle_losses(owner, found[-1].number)
    if as_json:
        print_json([loss._asdict() for loss in found])
        return
    for loss in found:
        typer.echo(f"{loss.found_at}  {loss.what}, seen by {loss.process}" + (": settled" if settle else ""))
    if not found:
        typer.echo("nothing is known to be lost")
