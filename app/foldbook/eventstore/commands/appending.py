"""Appending: a batch becomes a commit, or the reason why it did not."""

from __future__ import annotations

import logging
import math
import time

from foldbook.errors import FoldbookError, StoreUnavailable
from foldbook.eventstore.commands.batch import Batch, Landing
from foldbook.eventstore.retry import retry_while_unavailable
from foldbook.eventstore.store import EventStore, Proposal, Verdict

logger = logging.getLogger(__name__)


class Appender:
    """Appends the batches of one shard. ``commits_total`` counts them."""

    def __init__(self, store: EventStore, shard: int, outage_max_s: float) -> None:
        self._store = store
        self._shard = shard
        self._outage_max_s = outage_max_s
        self.commits_total = 0
        self.committed_at_s = -math.inf
        """When the last append was committed, on the monotonic clock."""

    async def append(self, batch: Batch) -> Landing:
        """Append a batch, again and again while the database cannot be reached: the command ids make that safe."""
        resends = 0

        async def attempt() -> list[Verdict]:
            nonlocal resends
            try:
                return await self._store.append(self._shard, batch.proposals)
            except StoreUnavailable as error:
                resends += error.in_doubt
                raise

        try:
            verdicts: list[Verdict | Exception] = [*await retry_while_unavailable(attempt, self._outage_max_s)]
            self.commits_total += 1
            self.committed_at_s = time.monotonic()
        except StoreUnavailable as error:
            error.in_doubt = resends > 0
            waiting = StoreUnavailable(str(error))
            return Landing([error] * len(batch.submissions), is_resent=resends > 0, outage=waiting)
        except FoldbookError as error:
            return Landing([error] * len(batch.submissions), is_resent=resends > 0)
        except Exception:
            # One proposal that the database cannot take must not spoil the others: send them one by one.
            logger.exception("an append of %d commands failed, sending them one by one", len(batch.proposals))
            verdicts = [await self._append_alone(proposal) for proposal in batch.proposals]
        return Landing(verdicts, is_resent=resends > 0)

    async def _append_alone(self, proposal: Proposal) -> Verdict | Exception:
        try:
            (verdict,) = await retry_while_unavailable(
                lambda: self._store.append(self._shard, [proposal]), self._outage_max_s
            )
            return verdict
        except Exception as error:
            return error
