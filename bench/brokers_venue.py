"""What the simulated venue's engine takes in: orders and cancels of many accounts, quotes and trades of many symbols.

The figure is CPU time of this process, because nothing here waits. Each turn takes the same messages to a new exchange.
"""

from __future__ import annotations

import random
import time
from decimal import Decimal

from bench.arena import tell
from bench.rounds import Stage
from bench.table import Row
from bench.targets import VENUE
from foldbook.trading.values import OrderType, Side
from foldbook.venue.exchange import Exchange
from foldbook.venue.messages import AnyMessage, Cancel, QuoteTold, Submit, TradeTold
from foldbook.venue.orders import Costs

MESSAGES = 100_000
TURNS = 7
ACCOUNTS = 100
SYMBOLS = 10
CANCELED_OF = 200
"""The order that is canceled is one of so many that were sent last."""


def measure_venue(_: Stage) -> list[Row]:
    tell(f"{MESSAGES:,} messages to the venue's engine")
    messages = mix(MESSAGES)
    return [VENUE.row(f"messages to the venue's engine, {ACCOUNTS} accounts", [_turn(messages) for _ in range(TURNS)])]


def _turn(messages: list[AnyMessage]) -> float:
    exchange = Exchange(Costs(taker=Decimal("0.001"), maker=Decimal("0.0005")))
    began_ns = time.process_time_ns()
    for message in messages:
        exchange.apply(message)
    return len(messages) * 1e9 / (time.process_time_ns() - began_ns)


def mix(count: int) -> list[AnyMessage]:
    """30 % limit orders around the market, 25 % cancels, 30 % quotes, 15 % trades, which make 9 % fills."""
    chance = random.Random(11)
    sent: list[tuple[str, str]] = []
    messages: list[AnyMessage] = []
    for time_ns in range(1, count + 1):
        symbol, mid, kind = f"S-{chance.randrange(SYMBOLS)}", 1000 + chance.randrange(-5, 6), chance.random()
        if kind < 0.3 or (kind < 0.55 and not sent):
            sent.append((f"account-{chance.randrange(ACCOUNTS)}", f"order-{time_ns}"))
            messages.append(_order(chance, time_ns, *sent[-1], symbol, mid))
        elif kind < 0.55:
            account, order_id = sent.pop(chance.randrange(max(0, len(sent) - CANCELED_OF), len(sent)))
            messages.append(Cancel(time_ns, account, order_id))
        elif kind < 0.85:
            messages.append(QuoteTold(time_ns, symbol, Decimal(mid), Decimal(mid + 1), Decimal(50), Decimal(50)))
        else:
            messages.append(TradeTold(time_ns, symbol, Decimal(mid), Decimal(20)))
    return messages


def _order(chance: random.Random, time_ns: int, account: str, order_id: str, symbol: str, mid: int) -> Submit:
    side, away = chance.choice(list(Side)), chance.randrange(30)
    return Submit(
        time_ns,
        account,
        order_id,
        symbol,
        side,
        OrderType.LIMIT,
        Decimal(chance.randrange(1, 100)),
        Decimal(mid - away if side is Side.BUY else mid + away),
    )
