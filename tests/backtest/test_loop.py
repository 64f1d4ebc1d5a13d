"""What a backtest promises: the same stream from the same run, nothing from the future, an end that is a fact."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldbook.backtest.report import html
from foldbook.backtest.run import BacktestError, Prices, run
from foldbook.backtest.statistics import statistics_of
from foldbook.backtest.summary import amount, percentage
from foldbook.backtest.sweep import run_sweep
from foldbook.resources import ROOT
from foldbook.strategies.errors import StrategyError
from foldbook.venue.orders import Costs
from foldbook.venue.orders import Path as BarPath
from tests.backtest.data import Ohlc, bars, quotes, timed_bars, trades
from tests.backtest.running import backtest, job
from tests.backtest.scripted import Once

RISING = [
    ("100", "101", "99", "100"),
    ("101", "103", "100", "102"),
    ("102", "103", "97", "98"),
    ("98", "105", "98", "104"),
]


# -- the same run, the same stream -------------------------------------------------------------------------------


def test_two_runs_give_the_same_stream(tmp_path: Path) -> None:
    data = bars(tmp_path, RISING)
    first, second = backtest("Crossing", data), backtest("Crossing", data)
    assert first.stream_hash == second.stream_hash
    assert backtest("Crossing", data, parameters={"quantity": "2"}).stream_hash != first.stream_hash


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_another_process_with_another_seed_gives_the_same_stream(tmp_path: Path, seed: str) -> None:
    data = bars(tmp_path, RISING)
    program = (
        "from tests.backtest.running import backtest; import sys; print(backtest('Crossing', sys.argv[1]).stream_hash)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "app")])}
    printed = subprocess.run(
        [sys.executable, "-c", program, data], env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == backtest("Crossing", data).stream_hash


def test_a_worker_of_a_sweep_gives_the_same_result(tmp_path: Path) -> None:
    asked = job("Crossing", bars(tmp_path, RISING))
    tried = [{"quantity": "1"}, {"quantity": "2"}]
    alone = run_sweep(partial(run, asked), tried, processes=1)
    assert run_sweep(partial(run, asked), tried, processes=2) == alone


# -- nothing from the future -------------------------------------------------------------------------------------


def test_what_a_strategy_is_given_at_the_open_says_nothing_of_the_bar(tmp_path: Path) -> None:
    """A strategy that asserts so, and buys at every open: what the bars do after the open changes none of its fills."""
    one = backtest("Peeking", bars(tmp_path, RISING))
    assert one.error is None
    (tmp_path / "other").mkdir()
    other = backtest("Peeking", bars(tmp_path / "other", [(o, "200", "1", "50") for o, *_ in RISING]))
    assert [(f.time, f.price, f.quantity) for f in one.fills] == [(f.time, f.price, f.quantity) for f in other.fills]


def test_a_decision_at_a_close_is_filled_at_the_next_open(tmp_path: Path) -> None:
    result = backtest("Crossing", bars(tmp_path, RISING))
    # The close rises to 102: bought at the open of the third bar. It falls to 98: reversed at the fourth.
    assert [(f.side.value, str(f.price), str(f.quantity)) for f in result.fills] == [
        ("BUY", "102", "1"),
        ("SELL", "98", "1"),
        ("SELL", "98", "1"),
    ]


def test_timers_fire_when_they_are_due(tmp_path: Path) -> None:
    result = backtest("Ticking", bars(tmp_path, RISING))
    # Every twelve hours after the first open: seven before the end. One that comes as a bar opens is filled at its
    # open, one that comes at noon at the next open; so the last one is not filled.
    assert result.orders == 7
    assert result.error is None
    assert len(result.fills) == 6


# -- the end is a fact -------------------------------------------------------------------------------------------


def test_a_strategy_that_raises_is_stopped_and_its_orders_are_canceled(tmp_path: Path) -> None:
    result = backtest("Raising", bars(tmp_path, RISING))
    assert result.error == "RuntimeError: the third bar"
    assert (result.orders, result.fills) == (1, [])


@pytest.mark.parametrize("strategy", ["Endless", "Sleepless"])
def test_a_strategy_that_answers_itself_without_end_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.setattr("foldbook.backtest.loop.CASCADE_MAX", 50)
    result = backtest(strategy, bars(tmp_path, RISING))
    assert result.error is not None
    assert "without end" in result.error


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"account": "a/b/live"}, BacktestError, "a/b/live is not an account of a backtest"),
        ({"strategy": "tests.backtest.scripted:Nobody"}, StrategyError, "Nobody"),
    ],
)
def test_what_cannot_be_run_says_so(tmp_path: Path, fields: dict[str, Any], error: type[Exception], says: str) -> None:
    asked = job("Crossing", bars(tmp_path, RISING))
    changed = type(asked)(**{**{name: getattr(asked, name) for name in asked.__struct_fields__}, **fields})
    with pytest.raises(error, match=says):
        run(changed, {})


def test_symbols_of_several_currencies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match="BTC-EUR in EUR"):
        backtest("Crossing", bars(tmp_path, RISING, "BTC-USDT"), bars(tmp_path, RISING, "BTC-EUR"))


# -- bars and their ticks ----------------------------------------------------------------------------------------


def test_bars_and_the_ticks_of_these_bars_give_the_same_fills(tmp_path: Path) -> None:
    """A trade at each open and close: where the path is the same, so are the fills of market orders."""
    steady = [
        ("100", "100", "100", "100"),
        ("100", "102", "100", "102"),
        ("102", "102", "98", "98"),
        ("98", "98", "98", "98"),
    ]
    as_bars = backtest("Crossing", bars(tmp_path, steady))
    ticks = [
        (f"2026-01-{day:02}T{hour}Z", price, "")
        for day, (opened, _, _, closed) in enumerate(steady, 1)
        for hour, price in (("00:00:00", opened), ("23:59:59", closed))
    ]
    (tmp_path / "ticks").mkdir()
    as_ticks = backtest("Crossing", trades(tmp_path / "ticks", ticks))
    assert [(f.side, f.quantity, f.price) for f in as_bars.fills] == [
        (f.side, f.quantity, f.price) for f in as_ticks.fills
    ]


# -- whatever the market does ------------------------------------------------------------------------------------

prices = st.integers(1, 400).map(lambda n: Decimal(n) / 4)


@st.composite
def walks(draw: st.DrawFn) -> list[Ohlc]:
    rows = []
    for _ in range(draw(st.integers(2, 12))):
        opened, closed, one, other = (draw(prices) for _ in range(4))
        high, low = max(opened, closed, one, other), min(opened, closed, one, other)
        rows.append((f"{opened}", f"{high}", f"{low}", f"{closed}"))
    return rows


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=walks(), path=st.sampled_from(BarPath), fee=st.sampled_from(["0", "0.001"]))
def test_the_money_adds_up_and_no_fill_is_outside_its_bar(
    tmp_path: Path, rows: list[Ohlc], path: BarPath, fee: str
) -> None:
    data = bars(tmp_path, rows)
    costs = Costs(taker=Decimal(fee), maker=Decimal(fee))
    for strategy in ("Crossing", "Peeking", "ByHand"):
        result = backtest(strategy, data, path=path, costs=costs)
        assert result.error is None
        held = sum((f.quantity if f.side.value == "BUY" else -f.quantity for f in result.fills), Decimal(0))
        spent = sum((f.quantity * f.price * (1 if f.side.value == "BUY" else -1) for f in result.fills), Decimal(0))
        last = Decimal(rows[-1][3])
        assert result.cash == 10000 - spent - result.fees
        assert result.final_equity == result.cash + held * last
        for fill in result.fills:
            _, high, low, _ = rows[fill.time.day - 1]
            assert Decimal(low) <= fill.price <= Decimal(high)


def test_nothing_is_filled_of_a_size_that_was_not_there(tmp_path: Path) -> None:
    rows = [(f"2026-01-01T00:00:{n:02}Z", str(20 + n % 3), str(21 + n % 3), "2", "1.5") for n in range(30)]
    result = backtest("Crossing", quotes(tmp_path, rows), parameters={"quantity": "5"})
    by_time: dict[object, Decimal] = {}
    for fill in result.fills:
        by_time[fill.time, fill.side] = by_time.get((fill.time, fill.side), Decimal(0)) + fill.quantity
    assert by_time
    assert all(total <= (Decimal("1.5") if key[1].value == "BUY" else 2) for key, total in by_time.items())  # type: ignore[index]


def test_an_order_for_the_day_is_for_the_next_bar_of_a_day_and_then_expires(tmp_path: Path) -> None:
    result = backtest("Daily", bars(tmp_path, RISING))
    # Sent at the first close, with the second bar's low at 100: expired. Sent at the second, with the third bar's low
    # at 97: filled. Sent at the third, with the fourth bar's open at 98: filled there.
    assert [(f"{f.time:%d}", str(f.price)) for f in result.fills] == [("03", "99.5"), ("04", "98")]
    assert result.error is None


# -- the end of a day --------------------------------------------------------------------------------------------

HOURS = [
    ("05 14:00", "100,100,100,100"),
    ("05 15:00", "100,100,100,100"),
    ("06 14:00", "85,86,85,86"),
    ("06 15:00", "86,86,80,86"),
]


def _once(sent: dict[str, str], *data: str, latency_ns: int = 0) -> list[str]:
    """What has become of one order."""
    result = backtest("Once", *data, parameters=sent, latency_ns=latency_ns)
    assert result.error is None
    return list(Once.events)


@pytest.mark.parametrize("latency_ns", [0, 5_000_000])
def test_an_order_for_the_day_does_not_see_the_next_one(tmp_path: Path, latency_ns: int) -> None:
    data = timed_bars(tmp_path, HOURS)
    sent = {"at": "2", "limit_price": "90", "time_in_force": "DAY"}
    assert _once(sent, data, latency_ns=latency_ns) == ["OrderExpired 06 00:00"]
    rows = [(f"2026-01-{time.replace(' ', 'T')}:00Z", prices.split(",")[0], "") for time, prices in HOURS]
    (tmp_path / "ticks").mkdir()
    assert _once(sent, trades(tmp_path / "ticks", rows), latency_ns=latency_ns) == ["OrderExpired 06 00:00"]


@pytest.mark.parametrize(("hours", "says"), [("5", "OrderExpired 06 14:00"), ("30", "OrderFilled 06 14:00")])
def test_nor_does_one_that_is_good_till_a_time_before_it(tmp_path: Path, hours: str, says: str) -> None:
    sent = {"at": "2", "limit_price": "90", "time_in_force": "GTD", "good_for_hours": hours}
    assert _once(sent, timed_bars(tmp_path, HOURS)) == [says]


def test_what_is_sent_between_two_days_is_for_the_next(tmp_path: Path) -> None:
    data = timed_bars(tmp_path, HOURS)
    sent = {"limit_price": "82", "time_in_force": "DAY"}
    # Ten hours after the first open it is midnight: until there is data again, it is the next day's.
    assert _once({**sent, "hour": "9"}, data) == ["OrderExpired 06 00:00"]
    assert _once({**sent, "hour": "10"}, data) == ["OrderFilled 06 16:00"]
    assert _once({**sent, "hour": "11"}, data) == ["OrderFilled 06 16:00"]


def test_what_is_sent_at_the_start_is_for_the_first_day(tmp_path: Path) -> None:
    rows = [("05 14:00", "100,100,100,100"), ("05 15:00", "100,100,90,100"), ("05 16:00", "100,100,80,100")]
    sent = {"at": "0", "limit_price": "85", "time_in_force": "DAY"}
    assert _once(sent, timed_bars(tmp_path, rows)) == ["OrderFilled 05 17:00"]
    (tmp_path / "ticks").mkdir()
    ticks = [(f"2026-01-05T{hour}:00:00Z", price, "") for hour, price in ((14, "100"), (15, "90"), (16, "80"))]
    assert _once(sent, trades(tmp_path / "ticks", ticks)) == ["OrderFilled 05 16:00"]


def test_an_order_for_the_day_that_is_sent_on_friday_at_midnight_sees_monday(tmp_path: Path) -> None:
    path = tmp_path / "X.csv"
    rows = ["2026-01-01,100,100,100,100", "2026-01-02,100,100,100,100", "2026-01-05,100,100,90,100"]
    path.write_text("\n".join(["Date,Open,High,Low,Close", *rows, "2026-01-06,100,100,80,100"]) + "\n")
    sent = {"at": "2", "time_in_force": "DAY"}
    assert _once({**sent, "limit_price": "95"}, f"{path}:X") == ["OrderFilled 06 00:00"]
    assert _once({**sent, "limit_price": "85"}, f"{path}:X") == ["OrderExpired 06 00:00"]


def test_the_day_of_a_symbol_ends_after_its_last_bar(tmp_path: Path) -> None:
    """Two symbols close at midnight, one after the other: both bars fill what was sent for their day."""
    rows = [("100", "100", "100", "100"), ("100", "100", "90", "100"), ("100", "100", "80", "100")]
    data = [bars(tmp_path, rows, name) for name in ("X", "Y")]
    sent = {"at": "1", "time_in_force": "DAY"}
    assert _once({**sent, "limit_price": "95"}, *data) == ["OrderFilled 03 00:00"] * 2
    assert _once({**sent, "limit_price": "85"}, *data) == ["OrderExpired 03 00:00"] * 2


def test_an_order_whose_day_ends_within_a_bar_gets_nothing_of_its_rest(tmp_path: Path) -> None:
    rows = [(f"{day:02} 22:00", prices) for day, prices in ((4, "100,100,100,100"), (5, "100,100,80,100"))]
    data = timed_bars(tmp_path, [*rows, ("06 22:00", "100,100,100,100")])
    assert _once({"limit_price": "90", "time_in_force": "DAY"}, data) == ["OrderExpired 06 00:00"]
    assert _once({"limit_price": "90"}, data) == ["OrderFilled 06 22:00"]


# -- the end of the run ------------------------------------------------------------------------------------------


def test_the_curve_ends_where_the_run_does(tmp_path: Path) -> None:
    data = bars(tmp_path, [("100", "100", "100", "100")] * 3 + [("50", "100", "50", "100")])
    held, closed = (backtest("Once", data, cash=Decimal(1000), closes_at_end=closes) for closes in (False, True))
    assert [str(value) for _, value in held.equity] == ["1000"] * 4
    # Closed at 50, the open of the last bar: that is known at its end, and in its point.
    assert [str(value) for _, value in closed.equity] == ["1000", "1000", "1000", "950"]
    assert [time for time, _ in closed.equity] == [time for time, _ in held.equity]
    figures = statistics_of(closed)
    assert figures.return_pct == figures.max_drawdown_pct == -5
    # The returns are 0, 0 and -0.05: a mean of -1/60, a deviation of sqrt(3) / 60, a downside of 0.05 / sqrt(3); of
    # 365.25 in a year.
    assert figures.sharpe == pytest.approx(-math.sqrt(365.25 / 3))
    assert figures.sortino == pytest.approx(-math.sqrt(365.25 / 3))


@pytest.mark.parametrize("closes", [False, True])
def test_the_curve_of_ticks_ends_with_the_last_one(tmp_path: Path, closes: bool) -> None:
    rows = [(f"2026-01-02T09:00:0{second}Z", price, "") for second, price in (("0", "100"), ("1", "100"), ("2", "100"))]
    data = trades(tmp_path, [*rows, ("2026-01-02T09:00:02.5Z", "50", "")])
    shown: Prices = {}
    result = run(job("Once", data, cash=Decimal(1000), closes_at_end=closes), {}, prices=shown)
    assert [(f"{time:%S.%f}"[:4], str(value)) for time, value in result.equity] == [
        ("00.0", "1000"),
        ("01.0", "1000"),
        ("02.0", "1000"),
        ("02.5", "950"),
    ]
    assert [str(price) for _, price in shown["X"]] == ["100", "100", "100", "50"]
    assert statistics_of(result).max_drawdown_pct == -5


def test_the_curve_has_what_was_under_way_at_the_end(tmp_path: Path) -> None:
    data = bars(tmp_path, [("100", "100", "100", "100")] * 3 + [("50", "100", "50", "100")])
    result = backtest("Once", data, cash=Decimal(1000), closes_at_end=True, latency_ns=5_000_000)
    assert [str(value) for _, value in result.equity] == ["1000", "1000", "1000", "1000", "950"]
    assert result.equity[-1][1] == result.final_equity


@pytest.mark.parametrize("latency_ns", [0, 5_000_000])
def test_what_is_sent_at_the_end_arrives(tmp_path: Path, latency_ns: int) -> None:
    data = quotes(tmp_path, [(f"2026-01-02T09:00:0{second}Z", "99", "101", "5", "5") for second in (0, 1)], "X")
    result = backtest("Once", data, parameters={"at": "-1"}, latency_ns=latency_ns)
    # At once it takes from the last quote; later there is none that is not older.
    assert [str(fill.price) for fill in result.fills] == ([] if latency_ns else ["101"])
    assert Once.answers[-1] == ("OrderAccepted" if latency_ns else "OrderFilled")
    assert result.equity[-1][1] == result.final_equity


@pytest.mark.parametrize(
    ("rows", "quantity", "equity", "drawdown"),
    [
        pytest.param([], "1", [], "0", id="no bar"),
        pytest.param(["100"], "1", ["1000"], "0", id="one bar"),
        pytest.param(["100"] * 4, "1", ["1000"] * 4, "0", id="a flat run"),
        pytest.param(["100", "100", "80", "90"], "10", ["1000", "1000", "800", "900"], "-20", id="a loss"),
        pytest.param(["100", "100", "0", "0"], "10", ["1000", "1000", "0", "0"], "-100", id="a loss of all"),
        pytest.param(["100", "100", "50", "75"], "25", ["1000", "1000", "-250", "375"], "-125", id="more than all"),
    ],
)
def test_the_figures_of_a_small_run(
    tmp_path: Path, rows: list[str], quantity: str, equity: list[str], drawdown: str
) -> None:
    data = bars(tmp_path, [(price, price, price, price) for price in rows])
    shown: Prices = {}
    result = run(job("Once", data, cash=Decimal(1000)), {"quantity": quantity}, prices=shown)
    figures = statistics_of(result)
    assert [str(value) for _, value in result.equity] == equity
    assert [str(price) for _, price in shown["X"]] == rows
    final = Decimal(equity[-1]) if equity else Decimal(1000)
    assert (result.final_equity, figures.pnl, figures.return_pct) == (final, final - 1000, (final - 1000) / 10)
    assert figures.max_drawdown_pct == Decimal(drawdown)
    assert figures.exposure_pct == (None if not rows else Decimal(75) if len(rows) > 1 else 0)
    is_defined = drawdown == "-20"
    # The returns are 0, -1/5 and 1/8: a mean of -0.025, a sample's deviation of 0.163936, a downside of 0.2 / sqrt(3).
    assert figures.sharpe == (pytest.approx(-0.025 / 0.16393596 * math.sqrt(365.25)) if is_defined else None)
    assert figures.sortino == (pytest.approx(-0.125 * math.sqrt(3 * 365.25)) if is_defined else None)
    page = html(result, shown)
    assert f"<dd>{percentage(figures.max_drawdown_pct)}</dd>" in page
    assert f"<dd>{amount(final)}</dd>" in page


def test_bars_before_1970_have_their_times(tmp_path: Path) -> None:
    path = tmp_path / "X.csv"
    path.write_text("Date,Open,High,Low,Close\n1960-01-04,100,100,100,100\n1960-01-05,100,110,100,110\n")
    result = backtest("Once", f"{path}:X")
    assert [(f"{time:%Y-%m-%d}", str(value)) for time, value in result.equity] == [
        ("1960-01-05", "10000"),
        ("1960-01-06", "10010"),
    ]


# -- a strategy that was stopped ---------------------------------------------------------------------------------


def test_a_strategy_that_raises_in_a_timer_is_told_nothing_more(tmp_path: Path) -> None:
    result = backtest("RaisingInATimer", bars(tmp_path, RISING), closes_at_end=True)
    assert result.error == "RuntimeError: raise"
    assert (result.orders, result.denied) == (0, 0)
