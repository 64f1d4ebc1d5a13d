"""A primary, its replica, and what happens between them when the one takes over from the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.conftest import prepare
from tests.machinery.servers import Rack, Server
from tests.waiting import until

_WAITING_FOR_REPLICA = """
select pid from pg_stat_activity where wait_event = 'SyncRep' and query ilike '%eventstore.append%'
"""


class Pair:
    """``dsn`` leads to whichever of the two takes commands."""

    def __init__(self, rack: Rack, *, is_synchronous: bool = False) -> None:
        self.primary = rack.primary()
        prepare(self.primary.dsn)
        self.replica = rack.replica(self.primary)
        self.dsn = any_of(self.primary, self.replica)
        if is_synchronous:
            self.primary.configure(synchronous_standby_names="replica")

    @contextmanager
    def silent_replica(self) -> Iterator[None]:
        """The replica gets nothing meanwhile."""
        (receiver,) = [
            child for child in psutil.Process(self.replica.pid).children() if "walreceiver" in " ".join(child.cmdline())
        ]
        receiver.suspend()
        try:
            yield
        finally:
            receiver.resume()

    async def waiting_for_replica(self) -> int:
        """Wait until an append waits for the replica; the process of its session."""
        found: list[tuple[object, ...]] = []

        def is_waiting() -> bool:
            found[:] = self.primary.execute(_WAITING_FOR_REPLICA)
            return bool(found)

        await until(is_waiting)
        return int(str(found[0][0]))

    def fail_over(self) -> None:
        """The primary is killed, and the replica takes over with what it has."""
        self.primary.kill()
        self.take_over()

    def take_over(self) -> None:
        """The replica becomes the primary."""
        self.replica.promote()
        # A primary of its own, which waits for nobody.
        self.replica.execute("alter system set synchronous_standby_names = ''")
        self.replica.execute("select pg_reload_conf()")


def any_of(*servers: Server, role: str = "foldbook") -> str:
    places = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://{role}@{places}/foldbook?target_session_attrs=read-write"
