"""Whether the database takes writes, and what will keep it from that: read-only servers, full queues and disks."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.checks.holding import is_long_ago, sessions_of
from foldbook.engine.doctor.finding import Finding, Patient

QUEUE_SHARE = 0.25
KEPT_BYTES_MAX = 1 << 30

_WRITING = "select is_replica, read_only_by, notify_queue_usage, waits_for_replicas from audit.writing()"
_KEPT = "select slot, is_active, is_logical, kept_bytes, is_bounded from audit.kept_wal()"
_REPLICAS = "select name, sync_state from audit.replicas()"
_SYNCHRONOUS = ("sync", "quorum")


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
    """``sync_state`` is not always shown. That somebody waits is."""
    replicas = patient.connection.execute(_REPLICAS).fetchall()
    waiting = sum(is_long_ago(session.waits_for_replicas_since) for session in sessions_of(patient))
    if waiting or not any(state is None or state in _SYNCHRONOUS for _, state in replicas):
        attached = ", ".join(name if state is None else f"{name} ({state})" for name, state in replicas)
        yield Finding(
            f"commits wait for replicas ({waits_for}), and "
            + (f"those that are connected are not enough: {attached}" if attached else "none is connected")
            + (f"; {waiting} sessions wait" if waiting else ""),
            "no command is answered until those are there that it names",
            "start the replica, name one that is connected (alter system set synchronous_standby_names = ...), or let "
            "commits go without it: alter system reset synchronous_standby_names; then select pg_reload_conf()",
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
