"""Histories of executions, and what they come to in plain Python: a queue of lots, and a list of entries.

The model keeps every fill that counts in a list, without busted fills and with corrected ones in their place, and folds
it from the beginning every time. It knows nothing about ranges, intervals or running sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.readside.histories import BEGIN, Happening

ACCOUNTS = ("alice/binance/simulated", "bob/kraken/backtest")
SYMBOLS: dict[str, dict[str, str]] = {
    "BTC-USDT": {"base_currency": "BTC", "quote_currency": "USDT"},
    "ETH-BTC": {"base_currency": "ETH", "quote_currency": "BTC", "multiplier": "0.5"},
    "ETH-USDT": {"base_currency": "ETH", "quote_currency": "USDT"},
    "FUTURE": {"multiplier": "10"},
    "INDEX": {"quote_currency": "USDT"},
}
QUANTITIES = ("0.5", "1", "1.5", "2", "3", "0.000000000000000001")
PRICES = ("99.5", "100", "101.01", "33.333333333333333333", "0")
FEES = ("0.001", "0.5", "1", "-0.25", "0")

PREVIOUS = {"qty": "last_qty", "px": "last_px", "fee": "fee", "fee_currency": "fee_currency"}

Row = dict[str, Any]


def signed_quantity(p: Row) -> Decimal:
    quantity = Decimal(p["last_qty"]) * (1 if p["side"] == "BUY" else -1)
    return quantity - base_fee(p)


def base_fee(p: Row) -> Decimal:
    return Decimal(p["fee"]) if "fee" in p and p["fee_currency"] == p.get("base_currency") else Decimal(0)


def unit_price(p: Row) -> Decimal:
    return Decimal(p["last_px"]) * Decimal(p.get("multiplier", "1"))


# -- histories ---------------------------------------------------------------------------------------------------


@st.composite
def _terms(draw: st.DrawFn, symbol: str) -> Row:
    terms: Row = {"last_qty": draw(st.sampled_from(QUANTITIES)), "last_px": draw(st.sampled_from(PRICES))}
    known = SYMBOLS[symbol]
    currency = draw(st.sampled_from([None, "BNB", known.get("base_currency"), known.get("quote_currency")]))
    if currency is not None:
        terms |= {"fee": draw(st.sampled_from(FEES)), "fee_currency": currency}
    return terms | known


@st.composite
def executions(draw: st.DrawFn, events_max: int = 40) -> list[Happening]:
    """Fills of a few orders, busted and corrected soon or late, told to be reversals or not."""
    history: list[Happening] = []
    standing: dict[tuple[str, str, str], Row] = {}
    symbols = draw(st.lists(st.sampled_from(sorted(SYMBOLS)), min_size=1, max_size=3, unique=True))
    for number in range(draw(st.integers(0, events_max))):
        at = BEGIN + timedelta(milliseconds=draw(st.integers(0, 1000)))
        choice = draw(st.sampled_from(["fill", "fill", "fill", "bust", "correct", "noise"]))
        if choice == "noise":
            history.append(Happening(draw(st.sampled_from(ACCOUNTS)), "TradingStateChanged", {"state": "HALTED"}, at))
        elif choice == "fill" or not standing:
            account, symbol = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(symbols))
            side = draw(st.sampled_from(["BUY", "SELL"]))
            payload = {"order_id": f"o-{symbol}-{side}", "strategy_id": "s", "symbol": symbol, "side": side}
            payload |= {"exec_id": f"x-{number}"} | draw(_terms(symbol))
            standing[(account, payload["order_id"], payload["exec_id"])] = payload
            history.append(Happening(account, "OrderFilled", payload, at))
        else:
            key = draw(st.sampled_from(sorted(standing)))
            account, _, exec_ref_id = key
            old = standing.pop(key)
            names = {name: old[name] for name in ("order_id", "strategy_id", "symbol", "side")}
            names |= {"exec_id": f"x-{number}", "exec_ref_id": exec_ref_id}
            reversal = {"is_reversal": True} if draw(st.booleans()) else {}
            if choice == "bust":
                told = {k: v for k, v in old.items() if k not in (*names, "exec_id")}
                history.append(Happening(account, "FillBusted", names | told | reversal, at))
            else:
                new = names | draw(_terms(old["symbol"]))
                previous = {
                    f"previous_{short}": old[name]
                    for short, name in {
                        "qty": "last_qty",
                        "px": "last_px",
                        "fee": "fee",
                        "fee_currency": "fee_currency",
                    }.items()
                    if name in old
                }
                history.append(Happening(account, "FillCorrected", new | previous | reversal, at))
                standing[key] = new
    return history


# -- the lots, as a queue ----------------------------------------------------------------------------------------


@dataclass
class Leg:
    position: int
    leg: int
    payload: Row
    at: Any
    sign: int = 1

    @property
    def names(self) -> Row:
        return {"order_id": self.payload["order_id"], "exec_id": fill_id(self.payload)}


def fill_id(p: Row) -> str:
    return str(p.get("exec_ref_id", p["exec_id"]))


@dataclass
class Lots:
    lots: list[Row] = field(default_factory=list)
    closings: list[Row] = field(default_factory=list)


def legs_of(history: Iterable[Happening]) -> dict[tuple[str, str], list[Leg]]:
    """By account and symbol, the fills that count, in their places."""
    legs: dict[tuple[str, str], list[Leg]] = defaultdict(list)
    current: dict[tuple[str, str, str], Leg] = {}
    for position, e in enumerate(history, 1):
        if e.type not in ("OrderFilled", "FillBusted", "FillCorrected"):
            continue
        p: Row = e.payload
        key = (e.account, p["order_id"], fill_id(p))
        symbol = legs[e.account, p["symbol"]]
        if e.type == "OrderFilled":
            current[key] = Leg(position, 0, p, e.occurred_at)
            symbol.append(current[key])
        elif p.get("is_reversal"):
            old = current[key]
            symbol.append(Leg(position, 0, old.payload, e.occurred_at, -1))
            if e.type == "FillCorrected":
                current[key] = Leg(position, 1, p, e.occurred_at)
                symbol.append(current[key])
        elif e.type == "FillBusted":
            symbol.remove(current[key])
        else:
            current[key].payload = p
    return legs


def fifo(history: Iterable[Happening]) -> Lots:
    """The rows of lots and lot_closings, by their places."""
    found = Lots()
    for (account, symbol), legs in legs_of(history).items():
        queue: list[Row] = []
        opened = Decimal(0)
        for leg in legs:
            left = leg.sign * signed_quantity(leg.payload)
            price, multiplier = Decimal(leg.payload["last_px"]), Decimal(leg.payload.get("multiplier", "1"))
            while left and queue and (queue[0]["remaining"] > 0) != (left > 0):
                lot = queue[0]
                quantity = min(abs(left), abs(lot["remaining"])).copy_sign(lot["remaining"])
                made = quantity * (price * multiplier - lot["price"] * lot["multiplier"])
                found.closings.append(
                    {
                        "shard": 0, "account": account, "symbol": symbol, "closed_position": leg.position,
                        "closed_leg": leg.leg, "opened_position": lot["opened_position"],
                        "opened_leg": lot["opened_leg"], **leg.names, "quantity": quantity, "lot_price": lot["price"],
                        "close_price": price, "close_multiplier": multiplier, "realized_pnl": made,
                        "closed_at": leg.at,
                    }
                )  # fmt: skip
                left += quantity
                lot["remaining"] -= quantity
                lot["realized_pnl"] += made
                if not lot["remaining"]:
                    lot |= {"closed_position": leg.position, "closed_at": leg.at}
                    queue.pop(0)
            if left:
                opened += abs(left)
                lot = {
                    "shard": 0, "account": account, "symbol": symbol, "opened_position": leg.position,
                    "opened_leg": leg.leg, **leg.names, "quantity": left, "price": price, "multiplier": multiplier,
                    "remaining": left, "realized_pnl": Decimal(0), "opened_at": leg.at, "closed_position": None,
                    "closed_at": None, "opened_to": opened,
                }  # fmt: skip
                queue.append(lot)
                found.lots.append(lot)
    found.lots.sort(key=lambda row: (row["opened_position"], row["opened_leg"]))
    found.closings.sort(key=lambda row: (row["closed_position"], row["closed_leg"], row["opened_position"]))
    return found


# -- the ledger, as a list ---------------------------------------------------------------------------------------


LEDGER_ACCOUNTS = ("position", "cash", "exchange", "fees")


def _posted(p: Row, sign: int, entries_before: int = 0) -> list[Row]:
    """A row per currency: the base, the quote, and a third in which a fee was charged."""
    symbol = p["symbol"]
    base, quote = p.get("base_currency", symbol), p.get("quote_currency", f"{symbol}/quote")
    quantity = sign * Decimal(p["last_qty"]) * (1 if p["side"] == "BUY" else -1)
    money = quantity * unit_price(p)
    moved: dict[Any, dict[str, Decimal]] = {
        base: {"position": quantity, "exchange": -quantity},
        quote: {"cash": -money, "exchange": money},
    }
    fee = sign * Decimal(p.get("fee", "0"))
    if fee:
        entry = moved.setdefault(p["fee_currency"], {})
        payer = "position" if p["fee_currency"] == p.get("base_currency") else "cash"
        entry[payer] = entry.get(payer, Decimal(0)) - fee
        entry["fees"] = fee
    return [
        {"entry": number, "currency": currency} | {name: entry.get(name, Decimal(0)) for name in LEDGER_ACCOUNTS}
        for number, (currency, entry) in enumerate(moved.items(), entries_before + 1)
    ]


def entries_of(history: Iterable[Happening]) -> list[Row]:
    """The rows of ledger_entries."""
    found: list[Row] = []
    standing: dict[tuple[str, str, str], Row] = {}
    for position, e in enumerate(history, 1):
        if e.type not in ("OrderFilled", "FillBusted", "FillCorrected"):
            continue
        p: Row = e.payload
        key = (e.account, p["order_id"], fill_id(p))
        posted = _posted(standing[key], -1) if e.type != "OrderFilled" else []
        if e.type != "FillBusted":
            posted += _posted(p, 1, entries_before=3 if e.type == "FillCorrected" else 0)
            standing[key] = p
        found += [{"shard": 0, "log_position": position, "account": e.account} | entry for entry in posted]
    return found


def balances_of(entries: Iterable[Row]) -> dict[tuple[str, str, str], Decimal]:
    """By account, ledger account and currency; those that are not zero."""
    balances: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for e in entries:
        for name in LEDGER_ACCOUNTS:
            balances[e["account"], name, e["currency"]] += e[name]
    return {key: balance for key, balance in balances.items() if balance}
