"""Group commit: what is told is on disk first, and the journal is cut into pieces while it goes on."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from foldbook.venue.messages import AnyMessage, Fund
from foldbook.venue.records import Report
from foldbook.venue.server.commits import Commits, VenueStopped
from foldbook.venue.store import Store
from tests.venue.exchanging import quote
from tests.venue.test_store import everything


def fund(number: int) -> Fund:
    return Fund(number, "a", "X", "USD", Decimal(number))


class Running:
    """Commits on a store, and what they tell."""

    def __init__(self, folder: Path, journal_bytes_max: int = 1 << 20) -> None:
        self.store = Store(folder, journal_bytes_max)
        self.told: list[int] = []
        self.has_ended = False
        self.commits = Commits(self.store, self._publish, self._fail)
        self.work = asyncio.create_task(self.commits.run())

    def _publish(self, reports: list[Report]) -> None:
        self.told += [report.seq for report in reports]

    def _fail(self) -> None:
        self.has_ended = True

    def add(self, message: AnyMessage, *, is_urgent: bool = True) -> None:
        self.commits.add(message, self.store.exchange.apply(message).reports, is_urgent=is_urgent)

    async def stop(self) -> None:
        self.commits.stop()
        await self.work


async def test_one_write_serves_all_that_came_in_the_meantime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path)
    writing, go_on, written = threading.Event(), threading.Event(), []
    write = running.store.journal.write

    def slow(lines: bytes) -> None:
        writing.set()
        go_on.wait(30)
        written.append(lines.count(b"\n"))
        write(lines)

    monkeypatch.setattr(running.store.journal, "write", slow)
    running.add(fund(1))
    first = asyncio.create_task(running.commits.durable())
    await asyncio.to_thread(writing.wait, 30)
    for number in range(2, 7):
        running.add(fund(number))
    others = [asyncio.create_task(running.commits.durable()) for _ in range(5)]
    await asyncio.sleep(0)
    assert running.told == [] and not first.done()
    go_on.set()
    await asyncio.gather(first, *others)
    assert running.told == [1, 2, 3, 4, 5, 6] and written == [1, 5]
    await running.stop()
    running.store.leave()


async def test_market_data_that_changes_nothing_waits_for_company(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.add(quote(1, "99", "101"), is_urgent=False)
    running.add(fund(1))
    await running.commits.durable()
    assert running.store.journal.size_bytes > 0
    written_bytes = running.store.journal.size_bytes
    running.add(quote(2, "99", "101"), is_urgent=False)
    await running.commits.durable()  # whoever asks something does not wait for it
    assert running.store.journal.size_bytes == written_bytes
    await running.stop()
    assert running.store.journal.size_bytes > written_bytes
    before = everything(running.store.exchange)
    running.store.leave()
    again = Store(tmp_path)
    assert everything(again.exchange) == before
    again.leave()


async def test_a_full_journal_makes_room_for_the_next(tmp_path: Path) -> None:
    running = Running(tmp_path, journal_bytes_max=500)
    for number in range(1, 200):
        running.add(fund(number))
        if number % 7 == 0:
            await running.commits.durable()
    await running.commits.durable()
    await running.stop()
    assert running.told == list(range(1, 200))
    names = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    assert names == {"snapshot", "journal", "fills", "venue.lock"}
    (snapshot,) = tmp_path.glob("snapshot-*")
    assert int(snapshot.name.partition("-")[2]) > 3
    before = everything(running.store.exchange)
    running.store.leave()
    again = Store(tmp_path)
    assert everything(again.exchange) == before
    again.leave()


async def test_what_cannot_be_written_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path)
    running.add(fund(1))
    await running.commits.durable()

    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(running.store.journal, "write", full)
    running.add(fund(2))
    with pytest.raises(VenueStopped, match="No space left"):
        await running.commits.durable()
    await running.work
    assert running.told == [1] and running.has_ended and running.commits.has_failed
    with pytest.raises(VenueStopped):
        await running.commits.durable()
    running.store.leave()
    again = Store(tmp_path)
    assert again.exchange.report_count == 1
    again.leave()


async def test_a_snapshot_that_cannot_be_saved_ends_the_venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path, journal_bytes_max=10)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(running.store, "save", full)
    for number in (1, 2):
        running.add(fund(number))
        await running.commits.durable()
    await running.stop()
    assert running.has_ended
    before = everything(running.store.exchange)
    running.store.leave()
    again = Store(tmp_path)
    assert everything(again.exchange) == before  # nothing that was told is lost
    again.leave()
