# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""The strategy on nautilus_trader, in that package's own environment: prints how many orders were filled, in seconds.

The time is that of ``BacktestEngine.run``; reading the file and making its bars are not part of it. Nothing is logged
and no analysis is made.
"""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal

import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

SIZE = Quantity.from_int(1)


class OnBars(Strategy):
    """Buys at one close and sells at the next."""

    def __init__(self, bar_type: BarType) -> None:
        super().__init__()
        self.bar_type = bar_type
        self.buys = True

    def on_start(self) -> None:
        self.subscribe_bars(self.bar_type)

    def on_bar(self, _bar: Bar) -> None:
        side = OrderSide.BUY if self.buys else OrderSide.SELL
        self.submit_order(self.order_factory.market(self.bar_type.instrument_id, side, SIZE))
        self.buys = not self.buys


def main(path: str) -> None:
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
    instrument = TestInstrumentProvider.equity(symbol="BTCUSD", venue="SIM")
    engine.add_venue(
        venue=Venue("SIM"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(Decimal(1_000_000), USD)],
    )
    engine.add_instrument(instrument)
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    rows = pd.read_csv(path, index_col="time")
    rows.index = pd.to_datetime(rows.index, unit="ns", utc=True)
    engine.add_data(BarDataWrangler(bar_type, instrument).process(rows))
    engine.add_strategy(OnBars(bar_type))
    began = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - began
    filled = sum(order.is_closed and order.filled_qty == SIZE for order in engine.cache.orders())
    print(json.dumps({"count": filled, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
