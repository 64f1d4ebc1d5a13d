"""Executions with everything filled in that a test of positions does not care about, and random histories of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from foldbook.trading.events import ExecutionEvent, FillBusted, FillCorrected, OrderFilled
from foldbook.trading.position import Position, evolve_position
from foldbook.trading.values import FRACTION_DIGITS_MAX, Side

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


QUANTITIES = ("1", "2", "3", "0.125", "7.875", "0.000000000000000003")
PRICES = ("100", "101", "90", "110.5", "64250.1", "0.000000000000000007")
FEES = (None, ("USDT", "0.25"), ("BTC", "0.001"), ("USDT", "-0.125"), ("BNB", "0.3"), ("USD", "1"))
KINDS = ("fill", "bust", "correct", "flat", "fill")


@st.composite
def executions(draw: st.DrawFn, length_max: int = 40) -> list[tuple[str, ExecutionEvent]]:
    """Fills, busts, corrections and reversals of several symbols of two accounts, each with its account.

    Each is made of eight bytes, which Hypothesis draws at once.
    """
    traders = [(account, Trader(instrument)) for account in ACCOUNTS for instrument in INSTRUMENTS]
    traders = traders[: draw(st.sampled_from([1, 2, len(traders)]))]
    steps = draw(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=length_max))
    return [
        (account, _execution(trader, number, choices))
        for number, (account, trader, choices) in enumerate((*traders[step[0] % len(traders)], step) for step in steps)
    ]


def _execution(trader: Trader, number: int, choices: bytes) -> ExecutionEvent:
    instrument = trader.instrument
    kind = KINDS[choices[1] % len(KINDS)] if trader.fills else "fill"
    qty, px = QUANTITIES[choices[2] % len(QUANTITIES)], PRICES[choices[3] % len(PRICES)]
    sign = "-" if choices[4] % 2 else ""
    said: dict[str, Any] = {
        "symbol": instrument.symbol,
        "multiplier": instrument.multiplier,
        "base_currency": instrument.base_currency,
        "quote_currency": instrument.quote_currency,
    }
    fee = FEES[choices[5] % len(FEES)]
    if fee is not None:
        said |= {"fee_currency": fee[0], "fee": fee[1]}
    if kind in ("fill", "flat"):
        held = trader.position.quantity if trader.position else Decimal(0)
        if kind == "flat" and held and -int(held.as_tuple().exponent) <= FRACTION_DIGITS_MAX:
            qty, sign = f"{held.copy_abs():f}", "" if held.is_signed() else "-"
            said |= {"fee_currency": None, "fee": None}
        order = {"order_id": f"o-{number % 3}", "exec_id": f"e-{number}", "strategy_id": f"s-{number % 2}"}
        fill = filled(sign + qty, px, **said | order)
        trader.fills.append(fill)
        return trader.evolve(fill)
    place = choices[6] % len(trader.fills)
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
        return trader.evolve(busted(f"{sign}{known.last_qty:f}", f"{known.last_px:f}", known.exec_id, **said))
    correction = corrected(known, sign + qty, px, **said)
    trader.fills[place] = msgspec.structs.replace(
        known,
        last_qty=correction.last_qty,
        last_px=correction.last_px,
        fee=correction.fee,
        fee_currency=correction.fee_currency,
    )
    return trader.evolve(correction)
