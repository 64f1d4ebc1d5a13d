"""The figures of a backtest. Pure: money is exact; the ratios of returns are floats.

A percentage is rounded once, half to even, to 18 digits after the point. A figure that is not defined is None: a win
rate without round trips, a ratio without risk.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import msgspec

from foldbook.backtest.result import Direction, FillRow, Result, RoundTrip
from foldbook.trading.values import (
    AVERAGE_DIGITS,
    EXACT,
    ONE,
    QUOTIENTS,
    ZERO,
    Side,
    add,
    add_product,
    canonical,
    quotient,
    subtract,
)

Point = tuple[datetime, Decimal]
"""A time and a value, such as the equity or a price."""

Value = TypeVar("Value", Decimal, float)

POINTS_MAX = 1_000
"""Points of a curve that is shown or printed."""

_HUNDRED = Decimal(100)
_YEAR = timedelta(days=365.25)
_NOISE = 1e-12


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """``pnl`` is what the account earned after fees, open positions at their last price. ``turnover`` is the money of
    all fills. ``max_drawdown_pct`` is 0 or negative. ``win_rate_pct``: the share of round trips that earned more than
    their fees. ``exposure_pct``: the share of data points with a position. ``sharpe`` and ``sortino`` are per year,
    without a risk-free rate."""

    pnl: Decimal
    turnover: Decimal
    return_pct: Decimal | None
    max_drawdown_pct: Decimal
    win_rate_pct: Decimal | None
    exposure_pct: Decimal | None
    sharpe: float | None
    sortino: float | None


def statistics_of(result: Result) -> Statistics:
    """The figures of ``result``."""
    pnl = subtract(result.final_equity, result.start_cash)
    wins = sum(trip.pnl > 0 for trip in result.round_trips)
    returns = returns_of([value for _, value in result.equity])
    yearly = math.sqrt(points_per_year([time for time, _ in result.equity]))
    return Statistics(
        pnl=pnl,
        turnover=turnover(result.fills, result.multipliers),
        return_pct=percent(pnl, result.start_cash),
        max_drawdown_pct=max_drawdown_pct(result.start_cash, (value for _, value in result.equity)),
        win_rate_pct=percent(Decimal(wins), Decimal(len(result.round_trips))),
        exposure_pct=percent(Decimal(result.exposed_bars), Decimal(result.bars)),
        sharpe=_yearly(sharpe(returns), yearly),
        sortino=_yearly(sortino(returns), yearly),
    )


def percent(part: Decimal, whole: Decimal) -> Decimal | None:
    """``part`` in percent of ``whole``; None if ``whole`` is 0 or negative."""
    return quotient(QUOTIENTS.multiply(part, _HUNDRED), whole, AVERAGE_DIGITS) if whole > 0 else None


def turnover(fills: Iterable[FillRow], multipliers: Mapping[str, Decimal]) -> Decimal:
    """The money of all ``fills``, bought and sold. ``multipliers`` by symbol, 1 where there is none."""
    total = ZERO
    for fill in fills:
        total = add_product(total, EXACT.multiply(fill.quantity, fill.price), multipliers.get(fill.symbol, ONE))
    return total


# -- the equity ----------------------------------------------------------------------------------------------------


def max_drawdown_pct(start: Decimal, values: Iterable[Decimal]) -> Decimal:
    """The deepest fall of the equity below the highest value before it, in percent of that value. ``start``, which must
    be positive, is the value before the first."""
    peak = worst_peak = start
    worst = start
    for value in values:
        if value >= peak:
            peak = value
        # value / peak < worst / worst_peak, without dividing at every point.
        elif EXACT.multiply(value, worst_peak) < EXACT.multiply(worst, peak):
            worst, worst_peak = value, peak
    return percent(subtract(worst, worst_peak), worst_peak) or ZERO


def drawdowns(start: Decimal, points: Iterable[Point]) -> list[tuple[datetime, float]]:
    """How far the equity is below its highest value so far, in percent of that, at each point: 0 or negative. To be
    drawn. ``start``, which must be positive, is the value before the first."""
    peak = start
    found: list[tuple[datetime, float]] = []
    for time, value in points:
        peak = max(peak, value)
        found.append((time, min(0.0, float(value) / float(peak) * 100 - 100)))
    return found


def returns_of(values: Sequence[Decimal]) -> list[float]:
    """The relative change from each value to the next; empty if an equity of 0 or less makes one of them meaningless.
    One fewer than ``values``."""
    floats = [float(value) for value in values]
    if any(value <= 0 for value in floats[:-1]):
        return []
    return [after / before - 1 for before, after in itertools.pairwise(floats)]


def points_per_year(times: Sequence[datetime]) -> float:
    """How many points a year of 365.25 days has, if it is like the time from the first to the last of ``times``; 0 if
    they do not span any time."""
    span = times[-1] - times[0] if times else timedelta()
    return (len(times) - 1) * (_YEAR / span) if span else 0.0


def sharpe(returns: Sequence[float]) -> float | None:
    """The mean of the returns divided by their standard deviation, that of a sample. None: fewer than two returns, or
    they are all the same."""
    if len(returns) < 2:
        return None
    mean = math.fsum(returns) / len(returns)
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in returns) / (len(returns) - 1))
    # Equal returns differ in the last digits of their floats.
    return mean / deviation if deviation > abs(mean) * _NOISE else None


def sortino(returns: Sequence[float]) -> float | None:
    """The mean of the returns divided by the root of the mean square of the losses, where a gain counts as a loss of 0.
    None: fewer than two returns, or no loss."""
    if len(returns) < 2:
        return None
    downside = math.sqrt(math.fsum(min(each, 0.0) ** 2 for each in returns) / len(returns))
    return math.fsum(returns) / len(returns) / downside if downside else None


def _yearly(ratio: float | None, factor: float) -> float | None:
    return None if ratio is None or not factor else ratio * factor


def thinned(points: Sequence[tuple[datetime, Value]], most: int = POINTS_MAX) -> list[tuple[datetime, Value]]:
    """At most ``most`` of ``points``, at least 4, in their order: the first, the last, and the lowest and highest of
    equal stretches between them."""
    if len(points) <= most:
        return list(points)
    stretches = (most - 2) // 2
    inner = len(points) - 2

    def value_at(index: int) -> Value:
        return points[index][1]

    kept = [points[0]]
    for number in range(stretches):
        indices = range(1 + number * inner // stretches, 1 + (number + 1) * inner // stretches)
        low = min(indices, key=value_at)
        high = max(indices, key=value_at)
        kept += [points[index] for index in sorted({low, high})]
    kept.append(points[-1])
    return kept


# -- round trips ---------------------------------------------------------------------------------------------------


class _Lot(msgspec.Struct):
    """What is still open of ``fill``: ``quantity``, with its part of the fee, ``fee``."""

    fill: FillRow
    quantity: Decimal
    fee: Decimal

    def take(self, quantity: Decimal) -> Decimal:
        """Take ``quantity`` away, and return its part of the fee. The last part is what is left, so that the parts add
        up to the fee."""
        fee = self.fee
        if quantity != self.quantity:
            fee = quotient(QUOTIENTS.multiply(self.fee, quantity), self.quantity, AVERAGE_DIGITS)
        self.fee = subtract(self.fee, fee)
        self.quantity = subtract(self.quantity, quantity)
        return fee


def round_trips(fills: Iterable[FillRow], multipliers: Mapping[str, Decimal] | None = None) -> list[RoundTrip]:
    """Pair the fills of each symbol, in their order: what was opened first is closed first. A fill that reverses a
    position closes it and opens another. What is still open at the end is no round trip.

    ``multipliers`` by symbol, 1 where there is none.
    """
    lots: defaultdict[str, deque[_Lot]] = defaultdict(deque)
    found: list[RoundTrip] = []
    for fill in fills:
        open_lots = lots[fill.symbol]
        multiplier = (multipliers or {}).get(fill.symbol, ONE)
        rest = _Lot(fill, canonical(fill.quantity), canonical(fill.fee))
        while rest.quantity and open_lots and open_lots[0].fill.side is not fill.side:
            found.append(_closed(open_lots[0], rest, multiplier))
            if not open_lots[0].quantity:
                open_lots.popleft()
        if rest.quantity:
            open_lots.append(rest)
    return found


def _closed(lot: _Lot, closing: _Lot, multiplier: Decimal) -> RoundTrip:
    quantity = min(lot.quantity, closing.quantity)
    fees = add(lot.take(quantity), closing.take(quantity))
    is_long = lot.fill.side is Side.BUY
    entry, exit_ = lot.fill.price, closing.fill.price
    gain = subtract(exit_, entry) if is_long else subtract(entry, exit_)
    return RoundTrip(
        symbol=lot.fill.symbol,
        side=Direction.LONG if is_long else Direction.SHORT,
        quantity=quantity,
        entry_time=lot.fill.time,
        entry_price=entry,
        exit_time=closing.fill.time,
        exit_price=exit_,
        pnl=subtract(add_product(ZERO, EXACT.multiply(gain, quantity), multiplier), fees),
        fees=fees,
    )
