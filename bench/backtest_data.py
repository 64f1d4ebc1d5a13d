"""Files of market data to run backtests on: a price that walks at random, always the same way."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

_START_NS = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
_QUOTE_EVERY_NS = 10**8
_BAR_EVERY_NS = 60 * 10**9
_CHUNK = 50_000


def write_quotes(path: Path, count: int) -> Path:
    """A quote every 100 ms: prices of two digits after the point, sizes that are never used up by an order of 1."""
    draw, cents = random.Random(7), 6_425_000
    numbers = iter(range(count))
    with path.open("w") as file:
        file.write("time,bid,ask,bid_size,ask_size\n")
        while chunk := list(islice(numbers, _CHUNK)):
            lines = []
            for number in chunk:
                cents += draw.randint(-50, 50)
                bid, ask = _price(cents), _price(cents + 10)
                lines.append(
                    f"{_START_NS + number * _QUOTE_EVERY_NS},{bid},{ask},{2 + number % 7}.5,{3 + number % 5}\n"
                )
            file.writelines(lines)
    return path


def write_bars(path: Path, count: int) -> Path:
    """A bar a minute; its time is that of its close. Around 100, so that no peer runs out of cash."""
    draw, cents = random.Random(7), 10_000
    with path.open("w") as file:
        file.write("time,open,high,low,close,volume\n")
        for number in range(1, count + 1):
            opened = cents
            cents = max(5_000, opened + draw.randint(-10, 10))
            high, low = max(opened, cents) + draw.randint(0, 5), min(opened, cents) - draw.randint(0, 5)
            prices = ",".join(map(_price, (opened, high, low, cents)))
            file.write(f"{_START_NS + number * _BAR_EVERY_NS},{prices},1000\n")
    return path


def _price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"
