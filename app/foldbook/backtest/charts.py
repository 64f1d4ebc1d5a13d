"""Charts as HTML with inline SVG. Pure; floats are good enough to draw with.

The SVG has coordinates from 0 to 1000 both ways and is stretched to the room that there is; lines and marks keep their
width. Labels are HTML, so that they keep their size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape

import msgspec

TICKS_MAX = 10
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
_HOURS = (1, 2, 3, 6, 12, 24, 48, 96, 168)
_STEPS = (
    *(timedelta(microseconds=number * 10**digit) for digit in range(6) for number in (1, 2, 5)),
    *(timedelta(seconds=seconds) for seconds in _SECONDS),
    *(timedelta(hours=hours) for hours in _HOURS),
)
_DAY = timedelta(days=1)

FloatPoint = tuple[datetime, float]


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """Points that are marked in a chart. ``name`` is in the legend; ``style`` is the CSS class of the marks."""

    name: str
    style: str
    points: Sequence[FloatPoint]


def chart(
    title: str, points: Sequence[FloatPoint], *, unit: str = "", is_area: bool = False, marks: Sequence[Marks] = ()
) -> str:
    """A figure with ``points`` as a line, and ``marks``. An area reaches from the line to 0. ``unit`` follows each
    value in words, such as `` %``."""
    drawn = [*points, *(point for each in marks for point in each.points)]
    if not drawn:
        return f'<figure class="chart"><figcaption>{escape(title)}</figcaption><p class="none">No data.</p></figure>'
    scale = _scale_of(drawn, is_area)
    legend = "".join(f'<span class="key {each.style}">{escape(each.name)}</span>' for each in marks)
    lowest, highest = min(value for _, value in drawn), max(value for _, value in drawn)
    told = (
        f"{title}, from {moment(scale.first)} to {moment(scale.last)}, between {lowest:,.2f} and {highest:,.2f}{unit}"
    )
    digits = max(digits_of(scale.ticks), 2)
    hover = [[round(scale.x(time), 1), f"{moment(time)}  {value:,.{digits}f}{unit}"] for time, value in points]
    return (
        f'<figure class="chart"><figcaption>{escape(title)}{legend}</figcaption><div class="plot">'
        f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label="{escape(told)}">'
        f"{_shapes(scale, points, is_area, marks)}</svg>{_labels(scale, unit)}"
        '<b class="at" hidden></b><output hidden></output></div>'
        f'<script type="application/json">{json.dumps(hover, separators=(",", ":"))}</script></figure>'
    )


class _Scale(msgspec.Struct, frozen=True, kw_only=True):
    """From times and values to places in the SVG. ``ticks``: the values that are labelled."""

    first: datetime
    last: datetime
    low: float
    high: float
    ticks: Sequence[float]

    def x(self, time: datetime) -> float:
        return (time - self.first) / (self.last - self.first) * 1000 if self.last > self.first else 500.0

    def y(self, value: float) -> float:
        return (self.high - value) / (self.high - self.low) * 1000


def _scale_of(drawn: Sequence[FloatPoint], is_area: bool) -> _Scale:
    values = [value for _, value in drawn] + ([0.0] if is_area else [])
    times = [time for time, _ in drawn]
    ticks = value_ticks(min(values), max(values))
    return _Scale(
        first=min(times),
        last=max(times),
        low=min(*values, *ticks),
        high=max(*values, *ticks),
        ticks=ticks,
    )


def _shapes(scale: _Scale, points: Sequence[FloatPoint], is_area: bool, marks: Sequence[Marks]) -> str:
    shapes = ['<path class="grid" d="' + "".join(f"M0 {scale.y(tick):.1f}H1000" for tick in scale.ticks) + '"/>']
    if points:
        line = "M" + "L".join(f"{scale.x(time):.2f} {scale.y(value):.2f}" for time, value in points)
        if is_area:
            shapes.append(f'<path class="area" d="{line}V{scale.y(0):.2f}H{scale.x(points[0][0]):.2f}Z"/>')
        shapes.append(f'<path class="line" d="{line}"/>')
    for each in marks:
        # Lines without length: their ends make round or square dots, of a size that does not depend on the scale.
        dots = "".join(f"M{scale.x(time):.2f} {scale.y(value):.2f}h0" for time, value in each.points)
        shapes.append(f'<path class="mark {each.style}" d="{dots}"/>')
    return "".join(shapes)


def _labels(scale: _Scale, unit: str) -> str:
    digits = digits_of(scale.ticks)
    values = [
        f'<i class="y" style="top:{scale.y(tick) / 10:.2f}%">{tick:,.{digits}f}{unit}</i>' for tick in scale.ticks
    ]
    times = [
        f'<i class="x{" rare" if number % 2 else ""}" style="left:{scale.x(time) / 10:.2f}%">{label}</i>'
        for number, (time, label) in enumerate(time_ticks(scale.first, scale.last))
    ]
    return "".join(values + times)


def value_ticks(low: float, high: float) -> list[float]:
    """Round values, 1, 2 or 5 times a power of ten apart, that enclose or nearly enclose ``low`` to ``high``."""
    span = (high - low) or abs(high) or 1.0
    raw = span / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= raw * 0.999)
    first = math.floor(low / step + 0.1)
    last = max(first + 1, math.ceil(high / step - 0.1))
    return [number * step for number in range(first, last + 1)]


def digits_of(ticks: Sequence[float]) -> int:
    """The digits after the point that tell the ticks apart."""
    return max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))


def time_ticks(first: datetime, last: datetime) -> list[tuple[datetime, str]]:
    """At most 10 round times from ``first`` to ``last``, with their labels; at least ``first``."""
    span = last - first
    if not span:
        return [(first, moment(first))]
    step = next((each for each in _STEPS if span <= each * (TICKS_MAX - 1)), None)
    if step is None:
        return _month_ticks(first, last) or [(first, moment(first))]
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    number = -((midnight - first) // step)
    ticks: list[tuple[datetime, str]] = []
    while (time := midnight + number * step) <= last:
        ticks.append((time, _label(time, step)))
        number += 1
    return ticks


def _month_ticks(first: datetime, last: datetime) -> list[tuple[datetime, str]]:
    from_month, to_month = (time.year * 12 + time.month - 1 for time in (first, last))
    step = next(each for each in _MONTHS if to_month - from_month < each * TICKS_MAX or each == _MONTHS[-1])
    ticks: list[tuple[datetime, str]] = []
    for month in range(-(-from_month // step) * step, to_month + 1, step):
        time = first.replace(year=month // 12, month=month % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
        if time >= first:
            ticks.append((time, f"{time:%Y}" if step >= 12 else f"{time:%Y-%m}"))
    return ticks


def _label(time: datetime, step: timedelta) -> str:
    if step >= _DAY:
        return f"{time:%Y-%m-%d}"
    if step >= timedelta(minutes=1):
        return f"{time:%m-%d %H:%M}"
    return f"{time:%H:%M:%S}" if step >= timedelta(seconds=1) else f"{time:%H:%M:%S.%f}"


def moment(time: datetime) -> str:
    """A time in UTC for people: the day alone at midnight, and no seconds that are 0."""
    if not (time.hour or time.minute or time.second or time.microsecond):
        return f"{time:%Y-%m-%d}"
    if not (time.second or time.microsecond):
        return f"{time:%Y-%m-%d %H:%M}"
    return f"{time:%Y-%m-%d %H:%M:%S}" + (f".{time:%f}" if time.microsecond else "")
