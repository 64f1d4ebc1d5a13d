"""Read tables that do not follow the log."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.finding import Finding, Patient

_PROJECTIONS = "select name, shard, error from eventstore.projection_status() where error is not null"


def check(patient: Patient) -> Iterator[Finding]:
    """A projection that is stopped at an event, or whose rounds take too long."""
    for name, shard, error in patient.connection.execute(_PROJECTIONS):
        if error.get("events", 1) > 1:
            yield Finding(
                f"projection {name} did not fold {error['events']} events from position {error['position']} of shard "
                f"{shard} at once: {error['message']} ({error['sqlstate']})",
                "it takes smaller and smaller rounds, and its read tables are behind until they succeed",
                f"see what it waits for: foldbook projections status {name}, and pg_stat_activity in foldbook psql",
            )
            continue
        yield Finding(
            f"projection {name} is stopped at position {error['position']} of shard {shard}: "
            f"{error['message']} ({error['sqlstate']})",
            "its read tables are as they were before that event, and everything that asks them is out of date",
            f"correct the projection's file, or skip the event: foldbook projections skip {name} "
            f'--position {error["position"]} --reason "..."',
        )
