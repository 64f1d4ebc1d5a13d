"""Feeds without a network: files replayed on a clock, the queue in which the latest quote wins, data as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from itertools import pairwise

import pytest

from foldbook.market.errors import MarketDataError
from foldbook.market.feeds import wire
from foldbook.market.feeds.backlog import Backlog
from foldbook.market.feeds.pump import pump
from foldbook.market.feeds.replay import Pace, Replay
from foldbook.market.feeds.told import Lost, Opened, Told, price_of
from foldbook.market.records import Bar, Datum, Quote, Trade
from foldbook.trading.values import Side
from tests.market.feeding import NOON_NS, FakeClock, Kept, Listed, S

MINUTE_NS = 60 * S
QUOTES: list[Datum] = [Quote("X", n * S, str(100 + n), str(101 + n), "1", "2") for n in (0, 1, 3)]
TRADES: list[Datum] = [Trade("Y", 1 * S, "7", "3", Side.BUY), Trade("Y", 2 * S, "8")]
BARS: list[Datum] = [Bar("Z", n * MINUTE_NS, "1", "3", "1", "2", "9", MINUTE_NS) for n in (1, 2)]


async def replayed(
    files: Sequence[Sequence[Datum]], pace: Pace, clock: FakeClock | None = None, count: int = 1_000, symbols: str = ""
) -> list[tuple[Told, int]]:
    """What is told, and when."""
    clock = clock or FakeClock()
    found: list[tuple[Told, int]] = []
    async with aclosing(Replay(lambda: files, pace, clock, frozenset(symbols)).stream()) as stream:
        async for told in stream:
            found.append((told, clock.now_ns()))
            if len(found) == count:
                break
    return found


# -- replay ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "factor"), [(1.0, 1.0), (10.0, 0.1), (0.5, 2.0)])
async def test_a_file_is_replayed_at_its_speed_with_times_of_now(speed: float, factor: float) -> None:
    found = await replayed([QUOTES], Pace(speed))
    due = [NOON_NS + round(at * factor * S) for at in (0, 1, 3)]
    assert [(told.time_ns, when) for told, when in found if isinstance(told, Quote)] == list(zip(due, due, strict=True))
    assert [told.bid for told, _ in found if isinstance(told, Quote)] == [100, 101, 103]


async def test_several_files_are_one_stream_in_the_order_of_time() -> None:
    found = await replayed([QUOTES, TRADES], Pace(is_moved=False))
    assert [told for told, _ in found] == [QUOTES[0], QUOTES[1], TRADES[0], TRADES[1], QUOTES[2]]
    assert [when - NOON_NS for _, when in found] == [0, S, S, 2 * S, 3 * S]


async def test_as_fast_as_it_is_taken_it_never_sleeps_and_times_do_not_go_back() -> None:
    clock = FakeClock()
    found = []
    async with aclosing(Replay(lambda: [QUOTES, BARS], Pace(None), clock).stream()) as stream:
        async for told in stream:
            assert not isinstance(told, Lost)
            found.append(told)
            clock.pass_time(5)
    assert clock.now_ns() == NOON_NS + 5 * len(found)
    assert [told.time_ns for told in found] == [NOON_NS + 5 * n for n in range(len(found))]
    # A bar opened when it was told to.
    opened = [told.time_ns for told in found if isinstance(told, Opened)]
    assert [told.open_time_ns for told in found if isinstance(told, Bar)] == opened


async def test_a_loop_goes_on_after_as_long_as_the_last_step_took() -> None:
    found = await replayed([QUOTES], Pace(loops=True), count=7)
    assert [when - NOON_NS for _, when in found] == [at * S for at in (0, 1, 3, 5, 6, 8, 10)]
    times = [told.time_ns for told, _ in found if isinstance(told, Quote)]
    assert times == [when for _, when in found]


async def test_original_times_rise_from_lap_to_lap() -> None:
    found = await replayed([QUOTES, BARS], Pace(None, loops=True, is_moved=False), count=40)
    times = [told.time_ns for told, _ in found if isinstance(told, Quote | Bar | Opened)]
    assert len(times) == 40
    assert all(a <= b for a, b in pairwise(times))
    assert [told for told, _ in found][:2] == [QUOTES[0], Opened("Z", 0, BARS[0].open)]  # type: ignore[union-attr]


async def test_a_file_of_one_row_loops_every_second() -> None:
    found = await replayed([QUOTES[:1]], Pace(loops=True), count=3)
    assert [when - NOON_NS for _, when in found] == [0, S, 2 * S]


async def test_an_empty_file_does_not_loop() -> None:
    assert await replayed([[]], Pace(loops=True)) == []


async def test_a_bar_opens_before_it_is_told_and_is_shorter_if_the_replay_is_faster() -> None:
    found = await replayed([BARS], Pace(60.0))
    assert [(type(told), when - NOON_NS) for told, when in found] == [
        (Opened, 0),
        (Bar, 1 * S),
        (Opened, 1 * S),
        (Bar, 2 * S),
    ]
    bars = [told for told, _ in found if isinstance(told, Bar)]
    assert [(bar.interval_ns, bar.open_time_ns - NOON_NS) for bar in bars] == [(S, 0), (S, S)]


SEVERAL = [
    Bar(symbol, minute * MINUTE_NS, "1", "3", "1", "2", interval=length * MINUTE_NS)
    for minute in range(1, 5)
    for symbol, length in (("A", 2), ("B", 1), ("C", 4))
    if minute % length == 0
]


@pytest.mark.parametrize("speed", [1.0, 3.0, 0.7, None])
async def test_bars_of_several_symbols_open_and_close_in_the_order_of_time(speed: float | None) -> None:
    apart = [[bar for bar in SEVERAL if bar.symbol == symbol] for symbol in "ABC"]
    found = await replayed([SEVERAL], Pace(speed))
    assert found == await replayed(apart, Pace(speed))
    times = [told.time_ns for told, _ in found if not isinstance(told, Lost)]
    assert times == sorted(times)
    for told, _ in found:
        if isinstance(told, Bar):
            assert (told.symbol, told.open_time_ns) in [
                (each.symbol, each.time_ns) for each, _ in found if isinstance(each, Opened)
            ]


@pytest.mark.parametrize("speed", [1.0, 3.0, 0.7, None])
async def test_a_bar_that_comes_twice_opens_once_and_not_later(speed: float | None) -> None:
    found = [told for told, _ in await replayed([[BARS[0], BARS[0], BARS[1]]], Pace(speed))]
    assert [type(told) for told in found] == [Opened, Bar, Bar, Opened, Bar]
    bars = [told for told in found if isinstance(told, Bar)]
    assert bars[1].open_time_ns <= bars[0].open_time_ns < bars[0].time_ns <= bars[2].open_time_ns


async def test_only_the_symbols_that_are_wanted_are_told() -> None:
    found = await replayed([QUOTES, TRADES], Pace(), symbols="Y")
    assert {told.symbol for told, _ in found if not isinstance(told, Lost)} == {"Y"}


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_is_greater_than_zero(speed: float) -> None:
    with pytest.raises(ValueError, match="speed must be greater than 0"):
        Replay(list, Pace(speed), FakeClock())


# -- the queue ---------------------------------------------------------------------------------------------------


def quote(symbol: str, n: int) -> Quote:
    return Quote(symbol, n, str(n), str(n))


def taken(backlog: Backlog) -> list[Told]:
    found: list[Told] = []
    while (told := backlog.take()) is not None:
        found.append(told)
    return found


def test_while_its_reader_keeps_up_everything_passes_in_order() -> None:
    backlog = Backlog(4)
    for n in range(50):
        backlog.put(quote("X", n))
        backlog.put(Trade("X", n, "1"))
        assert taken(backlog) == [quote("X", n), Trade("X", n, "1")]
    assert backlog.take_dropped() == 0


def test_when_it_is_full_the_latest_quote_of_each_symbol_wins() -> None:
    backlog = Backlog(6)
    trade = Trade("X", 0, "1")
    backlog.put(trade)
    for n in range(1, 7):
        backlog.put(quote("XY"[n % 2], n))
    assert taken(backlog) == [trade, quote("X", 4), quote("Y", 5), quote("X", 6)]
    assert backlog.take_dropped() == 3
    assert backlog.take_dropped() == 0


def test_what_cannot_be_replaced_goes_the_oldest_first() -> None:
    backlog = Backlog(4)
    for n in range(10):
        backlog.put(Trade("X", n, "1"))
    left = taken(backlog)
    assert left == [Trade("X", n, "1") for n in range(10 - len(left), 10)]
    assert len(left) <= 4
    assert backlog.take_dropped() == 10 - len(left)


async def test_who_waits_for_room_loses_nothing() -> None:
    backlog = Backlog(3)

    async def write() -> None:
        for n in range(100):
            await backlog.room()
            backlog.put(quote("X", n))

    writing = asyncio.create_task(write())
    found: list[Told] = []
    while len(found) < 100:
        await backlog.wait()
        found += taken(backlog)
    await writing
    assert found == [quote("X", n) for n in range(100)]
    assert backlog.take_dropped() == 0


# -- from source to sink -----------------------------------------------------------------------------------------


async def test_every_sink_gets_the_data_and_what_was_lost_is_told(caplog: pytest.LogCaptureFixture) -> None:
    one, other = Kept(), Kept()
    told = [QUOTES[0], Lost(3, "slow"), Opened("X", 0, TRADES[0].price), Lost(None, "gone"), *TRADES]  # type: ignore[union-attr]
    assert await pump(Listed(told), [one, other], waits=False) == 3
    assert one.data == other.data == [one for one in told if not isinstance(one, Lost)]
    assert [record.message for record in caplog.records] == [
        "3 data lost: slow",
        "an unknown number of data lost: gone",
    ]
    assert one.waited == 0


async def test_a_feed_that_waits_asks_for_room_before_each_datum() -> None:
    sink = Kept()
    await pump(Listed(QUOTES), [sink], waits=True)
    assert sink.waited == len(QUOTES)


def test_the_last_price_is_the_middle_the_trade_or_the_close() -> None:
    assert [str(price_of(datum)) for datum in (QUOTES[0], TRADES[0], BARS[0])] == ["100.5", "7", "2"]


# -- as JSON -----------------------------------------------------------------------------------------------------


def test_what_a_venue_is_told() -> None:
    assert wire.encode([Quote("X", NOON_NS, "0.00000010", "2", None, "3")]) == (
        b'[{"symbol":"X","time":"2026-01-02T12:00:00+00:00","bid":"0.0000001","ask":"2","ask_size":"3"}]'
    )
    assert wire.encode([Trade("X", NOON_NS, "1", aggressor=Side.SELL)]) == (
        b'[{"symbol":"X","time":"2026-01-02T12:00:00+00:00","price":"1","aggressor":"SELL"}]'
    )
    assert wire.encode(BARS[:1]) == (
        b'[{"symbol":"Z","time":"1970-01-01T00:01:00+00:00","open":"1","high":"3","low":"1","close":"2","volume":"9",'
        b'"interval_s":60}]'
    )


def test_frames_are_read() -> None:
    time = '"time": "1970-01-01T00:01:00Z"'
    assert wire.decode('{"kind": "HELLO", "time": "2026-01-02T12:00:00Z"}') is None
    assert wire.decode(f'{{"kind": "QUOTE", "symbol": "X", {time}, "bid": "1", "ask": "2", "bid_size": "3"}}') == Quote(
        "X", MINUTE_NS, "1", "2", "3"
    )
    assert wire.decode(f'{{"kind": "TRADE", "symbol": "X", {time}, "price": "1", "aggressor": "BUY"}}') == Trade(
        "X", MINUTE_NS, "1", aggressor=Side.BUY
    )
    assert (
        wire.decode(
            f'{{"kind": "BAR", "symbol": "Z", {time}, "open": "1", "high": "3", "low": "1", "close": "2",'
            ' "volume": "9", "interval_s": 60}'
        )
        == BARS[0]
    )
    opened = wire.decode(f'{{"kind": "OPEN", "symbol": "X", {time}, "price": "1.5"}}')
    assert isinstance(opened, Opened)
    assert (opened.time_ns, str(opened.price)) == (MINUTE_NS, "1.5")
    lost = wire.decode('{"kind": "LOST", "count": 7}')
    assert isinstance(lost, Lost)
    assert lost.count == 7


@pytest.mark.parametrize(
    "frame", ["", "[]", "{}", '{"kind": "QUOTE"}', '{"kind": "LOST", "count": null}', '{"kind": "TRADE", "time": "x"}']
)
def test_a_frame_that_makes_no_sense_is_an_error(frame: str) -> None:
    with pytest.raises(MarketDataError, match="cannot be read"):
        wire.decode(frame)
