"""Executions with everything filled in that a test of positions does not care about, and random histories of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from app.trading.events import ExecutionEvent, FillBusted, FillCorrected, OrderFilled
from app.trading.position import Position, evolve_position
from app.trading.values import Side

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def executed(event_type: type[ExecutionEvent], qty: str, px: str, exec_id: str, **fields: Any) -> Any:
    """``qty`` is signed: negative for a sale. Amounts may be given as text."""
    said: dict[str, Any] = {
        "order_id": "o-1",
        "strategy_id": "trend",
        "symbol": "BTC-USDT",
        "side": Side.SELL if qty.startswith("-") else Side.BUY,
        "exec_id": exec_id,
        "last_qty": qty.removeprefix("-"),
        "last_px": px,
        "cum_qty": "1",
        "leaves_qty": "0",
        "base_currency": "BTC",
        "quote_currency": "USDT",
        "transact_time": NOON,
        **fields,
    }
    return msgspec.convert(said, event_type, strict=False)


def filled(qty: str, px: str, exec_id: str = "e-1", **fields: Any) -> OrderFilled:
    event: OrderFilled = executed(OrderFilled, qty, px, exec_id, **fields)
    return event


def busted(qty: str, px: str, exec_ref_id: str = "e-1", **fields: Any) -> FillBusted:
    event: FillBusted = executed(FillBusted, qty, px, f"bust-{exec_ref_id}", exec_ref_id=exec_ref_id, **fields)
    return event


def corrected(previous: OrderFilled, qty: str, px: str, **fields: Any) -> FillCorrected:
    """``previous`` is the fill, or the fill as it was after the correction before."""
    event: FillCorrected = executed(
        FillCorrected,
        qty,
        px,
        f"correction-{previous.exec_id}",
        exec_ref_id=previous.exec_id,
        previous_qty=previous.last_qty,
        previous_px=previous.last_px,
        previous_fee=previous.fee,
        previous_fee_currency=previous.fee_currency,
        **fields,
    )
    return event


# -- random histories --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Instrument:
    symbol: str
    multiplier: str | None
    base_currency: str | None
    quote_currency: str | None


INSTRUMENTS = (
    Instrument("BTC-USDT", None, "BTC", "USDT"),
    Instrument("ES", "50.000000000000000001", None, "USD"),
    Instrument("BTCUSDT", None, None, None),
)
ACCOUNTS = ("alice/binance/simulated", "bob/kraken/backtest")


@dataclass
class Trader:
    """One symbol of one account, as the decider would know it: what can be busted or corrected, and how."""

    instrument: Instrument
    position: Position | None = None
    fills: list[OrderFilled] = field(default_factory=list)
    """As the last correction left them; those that were busted are gone."""

    def evolve(self, event: ExecutionEvent) -> ExecutionEvent:
        self.position = evolve_position(self.position, event)
        return event


amounts = st.integers(1, 40).map(lambda n: str(Decimal(n) / 8)) | st.sampled_from(["0.000000000000000003", "7"])
prices = st.integers(1, 30).map(str) | st.sampled_from(["64250.1", "0.000000000000000007"])
fees = st.sampled_from([None, ("USDT", "0.25"), ("USDT", "-0.125"), ("BTC", "0.001"), ("BNB", "0.3"), ("USD", "1")])


@st.composite
def executions(draw: st.DrawFn, length_max: int = 40) -> list[tuple[str, ExecutionEvent]]:
    """Fills, busts, corrections and reversals of several symbols of two accounts, each with its account."""
    traders = {(account, i.symbol): Trader(i) for account in ACCOUNTS for i in INSTRUMENTS}
    history: list[tuple[str, ExecutionEvent]] = []
    for number in range(draw(st.integers(1, length_max))):
        account, symbol = draw(st.sampled_from(list(traders)[: draw(st.sampled_from([1, 1, len(traders)]))]))
        history.append((account, draw(_next(traders[account, symbol], number))))
    return history


@st.composite
def _next(draw: st.DrawFn, trader: Trader, number: int) -> ExecutionEvent:
    instrument = trader.instrument
    said: dict[str, Any] = {
        "symbol": instrument.symbol,
        "multiplier": instrument.multiplier,
        "base_currency": instrument.base_currency,
        "quote_currency": instrument.quote_currency,
    }
    fee = draw(fees)
    if fee is not None:
        said |= {"fee_currency": fee[0], "fee": fee[1]}
    qty, px = draw(amounts), draw(prices)
    kind = draw(st.sampled_from(["fill", "fill", "flat", "bust", "correct"]))
    if kind in ("fill", "flat") or not trader.fills:
        sign = draw(st.sampled_from(["", "-"]))
        held = trader.position.quantity if trader.position else Decimal(0)
        if kind == "flat" and held and -20 < held.adjusted() < 20:
            qty, sign = f"{abs(held):f}", "-" if held > 0 else ""
            said.pop("fee", None), said.pop("fee_currency", None)
        order = {"order_id": f"o-{number % 3}", "exec_id": f"e-{number}", "strategy_id": f"s-{number % 2}"}
        event = filled(sign + qty, px, **said | order)
        trader.fills.append(event)
        return trader.evolve(event)
    place = draw(st.integers(0, len(trader.fills) - 1))
    known = trader.fills[place]
    assert trader.position is not None
    said |= {
        "order_id": known.order_id,
        "strategy_id": known.strategy_id,
        "is_reversal": not trader.position.holds(known.order_id, known.exec_id),
    }
    sign = "-" if known.side is Side.SELL else ""
    if kind == "bust":
        del trader.fills[place]
        said |= {"fee": known.fee, "fee_currency": known.fee_currency}
        return trader.evolve(busted(f"{sign}{known.last_qty:f}", str(known.last_px), known.exec_id, **said))
    event_ = corrected(known, sign + qty, px, **said)
    trader.fills[place] = msgspec.structs.replace(
        known, last_qty=event_.last_qty, last_px=event_.last_px, fee=event_.fee, fee_currency=event_.fee_currency
    )
    return trader.evolve(event_)


def prefixes(events: list[ExecutionEvent]) -> Iterator[Position]:
    """The position after each."""
    position: Position | None = None
    for event in events:
        position = evolve_position(position, event)
        yield position
