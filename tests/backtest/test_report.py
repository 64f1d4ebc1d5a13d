"""The report is one page that needs nothing else, the table and the JSON say the same."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from foldbook.backtest import report
from foldbook.backtest.charts import Marks, chart, digits_of, moment, time_ticks, value_ticks
from foldbook.backtest.report import html
from foldbook.backtest.result import Result
from foldbook.backtest.summary import amount, document, percentage, ratio, table
from tests.backtest.results import DAY, START, equity, fill, result

CLOSES = {"ABC": equity(100, 110, 108)}


def traded(**fields: Any) -> Result:
    fills = [fill("BUY", "2", "100", fee="1"), fill("SELL", "2", "110.50", day=1, fee="1")]
    return result(fills, equity(1000, 1019, 1019), exposed_bars=2, **fields)


VOID = {"meta", "link"}


class Page(HTMLParser):
    """The elements and the text of a page. An element that is not closed in its place is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)

    def paths(self, style: str) -> list[str]:
        return [
            attrs["d"] or ""
            for tag, attrs in self.elements
            if tag == "path" and style in (attrs["class"] or "").split()
        ]


# -- the page ------------------------------------------------------------------------------------------------------


def test_the_page_has_all_that_the_result_has() -> None:
    page = Page(html(traded(), CLOSES))
    assert page.texts["h1"] == ["Backtest of sma_cross.py:SmaCross"]
    assert page.texts["figcaption"] == ["Equity", "Drawdown", "Price of ABC"]
    figures = dict(zip(page.texts["dt"], page.texts["dd"], strict=True))
    assert (figures["return"], figures["PnL"]) == ("1.90 %", "19.00")
    cells = page.texts["td"]
    assert cells[:9] == ["ABC", "LONG", "2", "2026-01-05", "100", "2026-01-06", "110.50", "19.00", "2.00"]
    assert {"fast", "10", "abc.csv", "ab" * 32, "cd" * 32, "ef" * 32} <= set(cells)


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    text = html(traded(), CLOSES)
    page = Page(text)
    assert "://" not in text
    assert [attrs for tag, attrs in page.elements if attrs.get("src") or tag == "img"] == []
    assert [attrs["href"] for _, attrs in page.elements if "href" in attrs] == ["data:,"]
    policy = next(attrs for tag, attrs in page.elements if tag == "meta" and "http-equiv" in attrs)
    assert (policy["content"] or "").startswith("default-src 'none';")


def test_the_same_result_is_the_same_page() -> None:
    assert html(traded(), CLOSES) == html(traded(), CLOSES)


def test_the_page_says_why_a_strategy_was_stopped() -> None:
    page = Page(html(traded(error="ValueError: <b> $title & more"), CLOSES))
    assert page.texts["pre"] == ["ValueError: <b> $title & more"]
    assert "pre" not in Page(html(traded(), CLOSES)).texts


def test_what_others_wrote_is_no_markup() -> None:
    evil = "</script><script>alert(1)</script>"
    fills = [fill("BUY", "1", "10", symbol=evil), fill("SELL", "1", "10", symbol=evil)]
    text = html(result(fills, strategy=evil, parameters={evil: evil}, account=evil, error=evil), {evil: equity(1, 2)})
    assert "alert" in text
    assert evil not in text
    assert [body for body in Page(text).texts["script"] if "alert" in body] == []


def test_fills_are_marked_at_their_time_and_price() -> None:
    page = Page(html(traded(), CLOSES))
    # The page is 2 days wide, and reaches from 100 to 110.50.
    assert page.paths("buy") == ["M0.00 1000.00h0"]
    assert page.paths("sell") == ["M500.00 0.00h0"]


