"""The data folder: what the exchange was is what it is again, whatever the moment at which its process ended."""

from __future__ import annotations

import logging
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldbook.venue import store as module
from foldbook.venue.exchange import Exchange
from foldbook.venue.journal import VenueDataError, line_of
from foldbook.venue.messages import AnyMessage, Cancel, Fund
from foldbook.venue.state import ExchangeState, exchange_of, state_of
from foldbook.venue.store import Store, VenueAlreadyRuns
from tests.venue.exchanging import anything, exchange, quote, submit, timed

MESSAGES: list[AnyMessage] = [
    quote(1, "99", "101", "9", "4"),
    submit("a", "o", "BUY", "10", at=1, limit_price="101"),
    submit("b", "o", "SELL", "3", at=2, limit_price="100.5"),
    submit("a", "p", "BUY", at=2, limit_price="50"),
    Cancel(3, "a", "p"),
    Fund(3, "a", "X", "USD", Decimal(-1)),
]


def everything(venue: Exchange) -> bytes:
    """All that the exchange knows."""
    return msgspec.json.encode((state_of(venue), venue.fills))


def write(store: Store, *messages: AnyMessage) -> None:
    for message in messages:
        store.exchange.apply(message)
        store.journal.write(line_of(message))


@settings(deadline=None, max_examples=300)
@given(st.lists(anything(), max_size=30), st.lists(anything(), max_size=20))
def test_a_snapshot_and_what_came_since_is_the_same_as_everything(before: list[Any], since: list[Any]) -> None:
    messages = timed([*before, *since])
    whole, first = Exchange(), Exchange()
    for message in messages[: len(before)]:
        first.apply(message)
        whole.apply(message)
    written = msgspec.msgpack.encode(state_of(first))
    again = exchange_of(msgspec.msgpack.decode(written, type=ExchangeState), list(first.fills))
    assert everything(again) == everything(whole)
    for message in messages[len(before) :]:
        assert again.apply(message).reports == whole.apply(message).reports
    assert everything(again) == everything(whole)


def test_the_exchange_is_as_it_was_after_a_crash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, *MESSAGES)
    store.leave()
    again = Store(tmp_path)
    assert everything(again.exchange) == everything(exchange(*MESSAGES))
    assert again.exchange.apply(submit("a", "o", "BUY")).is_duplicate
    fresh = again.exchange.apply(submit("a", "q", "BUY", limit_price="1"))
    assert fresh.order is not None and fresh.order.venue_order_id == "v4"
    again.leave()


def test_a_clean_stop_leaves_a_snapshot_and_an_empty_journal(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, *MESSAGES)
    store.close()
    assert {path.name: path.stat().st_size > 0 for path in tmp_path.iterdir()} == {
        "snapshot-1": True, "journal-1.jsonl": False, "fills-0.jsonl": True, "venue.lock": False,
    }  # fmt: skip
    again = Store(tmp_path)
    assert everything(again.exchange) == everything(exchange(*MESSAGES))
    again.close()
    assert (tmp_path / "snapshot-1").exists()  # nothing has happened: it is still good


@pytest.mark.parametrize("cut", [1, 9, 30])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    write(store, *MESSAGES)
    store.leave()
    path = tmp_path / "journal-0.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    with caplog.at_level(logging.WARNING):
        again = Store(tmp_path)
    assert "was not written as a whole" in caplog.text
    assert everything(again.exchange) == everything(exchange(*MESSAGES[:-1]))
    write(again, MESSAGES[-1])
    again.leave()
    last = Store(tmp_path)
    assert everything(last.exchange) == everything(exchange(*MESSAGES))
    last.leave()


def test_damage_in_the_middle_is_not_guessed_at(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, *MESSAGES)
    store.leave()
    path = tmp_path / "journal-0.jsonl"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"101"', b'"102"', 1))
    with pytest.raises(VenueDataError, match="the line at byte 0 is damaged"):
        Store(tmp_path)
    path.write_bytes(content)
    Store(tmp_path).leave()  # the lock is free


def test_a_torn_line_with_another_journal_behind_it_is_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, *MESSAGES)
    store.begin_journal()
    write(store, Cancel(9, "a", "o"))
    store.leave()
    path = tmp_path / "journal-0.jsonl"
    os.truncate(path, path.stat().st_size - 3)
    with pytest.raises(VenueDataError, match="there is more behind it"):
        Store(tmp_path)


def test_a_damaged_snapshot_is_not_used(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, *MESSAGES)
    store.close()
    path = tmp_path / "snapshot-1"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(VenueDataError, match="is damaged"):
        Store(tmp_path)


def test_a_crash_before_the_snapshot_is_saved_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, *MESSAGES[:3])
    store.capture()  # and never saved
    store.begin_journal()
    write(store, *MESSAGES[3:])
    store.leave()
    (tmp_path / "snapshot-1.new").write_bytes(b"half of a snap")
    again = Store(tmp_path)
    assert everything(again.exchange) == everything(exchange(*MESSAGES))
    again.leave()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fills-0.jsonl", "journal-2.jsonl", "snapshot-2", "venue.lock",
    ]  # fmt: skip


def test_fills_that_were_added_for_a_snapshot_that_never_was_do_not_count_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, *MESSAGES[:3])
    store.close()
    store = Store(tmp_path)
    write(store, *MESSAGES[3:])
    capture = store.capture()
    with (tmp_path / "fills-0.jsonl").open("ab") as file:
        file.write(capture.fills)
    store.leave()
    again = Store(tmp_path)
    assert everything(again.exchange) == everything(exchange(*MESSAGES))
    again.close()
    last = Store(tmp_path)
    assert everything(last.exchange) == everything(exchange(*MESSAGES))
    last.close()


def test_the_file_of_fills_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldbook.venue.exchange.FILLS_MAX", 10)
    monkeypatch.setattr(module, "FILLS_FILE_MAX", 20)
    store = Store(tmp_path)
    for number in range(50):
        write(store, Fund(number, "a", "X", "USD", Decimal(1)))
        if number % 5 == 4:
            was = everything(store.exchange)
            store.close()
            store = Store(tmp_path)
            assert everything(store.exchange) == was
    store.close()
    (fills,) = tmp_path.glob("fills-*")
    assert fills.name != "fills-0.jsonl" and len(fills.read_bytes().splitlines()) <= 20


def test_a_data_folder_has_one_venue(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(VenueAlreadyRuns, match="another venue runs"):
        Store(tmp_path)
    store.close()
    Store(tmp_path).close()
