"""Timers on a clock that somebody else moves."""

from __future__ import annotations

import pytest

from foldbook.strategies.timers import Timers


def test_a_timer_fires_once_when_its_time_is_reached() -> None:
    timers = Timers()
    timers.set("t", now_ns=100, at_ns=150)
    assert timers.next_ns == 150
    assert list(timers.due(149)) == []
    assert list(timers.due(150)) == [("t", 150)]
    assert list(timers.due(1000)) == []
    assert timers.next_ns is None


def test_an_interval_begins_now_and_fires_for_each_time_that_passed() -> None:
    timers = Timers()
    timers.set("t", now_ns=100, every_ns=10)
    assert list(timers.due(135)) == [("t", 110), ("t", 120), ("t", 130)]
    assert timers.next_ns == 140


def test_an_interval_may_begin_at_a_time() -> None:
    timers = Timers()
    timers.set("t", now_ns=100, at_ns=200, every_ns=10)
    assert list(timers.due(210)) == [("t", 200), ("t", 210)]


def test_a_time_that_is_over_is_now() -> None:
    timers = Timers()
    timers.set("t", now_ns=100, at_ns=50)
    assert list(timers.due(100)) == [("t", 100)]


def test_they_fire_in_order_of_time_and_then_of_being_set() -> None:
    timers = Timers()
    timers.set("b", now_ns=0, at_ns=20)
    timers.set("a", now_ns=0, at_ns=20)
    timers.set("first", now_ns=0, at_ns=10)
    timers.set("b", now_ns=0, at_ns=20)  # set again: after a
    assert list(timers.due(20)) == [("first", 10), ("a", 20), ("b", 20)]


def test_what_is_set_or_canceled_after_one_counts_for_the_next() -> None:
    timers = Timers()
    timers.set("start", now_ns=0, at_ns=10)
    timers.set("dropped", now_ns=0, at_ns=20)
    timers.set("kept", now_ns=0, at_ns=30)
    fired = []
    for name, time_ns in timers.due(30):
        fired.append((name, time_ns))
        if name == "start":
            timers.cancel("dropped")
            timers.set("added", time_ns, at_ns=15)
    assert fired == [("start", 10), ("added", 15), ("kept", 30)]


def test_an_interval_can_be_canceled_while_it_fires() -> None:
    timers = Timers()
    timers.set("t", now_ns=0, every_ns=1)
    fired = []
    for _, time_ns in timers.due(1_000_000):
        fired.append(time_ns)
        if time_ns == 3:
            timers.cancel("t")
    assert fired == [1, 2, 3]
    timers.cancel("t")  # it is gone already
    assert timers.next_ns is None


def test_a_timer_needs_a_time_or_an_interval_above_zero() -> None:
    timers = Timers()
    with pytest.raises(ValueError, match="needs a time or an interval"):
        timers.set("t", now_ns=0)
    with pytest.raises(ValueError, match="every_ns must be greater than 0, not 0"):
        timers.set("t", now_ns=0, every_ns=0)
