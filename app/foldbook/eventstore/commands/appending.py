"""Appending: a batch becomes a commit, or the reason why it did not."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from foldbook.errors import FoldbookError, StoreUnavailable
from foldbook.eventstore.commands.batch import Batch, Landing, Overtaken
from foldbook.eventstore.commands.proving import LatestAppend
from foldbook.eventstore.retry import retry_while_unavailable
from foldbook.eventstore.store import EventStore, Proposal, Verdict

logger = logging.getLogger(__name__)


class Appender:
    """Appends the batches of one shard. ``commits_total`` counts them."""

    def __init__(self, store: EventStore, shard: int, shard_count: int, outage_max_s: float) -> None:
        self._store = store
        self._shard = shard
        self._shard_count = shard_count
        self._outage_max_s = outage_max_s
        self.commits_total = 0
        self.latest = LatestAppend()

    async def append(self, batch: Batch) -> Landing:
        """Append a batch, again and again while the database cannot be reached: the command ids make that safe.

        If the server that can be reached then is another one, or was started again, it may not have what the batch was
        decided on: the verdicts are ``Overtaken``, and everything is to be decided again.
        """
        failures = resends = 0

        async def attempt() -> list[Verdict]:
            nonlocal failures, resends
            try:
                return await self._send(batch.proposals, batch.run)
            except StoreUnavailable as error:
                resends += error.in_doubt
                failures += 1
                if failures > 1:  # A connection that was lost is made again, and nobody need know.
                    self.latest = LatestAppend(time.monotonic(), error)
                raise

        try:
            verdicts: list[Verdict | Exception] = [*await retry_while_unavailable(attempt, self._outage_max_s)]
            self.commits_total += 1
            self.latest = LatestAppend(time.monotonic())
        except StoreUnavailable as error:
            error.in_doubt = resends > 0
            waiting = StoreUnavailable(str(error))
            return Landing([error] * len(batch.submissions), is_resent=resends > 0, outage=waiting)
        except FoldbookError as error:
            return Landing([error] * len(batch.submissions), is_resent=resends > 0)
        except Exception:
            # One proposal that the database cannot take must not spoil the others: send them one by one.
            logger.exception("an append of %d commands failed, sending them one by one", len(batch.proposals))
            verdicts = [await self._append_alone(proposal, batch.run) for proposal in batch.proposals]
        return Landing(verdicts, is_resent=resends > 0)

    async def _append_alone(self, proposal: Proposal, run: int) -> Verdict | Exception:
        try:
            (verdict,) = await retry_while_unavailable(lambda: self._send([proposal], run), self._outage_max_s)
            return verdict
        except Exception as error:
            return error

    async def _send(self, proposals: Sequence[Proposal], run: int) -> list[Verdict]:
        if await self._store.ready(self._shard, self._shard_count) != run:
            raise Overtaken("the server is another one than when this was decided")
        return await self._store.append(self._shard, proposals)
