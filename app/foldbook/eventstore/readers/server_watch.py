"""Whether a reader that connects again meets the run of the server that it read before."""

from __future__ import annotations

from foldbook.postgres.calls import call
from foldbook.postgres.connection import Connection

_IDENTITY = call("eventstore.server_identity", 0)


class ServerWatch:
    """One per reader that keeps something from one connection to the next."""

    def __init__(self) -> None:
        self._met: tuple[object, object] | None = None

    async def is_another(self, connection: Connection) -> bool:
        """Ask each new connection. True: another log, another server, or one that was started again; it may not have
        what was read."""
        row = await connection.fetchrow(_IDENTITY)
        before, self._met = self._met, None if row is None else (row["log_id"], row["started_at"])
        return before is not None and before != self._met