def test_a_run_without_anything_is_a_page_too() -> None:
    page = Page(html(result(parameters={}, data=[]), {}))
    assert page.texts["p"][1:] == ["No data.", "No data.", "No round trips.", "No parameters.", "No data."]


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "ROUND_TRIPS_MAX", 2)
    monkeypatch.setattr(report, "MARKS_MAX", 4)
    monkeypatch.setattr(report, "PRICE_CHARTS_MAX", 1)
    fills = [fill("BUY", "1", "1"), fill("SELL", "1", "1")] * 3
    page = Page(html(result(fills), {"ABC": [], "DEF": []}))
    notes = ["The first 4 of 6 fills.", "The first 1 of 2 symbols.", "The first 2 of 3 round trips."]
    assert [text for text in page.texts["p"] if text.startswith("The first")] == notes
    assert page.texts["td"].count("LONG") == 2


# -- charts --------------------------------------------------------------------------------------------------------


def test_an_area_reaches_from_the_line_to_nothing() -> None:
    page = Page(chart("Drawdown", [(START, 0.0), (START + DAY, -10.0)], unit=" %", is_area=True))
    assert page.paths("line") == ["M0.00 0.00L1000.00 1000.00"]
    assert page.paths("area") == ["M0.00 0.00L1000.00 1000.00V0.00H0.00Z"]
    assert json.loads(page.texts["script"][0]) == [[0.0, "2026-01-05  0.00 %"], [1000.0, "2026-01-06  -10.00 %"]]


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-9, 1e12])
def test_a_single_point_has_a_place(value: float) -> None:
    (line,) = Page(chart("Equity", [(START, value)])).paths("line")
    x, y = map(float, line.removeprefix("M").split())
    assert x == 500
    assert 0 <= y <= 1000


def test_marks_alone_make_a_chart() -> None:
    marks = [Marks(name="bought", style="buy", points=[(START, 5.0), (START + DAY, 6.0)])]
    page = Page(chart("Price", [], marks=marks))
    assert page.paths("line") == []
    assert page.paths("buy") == ["M0.00 1000.00h0M1000.00 0.00h0"]
    assert page.texts["span"] == ["bought"]


@pytest.mark.parametrize(
    ("low", "high", "expected", "digits"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10], 0),
        (9_300, 75_787, [0, 20_000, 40_000, 60_000, 80_000], 0),
        (-47.98, 0, [-50, -40, -30, -20, -10, 0], 0),
        (1.0801, 1.0899, [1.08, 1.082, 1.084, 1.086, 1.088, 1.09], 3),
        (5, 5, [5, 6], 0),
    ],
)
def test_values_are_labelled_at_round_ones(low: float, high: float, expected: list[float], digits: int) -> None:
    ticks = value_ticks(low, high)
    assert ticks == pytest.approx(expected)
    assert digits_of(ticks) == digits


@pytest.mark.parametrize(
    ("first", "span", "expected"),
    [
        ("2004-08-19", timedelta(days=3116), [str(year) for year in range(2005, 2014)]),
        ("2025-11-20", timedelta(days=130), ["2025-12", "2026-01", "2026-02", "2026-03"]),
        ("2026-01-05T07:00", timedelta(days=3), ["01-05 12:00", "01-06 00:00", "01-06 12:00", "01-07 00:00"]),
        ("2026-01-05T09:29", timedelta(minutes=30), ["01-05 09:30", "01-05 09:35", "01-05 09:40", "01-05 09:45"]),
        ("2026-01-05T09:30", timedelta(seconds=8), ["09:30:00", "09:30:01", "09:30:02", "09:30:03"]),
        ("2026-01-05T09:30", timedelta(microseconds=3), ["09:30:00.000000", "09:30:00.000001", "09:30:00.000002"]),
        ("2026-01-05T09:30:01", timedelta(), ["2026-01-05 09:30:01"]),
        ("1900-01-01", timedelta(days=73_000), ["1900", "1920", "1940", "1960"]),
    ],
)
def test_times_are_labelled_at_round_ones(first: str, span: timedelta, expected: list[str]) -> None:
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    ticks = time_ticks(start, start + span)
    assert [label for _, label in ticks][: len(expected)] == expected
    assert all(start <= time <= start + span for time, _ in ticks)


