"""A result as one HTML page. It needs nothing else: no network, no other file. The same result is the same page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from string import Template

from foldbook.backtest.charts import FloatPoint, Marks, chart, moment
from foldbook.backtest.result import DataInfo, FillRow, Result, RoundTrip
from foldbook.backtest.statistics import Point, drawdowns, statistics_of, thinned
from foldbook.backtest.summary import amount, rows
from foldbook.trading.values import Side

ROUND_TRIPS_MAX = 1_000
MARKS_MAX = 5_000
"""Fills that are marked in the chart of a symbol."""
PRICE_CHARTS_MAX = 12


def html(result: Result, closes: Mapping[str, Sequence[Point]]) -> str:
    """The page. ``closes``: the prices of each symbol, in time order."""
    return _PAGE.substitute(
        title=escape(result.strategy),
        style=_STYLE,
        script=_SCRIPT,
        about=escape(_about(result)),
        error=_error(result.error),
        figures=_figures(result),
        equity=chart("Equity", _floats(thinned(result.equity))),
        drawdown=chart("Drawdown", thinned(drawdowns(result.start_cash, result.equity)), unit=" %", is_area=True),
        prices=_prices(result, closes),
        trips=_trips(result.round_trips),
        parameters=_table(("parameter", "value"), result.parameters.items(), "No parameters."),
        data=_table(
            ("file", "symbol", "#rows", "#left out", "first", "last", "notes", "SHA-256"),
            (_data_row(each) for each in result.data),
            "No data.",
        ),
        hashes=_table(
            ("hash", "SHA-256"), (("data", result.data_hash), ("event stream", result.stream_hash)), "No hashes."
        ),
    )


def _about(result: Result) -> str:
    parts = [f"account {result.account}", f"start {amount(result.start_cash)}"]
    if result.equity:
        parts.insert(0, f"{moment(result.equity[0][0])} to {moment(result.equity[-1][0])}")
    return " · ".join([*parts, f"{result.bars:,} data points", f"{result.store} store"])


def _error(error: str | None) -> str:
    if error is None:
        return ""
    return (
        f'<section class="stopped" role="alert"><h2>The strategy was stopped</h2><pre>{escape(error)}</pre></section>'
    )


def _figures(result: Result) -> str:
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in rows(result, statistics_of(result))
    )


# -- prices --------------------------------------------------------------------------------------------------------


def _prices(result: Result, closes: Mapping[str, Sequence[Point]]) -> str:
    fills: dict[str, list[FillRow]] = {symbol: [] for symbol in closes}
    for fill in result.fills:
        fills.setdefault(fill.symbol, []).append(fill)
    charts = [
        _price_chart(symbol, closes.get(symbol, ()), of_symbol)
        for symbol, of_symbol in list(fills.items())[:PRICE_CHARTS_MAX]
    ]
    if len(fills) > PRICE_CHARTS_MAX:
        charts.append(f'<p class="note">The first {PRICE_CHARTS_MAX} of {len(fills):,} symbols.</p>')
    return "".join(charts)


def _price_chart(symbol: str, closes: Sequence[Point], fills: Sequence[FillRow]) -> str:
    shown = fills[:MARKS_MAX]
    marks = [
        Marks(
            name=name,
            style=side.lower(),
            points=_floats((fill.time, fill.price) for fill in shown if fill.side is side),
        )
        for name, side in (("bought", Side.BUY), ("sold", Side.SELL))
    ]
    note = f'<p class="note">The first {MARKS_MAX:,} of {len(fills):,} fills.</p>' if len(fills) > MARKS_MAX else ""
    return chart(f"Price of {symbol}", _floats(thinned(closes)), marks=marks) + note


def _floats(points: Iterable[Point]) -> list[FloatPoint]:
    return [(time, float(value)) for time, value in points]


# -- tables --------------------------------------------------------------------------------------------------------

_TRIP_COLUMNS = ("symbol", "side", "#quantity", "entry", "#at", "exit", "#at", "#PnL", "#fees")


def _trips(trips: Sequence[RoundTrip]) -> str:
    shown = trips[:ROUND_TRIPS_MAX]
    note = ""
    if len(trips) > ROUND_TRIPS_MAX:
        note = f'<p class="note">The first {ROUND_TRIPS_MAX:,} of {len(trips):,} round trips.</p>'
    return _table(_TRIP_COLUMNS, (_trip_row(trip) for trip in shown), "No round trips.") + note


def _trip_row(trip: RoundTrip) -> tuple[str, ...]:
    return (
        trip.symbol,
        trip.side,
        format(trip.quantity, ",f"),
        moment(trip.entry_time),
        format(trip.entry_price, ",f"),
        moment(trip.exit_time),
        format(trip.exit_price, ",f"),
        amount(trip.pnl),
        amount(trip.fees),
    )


def _data_row(data: DataInfo) -> tuple[str, ...]:
    return (
        data.path,
        data.symbol,
        f"{data.rows:,}",
        f"{data.bad_rows:,}",
        _moment_or_none(data.first),
        _moment_or_none(data.last),
        "; ".join(data.notes),
        data.sha256,
    )


def _moment_or_none(time: datetime | None) -> str:
    return "-" if time is None else moment(time)


def _table(columns: Sequence[str], cells: Iterable[Sequence[str]], none: str) -> str:
    """A table that scrolls in its own frame. ``#`` before the name of a column: its cells are numbers. ``none`` is said
    if there are no rows."""
    classes = ["number" if column.startswith("#") else "" for column in columns]
    body = "".join(
        "<tr>" + "".join(_cell(text, kind) for text, kind in zip(row, classes, strict=True)) + "</tr>" for row in cells
    )
    if not body:
        return f'<p class="none">{none}</p>'
    head = "".join(
        f'<th scope="col" class="{kind}">{column.removeprefix("#")}</th>'
        for column, kind in zip(columns, classes, strict=True)
    )
    return f'<div class="frame" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str, kind: str) -> str:
    classes = f"{kind} loss" if kind and text.startswith("-") else kind
    return f'<td class="{classes}">{escape(text)}</td>' if classes else f"<td>{escape(text)}</td>"


# -- the page ------------------------------------------------------------------------------------------------------

_STYLE = """
:root{color-scheme:light dark;--page:#fff;--panel:#f5f6f8;--text:#1b1f24;--muted:#59636e;--rule:#d8dde3;--line:#0a5cc2;
--buy:#0a7d4b;--sell:#c2410c;--loss:#b42318;--stopped:#fdecea}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--panel:#1d2127;--text:#e5e8eb;--muted:#9aa4af;--rule:#343a42;
--line:#6cabff;--buy:#3fcf8e;--sell:#ff9d5c;--loss:#ff8577;--stopped:#3a1c1a}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1.5rem 1.25rem 3rem;background:var(--page);color:var(--text);
font:15px/1.5 system-ui,sans-serif}
h1{margin:0;font-size:1.6rem;line-height:1.25;overflow-wrap:anywhere}
h2{margin:2.5rem 0 .75rem;font-size:1.15rem}
.about{margin:.25rem 0 1.5rem;color:var(--muted);overflow-wrap:anywhere}
.stopped{margin:0 0 1.5rem;padding:.75rem 1rem;border-left:4px solid var(--loss);background:var(--stopped)}
.stopped h2{margin:0 0 .25rem;font-size:1rem}
pre{margin:0;font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:.5rem;margin:0}
dl div{padding:.5rem .75rem;border-radius:6px;background:var(--panel)}
dt{color:var(--muted);font-size:.85rem}
dd{margin:0;font-size:1.1rem;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.chart{margin:2.5rem 0 0}
figcaption{margin-bottom:.75rem;font-size:1.15rem;font-weight:600}
.key{margin-left:1rem;color:var(--muted);font-size:.85rem;font-weight:400}
.key::before{content:"";display:inline-block;width:.6em;height:.6em;margin-right:.4em;background:var(--buy)}
.key.buy::before{border-radius:50%}
.key.sell::before{background:var(--sell)}
.plot{position:relative;height:15rem;margin:0 1.5rem 1.75rem 5.5rem}
svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}
path{fill:none;vector-effect:non-scaling-stroke}
.grid{stroke:var(--rule)}
.line{stroke:var(--line);stroke-width:1.5;stroke-linejoin:round}
.area{fill:var(--line);fill-opacity:.18}
.mark{stroke-width:6}
.mark.buy{stroke:var(--buy);stroke-linecap:round}
.mark.sell{stroke:var(--sell);stroke-linecap:square;stroke-width:5}
.plot i{position:absolute;color:var(--muted);font-size:.8rem;font-style:normal;white-space:nowrap;
font-variant-numeric:tabular-nums}
.y{right:calc(100% + .5rem);transform:translateY(-50%)}
.x{top:calc(100% + .3rem);transform:translateX(-50%)}
.at{position:absolute;top:0;bottom:0;width:1px;background:var(--muted)}
output{position:absolute;z-index:1;top:.25rem;padding:.1rem .5rem;border:1px solid var(--rule);border-radius:4px;
background:var(--page);font-size:.85rem;white-space:pre;font-variant-numeric:tabular-nums;pointer-events:none}
.frame{max-height:30rem;overflow:auto;border:1px solid var(--rule);border-radius:6px}
table{width:100%;border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .75rem;text-align:left;white-space:nowrap}
th{position:sticky;top:0;background:var(--panel);color:var(--muted);font-weight:600}
tbody tr+tr td{border-top:1px solid var(--rule)}
.number{text-align:right}
td.loss{color:var(--loss)}
.none,.note{color:var(--muted)}
@media (max-width:40rem){.rare{display:none}.plot{margin-left:4.5rem;margin-right:.5rem}}
@media print{.frame{max-height:none;overflow:visible}}
"""

_SCRIPT = """
for (const figure of document.querySelectorAll("figure.chart")) {
  const plot = figure.querySelector(".plot");
  if (!plot) continue;
  const points = JSON.parse(figure.querySelector("script").textContent);
  const line = plot.querySelector(".at"), tip = plot.querySelector("output");
  if (!points.length) continue;
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * 1000;
    let low = 0, high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle + 1; else high = middle;
    }
    if (low > 0 && x - points[low - 1][0] < points[low][0] - x) low -= 1;
    const [at, text] = points[low];
    line.hidden = tip.hidden = false;
    line.style.left = at / 10 + "%";
    tip.textContent = text;
    tip.style.left = at < 500 ? `calc(${at / 10}% + .5rem)` : "auto";
    tip.style.right = at < 500 ? "auto" : `calc(${100 - at / 10}% + .5rem)`;
  });
  plot.addEventListener("pointerleave", () => { line.hidden = tip.hidden = true; });
}
"""

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>Backtest of $title</title>
<style>$style</style>
</head>
<body>
<header><h1>Backtest of $title</h1><p class="about">$about</p></header>
<main>
$error
<dl>$figures</dl>
$equity
$drawdown
$prices
<h2>Round trips</h2>
$trips
<h2>Parameters</h2>
$parameters
<h2>Data</h2>
$data
<h2>Hashes</h2>
$hashes
</main>
<script>$script</script>
</body>
</html>
"""
)
