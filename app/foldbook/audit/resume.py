"""A file that keeps how far a verification is, so that the next one can go on from there.

It is trusted: a verification that goes on from a checkpoint does not look at what was before it, except that the commit
there still has the hash it had. Whoever does not trust the file's folder starts afresh.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from foldbook.audit.report import AuditError, Checkpoint


def read(path: Path) -> list[Checkpoint]:
    """The checkpoints reached, one per shard; none if there is no such file yet. Raises :class:`AuditError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Checkpoint])
    except FileNotFoundError:
        return []
    except msgspec.DecodeError as error:
        raise AuditError(f"{path} is no file of a verification ({error}): remove it to start afresh") from error


def write(path: Path, reached: Checkpoint) -> None:
    """Replace the checkpoint of one shard."""
    others = [checkpoint for checkpoint in read(path) if checkpoint.shard != reached.shard]
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(msgspec.json.encode([*others, reached]))
    new.replace(path)
