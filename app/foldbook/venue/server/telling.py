"""Who is told of reports, and what goes wrong with that on request."""

from __future__ import annotations

import asyncio

import msgspec

from foldbook.venue.records import Report
from foldbook.venue.server.documents import report_document
from foldbook.venue.server.faults import REORDER_S, Faults
from foldbook.venue.server.streams import ReportListener

_encode = msgspec.json.Encoder().encode


class Telling:
    """The listeners to reports. They get each report in order of ``seq``, once, unless a fault says otherwise."""

    def __init__(self, faults: Faults) -> None:
        self.listeners: set[ReportListener] = set()
        self._faults = faults
        self._overtaken: list[tuple[str, bytes]] = []
        """Frames that wait for their successor."""
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        """When the last delayed frame is due: none goes before it."""

    def tell(self, reports: list[Report]) -> None:
        if not self.listeners and not self._faults.is_any_of_reports:
            return
        for report in reports:
            self._tell(report.account, _encode(report_document(report)))

    def _tell(self, account: str, frame: bytes) -> None:
        faults = self._faults
        if faults.take("drop"):
            return
        if faults.take("disconnect"):
            self.end("disconnected")
            return
        if faults.take("reorder"):
            self._overtaken.append((account, frame))
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(REORDER_S, self._catch_up)
            return
        self._send(account, frame)
        if faults.take("repeat"):
            self._send(account, frame)
        self._catch_up()

    def _catch_up(self) -> None:
        """Send what was overtaken: each after its successor."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._overtaken:
            self._send(*self._overtaken.pop())

    def _send(self, account: str, frame: bytes) -> None:
        delay_s = self._faults.left.delay_ms / 1000
        loop = asyncio.get_running_loop()
        if not delay_s and self._due_s <= loop.time():
            self._deliver(account, frame)
            return
        self._due_s = max(self._due_s, loop.time() + delay_s)
        loop.call_at(self._due_s, self._deliver, account, frame)

    def _deliver(self, account: str, frame: bytes) -> None:
        for listener in self.listeners:
            if listener.account is None or listener.account == account:
                listener.add(frame)

    def end(self, why: str) -> None:
        """End all streams."""
        for listener in self.listeners:
            listener.end(why)
        self.listeners.clear()