@given(st.timedeltas(timedelta(), timedelta(days=100_000)))
def test_there_are_a_few_times_with_different_labels(span: timedelta) -> None:
    ticks = time_ticks(START, START + span)
    assert 1 <= len(ticks) <= 10
    assert len({label for _, label in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (START, "2026-01-05"),
        (START.replace(hour=9, minute=30), "2026-01-05 09:30"),
        (START.replace(second=1), "2026-01-05 00:00:01"),
        (START.replace(microsecond=250), "2026-01-05 00:00:00.000250"),
    ],
)
def test_a_moment_is_as_short_as_it_can_be(time: datetime, expected: str) -> None:
    assert moment(time) == expected


# -- the table and the json ----------------------------------------------------------------------------------------


def test_the_table_has_every_figure() -> None:
    with io.StringIO() as written:
        Console(width=100, file=written).print(table(traded(denied=1)))
        lines = written.getvalue().splitlines()
    assert dict(re.split("  +", line.strip()) for line in lines) == {
        "orders": "2 (1 denied)",
        "fills": "2",
        "round trips": "1",
        "PnL": "19.00",
        "fees": "2.00",
        "final equity": "1,019.00",
        "return": "1.90 %",
        "max drawdown": "0.00 %",
        "Sharpe": "13.51",
        "Sortino": "-",
        "win rate": "100.00 %",
        "exposure": "66.67 %",
        "turnover": "421.00",
        "stream hash": "ef" * 32,
    }


def test_the_json_has_amounts_as_strings_and_ratios_as_numbers() -> None:
    found = json.loads(json.dumps(document(traded())))
    assert found["fills"][1] == {
        "time": "2026-01-06T00:00:00Z",
        "symbol": "ABC",
        "side": "SELL",
        "quantity": "2",
        "price": "110.5",
        "fee": "1",
        "order_id": "o-1",
    }
    assert found["round_trips"] == [
        {
            "symbol": "ABC",
            "side": "LONG",
            "quantity": "2",
            "entry_time": "2026-01-05T00:00:00Z",
            "entry_price": "100",
            "exit_time": "2026-01-06T00:00:00Z",
            "exit_price": "110.5",
            "pnl": "19",
            "fees": "2",
        }
    ]
    assert found["equity"][1] == ["2026-01-06T00:00:00Z", "1019"]
    assert {name: found[name] for name in ("orders", "cash", "final_equity", "fees", "parameters", "stream_hash")} == {
        "orders": 2,
        "cash": "1019",
        "final_equity": "1019",
        "fees": "2",
        "parameters": {"fast": "10"},
        "stream_hash": "ef" * 32,
    }
    assert found["data"][0]["first"] == "2026-01-05T00:00:00Z"
    assert (found["return_pct"], found["max_drawdown_pct"], found["win_rate_pct"]) == (1.9, 0, 100)
    assert found["exposure_pct"] == pytest.approx(66.6667, rel=1e-5)
    assert found["sharpe"] == pytest.approx(13.5138, rel=1e-5)  # returns 0.019 and 0: sqrt(1 / 2) * sqrt(365.25)
    assert found["sortino"] is None


def test_the_json_has_at_most_a_thousand_points() -> None:
    points = equity(*range(1000, 6000))
    found = document(result(points=points))["equity"]
    assert len(found) <= 1000
    assert (found[0][1], found[-1][1]) == ("1000", "5999")


def test_amounts_in_json_are_in_plain_notation() -> None:
    found = document(result([fill("BUY", "0.00000001", "1E+3", fee="0.50")]))
    assert [found["fills"][0][name] for name in ("quantity", "price", "fee")] == ["0.00000001", "1000", "0.5"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1234567.891", "1,234,567.89"), ("-5", "-5.00"), ("0", "0.00"), ("0.000000123456789", "0.000000123457")],
)
def test_an_amount_for_people_is_rounded(value: str, expected: str) -> None:
    assert amount(Decimal(value)) == expected


def test_what_is_not_defined_is_a_dash() -> None:
    assert (percentage(None), ratio(None)) == ("-", "-")
    assert (percentage(Decimal("1234.567")), ratio(-0.128)) == ("1,234.57 %", "-0.13")
