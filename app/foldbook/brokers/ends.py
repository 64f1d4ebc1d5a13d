"""Ends of orders that come before their fills.

A report of a fill may be lost, and a list of fills may lag behind. If the broker says that more of an order had traded
when it ended than was told, the end is recorded after the fills: of an entry that ends untraded the exits are canceled,
and what is told afterwards would have none.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from foldbook.brokers.doubts import lacks_fills
from foldbook.brokers.port import BrokerUnavailable, Report
from foldbook.brokers.reports import command_of
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.commands.submission import CommandResult

if TYPE_CHECKING:
    from foldbook.brokers.work import AccountWork

WAIT_S_MAX = 30.0
"""For so long an end waits for its fills, if the broker answers."""

PAUSE_S_MIN = 0.05
PAUSE_S_MAX = 2.0


class Ends:
    """The ends of one account's orders."""

    def __init__(self, work: AccountWork) -> None:
        self._work = work

    def is_early(self, report: Report, order_id: str) -> bool:
        """Is it the end of an order of which more has traded than the book knows?"""
        if report.order_qty is None or report.cum_qty is None:
            return False
        work = self._work
        order = work.book.orders.get(order_id)
        if order is None:
            return False
        is_present_leg = report.client_order_id == work.ids.of(order_id, order.leg)
        return is_present_leg and lacks_fills(order, report.order_qty, report.cum_qty)

    async def record_after_fills(self, report: Report, order_id: str) -> CommandResult | None:
        """Record it when its fills are in the book; or, if they do not come, without them: nothing is invented."""
        work, backoff = self._work, Backoff(PAUSE_S_MIN, PAUSE_S_MAX)
        waited_s = 0.0
        while waited_s < WAIT_S_MAX and self.is_early(report, order_id):
            pause_s = backoff.next_s()
            await work.wait_while(lambda: self.is_early(report, order_id), pause_s)
            # A broker that does not answer could not tell them.
            with suppress(BrokerUnavailable):
                await work.reconciling.poll()
                waited_s += pause_s
        command = command_of(report, order_id, work.desk.now())
        return None if command is None else await work.record(command, report.raw).done
