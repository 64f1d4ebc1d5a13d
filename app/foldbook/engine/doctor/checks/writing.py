"""Whether the database takes writes, and what will keep it from that: read-only servers, full queues and disks."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.finding import Finding, Patient

QUEUE_SHARE = 0.25
KEPT_BYTES_MAX = 1 << 30

_WRITING = "select is_replica, read_only_by, notify_queue_usage, waits_for_replicas from audit.writing()"
_KEPT = "select slot, is_active, is_logical, kept_bytes, is_bounded from audit.kept_wal()"
_ATTACHED = "select count(*) from pg_stat_replication"


def check(patient: Patient) -> Iterator[Finding]:
    """What keeps commits from happening."""
    row = patient.connection.execute(_WRITING).fetchone()
    assert row is not None
    is_replica, read_only_by, usage, waits_for = row
    if is_replica:
        yield Finding(
            "the server is a replica",
            "it can be verified, exported and asked, and takes no commands",
            "point DATABASE_URL at the primary, or promote this one: select pg_promote()",
        )
    elif read_only_by is not None:
        yield Finding(
            f"sessions are read-only: default_transaction_read_only is on ({read_only_by})",
            "every command is answered with 503; hosters do this when a disk is full, operators to fence a server",
            "when the cause is gone, where it was set, as whoever set it: begin read write; alter database ... reset "
            "default_transaction_read_only; commit",
        )
    if usage > QUEUE_SHARE:
        yield Finding(
            f"the queue of notifications is {usage:.0%} full",
            "some session listens in a transaction that has lasted for long; when it is full, nobody can notify",
            "end that session: the server's log names it, and doctor names long transactions",
        )
    if waits_for is not None and not is_replica:
        yield from _replicas(patient, waits_for)
    yield from _slots(patient)


def _replicas(patient: Patient, waits_for: str) -> Iterator[Finding]:
    row = patient.connection.execute(_ATTACHED).fetchone()
    if row is not None and row[0] == 0:
        yield Finding(
            f"commits wait for replicas ({waits_for}), and none is connected",
            "no command is answered until one is",
            "start the replica, or let commits go without it: alter system reset synchronous_standby_names, then "
            "select pg_reload_conf()",
        )


def _slots(patient: Patient) -> Iterator[Finding]:
    for slot, is_active, is_logical, kept_bytes, is_bounded in patient.connection.execute(_KEPT):
        if kept_bytes > KEPT_BYTES_MAX and not is_bounded:
            kind = "logical" if is_logical else "physical"
            yield Finding(
                f"the server keeps {kept_bytes >> 20} MiB of WAL for the {kind} replication slot {slot}, "
                f"{'whose reader is behind' if is_active else 'which nobody reads'}",
                "it keeps ever more until the disk is full, and then nothing can be committed",
                f"start its reader, or as a superuser: select pg_drop_replication_slot('{slot}'); "
                "max_slot_wal_keep_size bounds it",
            )
