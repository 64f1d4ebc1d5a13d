"""A server's clock that was ahead and was put back."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.finding import Finding, Patient

_AHEAD = "select shard, ahead_s, until from eventstore.clock_ahead()"
_END = "update eventstore.leases set expires_at = clock_timestamp() where name = :'name'"
_LEASES = """
select name, holder, extract(epoch from expires_at - clock_timestamp())::double precision
from eventstore.lease_status('')
where renewed_at > clock_timestamp() + interval '5 s'
"""


def check(patient: Patient) -> Iterator[Finding]:
    """The log and the leases that were written while the clock was ahead."""
    for shard, ahead_s, until in patient.connection.execute(_AHEAD):
        yield Finding(
            f"the clock of shard {shard} is {ahead_s:.0f} s ahead of the server's: its last commit was recorded at "
            f"{until:%Y-%m-%d %H:%M:%S} UTC",
            "commits carry that time until the server's clock gets there; until then nobody can say what was recorded "
            "up to a time since the clock was ahead, and who asks is refused. Positions and their order are right",
            "see that the server's clock is right (chronyc tracking, timedatectl), and ask by log position meanwhile",
        )
    for name, holder, left_s in patient.connection.execute(_LEASES):
        yield Finding(
            f"the lease {name} was taken while the clock was ahead, by {holder}, and lasts for {left_s:.0f} s more",
            "if that process is gone, nobody can take over before",
            f'foldbook psql --owner -v name={name} <<< "{_END}"',
        )
