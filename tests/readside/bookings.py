"""Random histories of everything that changes a position: fills of orders and without one, busts and corrections, gross
amounts, prices of zero and below, inverse contracts, openings, transfers, splits, and definitions of instruments."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
from hypothesis import strategies as st

from foldbook.eventstore.events import Event
from foldbook.trading.events import (
    AccountAdjusted,
    ExecutionBooked,
    ExecutionBusted,
    ExecutionCorrected,
    FillBusted,
    FillCorrected,
    InstrumentDefined,
    OrderFilled,
)
from foldbook.trading.position import Position, evolve_position
from foldbook.trading.values import FRACTION_DIGITS_MAX, QUOTIENTS, AdjustmentKind, InstrumentKind, Side
from tests.trading.executions import ACCOUNTS, NOON

Booked: TypeAlias = tuple[str, Any]
"""An account, and what happened to it."""

FILLS = (OrderFilled, ExecutionBooked)
CORRECTIONS = (FillCorrected, ExecutionCorrected)
BUSTS = (FillBusted, ExecutionBusted)


@dataclass(frozen=True)
class Instrument:
    symbol: str
    kind: InstrumentKind
    multiplier: str | None
    base_currency: str | None
    quote_currency: str | None

    @property
    def said(self) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "instrument_kind": self.kind,
            "multiplier": self.multiplier,
            "base_currency": self.base_currency,
            "quote_currency": self.quote_currency,
        }


INSTRUMENTS = (
    Instrument("BTC-USDT", InstrumentKind.SPOT, None, "BTC", "USDT"),
    Instrument("XBTUSD", InstrumentKind.INVERSE, "100", "BTC", "USD"),
    Instrument("CL", InstrumentKind.FUTURE, "50.000000000000000001", None, "USD"),
    Instrument("BTCUSDT", InstrumentKind.SPOT, None, None, None),
)
MULTIPLIERS = ("1", "0.1", "7")
QUANTITIES = ("1", "2", "3", "0.125", "7.875", "0.000000000000000003")
PRICES = ("100", "101", "90", "110.5", "64250.1", "0.000000000000000007", "0", "-37.63")
GROSS_AMOUNTS = (None, None, None, "100.01", "0", "33.333333333333333333", "-75.26")
FEES = (None, ("USDT", "0.25"), ("BTC", "0.001"), ("USDT", "-0.125"), ("BNB", "0.3"), ("USD", "1"))
STEPS = ("fill", "foreign", "bust", "correct", "flat", "fill", "adjust", "split", "define", "bust", "correct", "fill")
SPLITS = ((2, 1), (3, 2), (1, 3), (1, 10))
HOURS = (0, 1, 2, 3, 26, -5)


@dataclass
class Trader:
    """One symbol of one account, as the decider would know it: what can be busted or corrected, and how."""

    instrument: Instrument
    position: Position | None = None
    fills: list[Any] = field(default_factory=list)
    """As the last correction left them; those that were busted are gone, and those from before the last split."""

    def step(self, number: int, choices: bytes) -> Event:
        event = self._event(number, choices)
        if not isinstance(event, InstrumentDefined):
            self.position = evolve_position(self.position, event)
        return event

    def _event(self, number: int, choices: bytes) -> Event:
        step = STEPS[choices[1] % len(STEPS)]
        held = self.position.quantity if self.position else Decimal(0)
        if step == "define":
            return self._defined(held, choices)
        if step == "split":
            self.fills.clear()
            to, per = SPLITS[choices[2] % len(SPLITS)]
            return split(self.instrument.symbol, held, to, per, _time(choices))
        if step == "adjust":
            said = {
                "kind": (AdjustmentKind.OPENING, AdjustmentKind.TRANSFER)[choices[2] % 2],
                "reference": f"r-{number}",
                "quantity": _signed(choices),
                "value": PRICES[choices[3] % len(PRICES)],
            }
            return msgspec.convert(said | self.instrument.said | _time(choices), AccountAdjusted, strict=False)
        if step in ("bust", "correct") and self.fills:
            return self._amended(step, number, choices)
        terms = _terms(choices)
        if step == "flat" and held and -int(held.as_tuple().exponent) <= FRACTION_DIGITS_MAX:
            terms |= {"last_qty": held.copy_abs(), "fee": None, "fee_currency": None}
            terms |= {"side": Side.BUY if held.is_signed() else Side.SELL}
        said = terms | self.instrument.said | _time(choices) | {"exec_id": f"e-{number}"}
        if step == "foreign":
            fill: Event = msgspec.convert(said | {"kind": "LIQUIDATION"}, ExecutionBooked, strict=False)
        else:
            order = {"order_id": f"o-{number % 3}", "strategy_id": f"s-{number % 2}"}
            fill = msgspec.convert(said | order, OrderFilled, strict=False)
        self.fills.append(fill)
        return fill

    def _defined(self, held: Decimal, choices: bytes) -> InstrumentDefined:
        """While it is flat, the multiplier may change. A currency that was unknown may become known."""
        old = self.instrument
        new = old
        if not held:
            new = replace(new, multiplier=MULTIPLIERS[choices[2] % len(MULTIPLIERS)])
        put_right: tuple[str, ...] = ()
        if old.quote_currency is None and choices[3] % 2:
            new, put_right = replace(new, quote_currency="USDT"), ("quote_currency",)
        if old.base_currency is None and choices[3] % 3:
            new, put_right = replace(new, base_currency="BTC"), ("base_currency", *put_right)
        self.instrument = new
        return InstrumentDefined(
            symbol=new.symbol,
            kind=new.kind,
            multiplier=Decimal(new.multiplier or "1"),
            base_currency=new.base_currency,
            quote_currency=new.quote_currency,
            put_right=put_right,
        )

    def _amended(self, step: str, number: int, choices: bytes) -> Event:
        place = choices[6] % len(self.fills)
        known = self.fills[place]
        assert self.position is not None
        said = {name: getattr(known, name) for name in ("symbol", "side", *self.instrument.said)}
        said |= {"exec_id": f"x-{number}", "exec_ref_id": known.exec_id} | _time(choices)
        said["is_reversal"] = not self.position.holds(known.order_id, known.exec_id)
        is_foreign = isinstance(known, ExecutionBooked)
        said |= {"kind": known.kind} if is_foreign else {"order_id": known.order_id, "strategy_id": known.strategy_id}
        amounts = {name: getattr(known, name) for name in TERMS}
        if step == "bust":
            del self.fills[place]
            bust: Event = msgspec.convert(said | amounts, BUSTS[is_foreign], strict=False)
            return bust
        new = {name: value for name, value in _terms(choices).items() if name in TERMS}
        correction: Event = msgspec.convert(
            said | new | {f"previous_{name.removeprefix('last_')}": value for name, value in amounts.items()},
            CORRECTIONS[is_foreign],
            strict=False,
        )
        self.fills[place] = msgspec.structs.replace(known, **{name: getattr(correction, name) for name in TERMS})
        return correction


TERMS = ("last_qty", "last_px", "gross_amount", "fee", "fee_currency")


def _terms(choices: bytes) -> dict[str, Any]:
    fee = FEES[choices[5] % len(FEES)]
    return {
        "side": Side.SELL if choices[4] % 2 else Side.BUY,
        "last_qty": QUANTITIES[choices[2] % len(QUANTITIES)],
        "last_px": PRICES[choices[3] % len(PRICES)],
        "gross_amount": GROSS_AMOUNTS[choices[7] % len(GROSS_AMOUNTS)],
        "fee": fee and fee[1],
        "fee_currency": fee and fee[0],
    }


def _signed(choices: bytes) -> str:
    return ("-" if choices[4] % 2 else "") + QUANTITIES[choices[5] % len(QUANTITIES)]


def _time(choices: bytes) -> dict[str, datetime | None]:
    """Told, told too far ahead, or not told."""
    told = NOON + timedelta(hours=HOURS[choices[8] % len(HOURS)])
    match choices[9] % 4:
        case 0:
            return {"transact_time": told + timedelta(days=9), "counted_at": told}
        case 1:
            return {"transact_time": None, "counted_at": told}
        case _:
            return {"transact_time": told, "counted_at": None}


def split(symbol: str, held: Decimal, to: int, per: int, times: dict[str, Any]) -> AccountAdjusted:
    up, down = Decimal(FRACTION_DIGITS_MAX), Decimal(-FRACTION_DIGITS_MAX)
    whole = QUOTIENTS.divide_int(QUOTIENTS.scaleb(QUOTIENTS.multiply(held, Decimal(to)), up), Decimal(per))
    scaled = QUOTIENTS.scaleb(whole, down)
    return AccountAdjusted(
        kind=AdjustmentKind.SPLIT,
        reference="split",
        symbol=symbol,
        quantity=QUOTIENTS.subtract(scaled, held),
        value=Decimal(0),
        split_to=to,
        split_from=per,
        **times,
    )


def split_anew(event: Any, held: Decimal) -> Any:
    """A split of a position that holds something else; any other event as it is."""
    if not isinstance(event, AccountAdjusted) or event.split_to is None or event.split_from is None:
        return event
    return split(event.symbol or "", held, event.split_to, event.split_from, {"transact_time": event.transact_time})


@st.composite
def bookings(draw: st.DrawFn, length_max: int = 40) -> list[Booked]:
    """What happened to several symbols of two accounts. Each step is made of ten bytes, which are drawn at once."""
    traders = [(account, Trader(instrument)) for account in ACCOUNTS for instrument in INSTRUMENTS]
    traders = traders[: draw(st.sampled_from([1, 2, 4, len(traders)]))]
    steps = draw(st.lists(st.binary(min_size=10, max_size=10), min_size=1, max_size=length_max))
    history: list[Booked] = []
    for number, choices in enumerate(steps):
        account, trader = traders[choices[0] % len(traders)]
        history.append((account, trader.step(number, choices)))
    return history


# -- what it comes to --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A position with what it is of."""

    position: Position
    base_currency: str | None = None
    quote_currency: str | None = None

    def after(self, event: Any) -> Shown:
        if isinstance(event, InstrumentDefined):
            return replace(
                self,
                base_currency=self.base_currency or event.base_currency,
                quote_currency=self.quote_currency or event.quote_currency,
            )
        after = evolve_position(self.position, event)
        if is_describing(event):
            return Shown(after, event.base_currency, event.quote_currency)
        return replace(self, position=after)


