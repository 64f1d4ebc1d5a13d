"""A file that records the progress of a verification, so that the next one can continue from there.

The file is trusted: a verification that continues from a checkpoint does not read what lies before it, except to check
that the commit there still has the same hash. If you do not trust the file's folder, start over.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from foldbook.audit.reading import decode, read_whole
from foldbook.audit.report import AuditError, Checkpoint
from foldbook.postgres.data_folder import open_own

_CHECKPOINTS = msgspec.json.Decoder(list[Checkpoint])


def read(path: Path) -> list[Checkpoint]:
    """The checkpoints reached, one per shard; none if there is no such file yet. Raises :class:`AuditError`."""
    if not path.exists():
        return []
    try:
        return decode(_CHECKPOINTS, read_whole(path), str(path), msgspec.json.encode)
    except AuditError as error:
        raise AuditError(f"this is not the file of a verification: remove it to start over: {error}") from error


def write(path: Path, reached: Checkpoint) -> None:
    """Replace the checkpoint of one shard."""
    others = [checkpoint for checkpoint in read(path) if checkpoint.shard != reached.shard]
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open_own(new, "xb") as file:
        file.write(msgspec.json.encode([*others, reached]))
    new.replace(path)
