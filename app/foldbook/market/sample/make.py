"""Makes the files of the sample: ``python -m foldbook.market.sample.make``.

A price walks in steps of a tick and is drawn back to where it began, so that it stays near it. The same seed gives the
same rows, on any machine.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from foldbook.market.sample import FILES

SEED = 11
LENGTH_MS = 100_000
BEGIN_NS = 1_767_225_600 * 10**9
"""2026-01-01T00:00:00Z."""


class Walk(NamedTuple):
    """How a symbol's price walks. The bid begins at ``start`` and is ``reach`` ticks away from it at the most."""

    symbol: str
    start: Decimal
    tick: Decimal
    reach: int
    spread_max: int
    size_step: Decimal
    sizes: tuple[int, int]
    every_ms: int


WALKS = (
    # The ask is at 64250.1 or below most of the time, and no size is more than a third of the README's order.
    Walk("BTCUSDT", Decimal("64249.6"), Decimal("0.1"), 6, 3, Decimal("0.01"), (12, 45), 200),
    Walk("ETHUSDT", Decimal("3120.4"), Decimal("0.01"), 40, 4, Decimal("0.1"), (5, 80), 400),
)


def quotes() -> Iterator[tuple[int, str]]:
    """The time of each row, in milliseconds, and its text; likewise of ``trades``."""
    for number, walk in enumerate(WALKS):
        chance = random.Random(SEED + number)  # noqa: S311 - what is made up need not be secret
        offset = 0
        for at_ms in range(0, LENGTH_MS, walk.every_ms):
            # The farther it is away, the more likely it comes back.
            is_back = chance.random() < abs(offset) / walk.reach
            step = chance.choice((-1, 0, 1))
            offset += (-1 if offset > 0 else 1) if is_back else step
            bid = walk.start + offset * walk.tick
            ask = bid + chance.randint(1, walk.spread_max) * walk.tick
            sizes = [chance.randint(*walk.sizes) * walk.size_step for _ in range(2)]
            jitter_ms = chance.randrange(walk.every_ms // 2)
            text = f"{walk.symbol},{bid},{ask},{sizes[0]},{sizes[1]}"
            yield at_ms + jitter_ms, text


def trades() -> Iterator[tuple[int, str]]:
    """Each at the price of the quote before it."""
    chance = random.Random(SEED - 1)  # noqa: S311
    for at_ms, text in quotes():
        symbol, bid, ask, bid_size, ask_size = text.split(",")
        if chance.random() < 0.25:
            side, price, shown = chance.choice((("BUY", ask, ask_size), ("SELL", bid, bid_size)))
            size = (Decimal(shown) / 2).quantize(Decimal(shown))
            yield at_ms + 20, f"{symbol},{price},{size},{side}"


def texts() -> tuple[str, str]:
    """The two files."""
    return (
        _text("time,symbol,bid,ask,bid_size,ask_size", quotes()),
        _text("time,symbol,price,size,aggressor", trades()),
    )


def _text(header: str, rows: Iterator[tuple[int, str]]) -> str:
    lines = [f"{BEGIN_NS + at_ms * 10**6},{text}" for at_ms, text in sorted(rows)]
    return "\n".join([header, *lines, ""])


def main() -> None:
    for path, text in zip(FILES, texts(), strict=True):
        path.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