def is_describing(event: Any) -> bool:
    return isinstance(event, FILLS) or (isinstance(event, AccountAdjusted) and event.split_to is None)


def counts(event: Any) -> bool:
    """It changes a row, or writes an entry, if the symbol has been traded."""
    return not isinstance(event, InstrumentDefined) or bool(event.put_right)


def fold(history: list[Booked]) -> list[tuple[int, str, Any, Shown]]:
    """Every entry of the journal: its position, its account, its event, and the position after it."""
    folded: dict[tuple[str, str], Shown] = {}
    entries = []
    for number, (account, event) in enumerate(history, 1):
        before = folded.get((account, event.symbol))
        if not counts(event) or (before is None and isinstance(event, InstrumentDefined)):
            continue
        after = (before or Shown(Position())).after(event)
        folded[account, event.symbol] = after
        entries.append((number, account, event, after))
    return entries


def fold_by_strategy(history: list[Booked]) -> dict[tuple[str, str, str], tuple[int, Shown]]:
    """By account, strategy and symbol: the last event that concerned it, and the position."""
    folded: dict[tuple[str, str, str], tuple[int, Shown]] = {}
    for number, (account, event) in enumerate(history, 1):
        if not counts(event):
            continue
        everybody = [key for key in folded if (key[0], key[2]) == (account, event.symbol)]
        if isinstance(event, InstrumentDefined):
            for key in everybody:
                folded[key] = number, folded[key][1].after(event)
        elif isinstance(event, AccountAdjusted) and event.split_to is not None:
            for key in everybody:
                before = folded[key][1]
                folded[key] = number, before.after(split_anew(event, before.position.quantity))
        else:
            key = (account, getattr(event, "strategy_id", ""), event.symbol)
            _, before = folded.get(key, (0, Shown(Position())))
            folded[key] = number, before.after(event)
    return folded


def known_now(history: list[Booked]) -> dict[tuple[str, str], list[tuple[datetime, int, Any]]]:
    """By account and symbol: every fill that was not busted, as it was last corrected, and every adjustment, in the
    order of the times that count."""
    standing: dict[tuple[str, str], tuple[datetime, int, Any]] = {}
    for number, (account, event) in enumerate(history, 1):
        if isinstance(event, BUSTS):
            del standing[account, event.order_id + event.exec_ref_id]
        elif isinstance(event, CORRECTIONS):
            time, first, known = standing[account, event.order_id + event.exec_ref_id]
            known = msgspec.structs.replace(known, **{name: getattr(event, name) for name in TERMS})
            standing[account, event.order_id + event.exec_ref_id] = time, first, known
        elif not isinstance(event, InstrumentDefined):
            own = event.order_id + event.exec_id if isinstance(event, FILLS) else f"{number}"
            standing[account, own] = event.counted_at or event.transact_time, number, event
    found: dict[tuple[str, str], list[tuple[datetime, int, Any]]] = {}
    for (account, _), each in standing.items():
        found.setdefault((account, each[2].symbol), []).append(each)
    return {key: sorted(events, key=lambda each: each[:2]) for key, events in found.items()}
