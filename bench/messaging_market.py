"""Market data over RabbitMQ: how many ticks a second reach each of five consumers.

The publisher and each consumer is a process of its own. The publisher offers a fixed rate, and the figure is what the
consumer got that got least; the detail says how many were lost on the way.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec

from bench.arena import run_child
from bench.messaging_market_load import Got, MarketLoad
from bench.rounds import Stage
from bench.table import Row, Slice
from bench.targets import MARKET
from foldbook.engine.rabbit import rabbitmq_server
from tests.messaging.rabbit import Rabbit, rabbit

CONSUMERS = 5
SYMBOLS = 20
OFFERED_PER_S = 40_000
WHAT = f"ticks over RabbitMQ to each of {CONSUMERS} consumers"


def measure_market(stage: Stage) -> list[Row]:
    program = rabbitmq_server()
    if program is None:
        return [MARKET.not_measured(WHAT, "no rabbitmq-server is installed")]
    fan_out = FanOut(stage.cleanup.enter_context(rabbit(program)))
    turns = stage.take_turns({WHAT: fan_out})[WHAT]
    offered = f"{OFFERED_PER_S:,} a second offered, {SYMBOLS} symbols, {max(fan_out.lost):,} lost at most"
    return [MARKET.row(WHAT, [turn.rate for turn in turns], offered)]


@dataclass
class FanOut:
    rabbitmq: Rabbit
    lost: list[int] = field(default_factory=list)

    def run(self, seconds: float) -> Slice:
        url = self.rabbitmq.virtual_host()
        load = MarketLoad(url=url, symbols=SYMBOLS, per_s=OFFERED_PER_S, seconds=seconds)
        with ThreadPoolExecutor(CONSUMERS + 1) as threads:
            consuming = [threads.submit(run_child, "bench.messaging_market_load", load, Got) for _ in range(CONSUMERS)]
            publishing = msgspec.structs.replace(load, is_publisher=True)
            threads.submit(run_child, "bench.messaging_market_load", publishing, Got).result()
            got = [each.result() for each in consuming]
        self.lost.append(max(each.lost for each in got))
        least = min(got, key=lambda each: each.count / each.seconds)
        return Slice(count=least.count, seconds=least.seconds)
