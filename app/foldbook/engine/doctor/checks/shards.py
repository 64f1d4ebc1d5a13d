"""Whether the settings speak of the log that is there."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.finding import Finding, Patient

_COUNT = "select shard_count, (select count(*) from eventstore.shards) from eventstore.log_info"


def check(patient: Patient) -> Iterator[Finding]:
    """Another number of shards than the log has."""
    row = patient.connection.execute(_COUNT).fetchone()
    if row is None:
        return
    count, lockable = row
    if count != patient.settings.shards:
        yield Finding(
            f"FOLDBOOK_SHARDS is {patient.settings.shards}, and the log has {count} shards",
            "no process begins; a command would go to a shard that is not its account's",
            f"set FOLDBOOK_SHARDS={count}",
        )
    if lockable != count:
        yield Finding(
            f"eventstore.shards has {lockable} rows, and the log {count} shards",
            "a writer locks the row of its shard, and takes no command without it",
            "foldbook migrate",
        )
