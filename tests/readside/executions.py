"""Histories of executions and adjustments, and what they come to in plain Python: a queue of lots, a list of entries.

The model keeps every fill that counts in a list, without busted fills and with corrected ones in their place, and folds
it from the beginning every time. It knows nothing about ranges, intervals or running sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from foldbook.trading.position import share
from foldbook.trading.values import InstrumentKind, unit_cost
from tests.readside.histories import BEGIN, Happening, plain

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


FILLS = ("OrderFilled", "ExecutionBooked")
BUSTS = ("FillBusted", "ExecutionBusted")
CORRECTIONS = ("FillCorrected", "ExecutionCorrected")


def signed_quantity(p: Row) -> Decimal:
    """What an execution or an adjustment adds to the position."""
    if "reference" in p:
        return Decimal(p["quantity"])
    return _traded(p) - base_fee(p)


def _traded(p: Row) -> Decimal:
    return Decimal(p["last_qty"]) * (1 if p["side"] == "BUY" else -1)


def base_fee(p: Row) -> Decimal:
    is_in_kind = "fee" in p and p["fee_currency"] == p.get("base_currency") and kind_of(p) is InstrumentKind.SPOT
    return Decimal(p["fee"]) if is_in_kind else Decimal(0)


def kind_of(p: Row) -> InstrumentKind:
    return InstrumentKind(p.get("instrument_kind", "SPOT"))


def unit_price(p: Row) -> Decimal:
    """What one unit costs."""
    if "reference" in p:
        return share(Decimal(p["value"]), Decimal(1), Decimal(p["quantity"]))
    if "gross_amount" in p and Decimal(p["last_qty"]):
        return share(_gross(p), Decimal(1), Decimal(p["last_qty"]))
    return unit_cost(Decimal(p["last_px"]), Decimal(p.get("multiplier", "1")), kind_of(p))


def _gross(p: Row) -> Decimal:
    return Decimal(p["gross_amount"]) * (-1 if kind_of(p) is InstrumentKind.INVERSE else 1)


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


class Foreign(Happening):
    """About an execution without an order of ours."""

    @property
    def order_id(self) -> str | None:
        return f"~{fill_id(self.payload)}"


INSTRUMENTS: dict[str, dict[str, str]] = {
    "BTC-USDT": {"base_currency": "BTC", "quote_currency": "USDT"},
    "ETH-BTC": {"base_currency": "ETH", "quote_currency": "BTC", "multiplier": "0.5"},
    "OPTION": {"instrument_kind": "OPTION", "multiplier": "0.1", "base_currency": "BTC", "quote_currency": "USDT"},
    "XBTUSD": {"instrument_kind": "INVERSE", "multiplier": "100", "base_currency": "BTC", "quote_currency": "USD"},
    "UNKNOWN": {},
    "INDEX": {"quote_currency": "USDT"},
    "FUTURE": {"instrument_kind": "FUTURE", "multiplier": "10"},
    "INVERSE": {"instrument_kind": "INVERSE", "multiplier": "10"},
}
"""As they are at first; what is unknown is put right, and may become unknown again."""
CURRENCIES = {"base_currency": ("ABC", "BTC"), "quote_currency": ("USDT", "EUR")}
ANY_PRICE = (*PRICES, "-37.63", "0.07")
ANY_QUANTITY = (*QUANTITIES, "0")
EXECUTION_KINDS = ("FOREIGN_ORDER", "LIQUIDATION", "ASSIGNMENT", "EXERCISE", "SETTLEMENT")
SPLITS = ((2, 1), (1, 3), (3, 2), (1, 1_000_000_000_000_000_000))


class _Books:
    """What the accounts are like after a history, as far as the next event must know."""

    def __init__(self) -> None:
        self.history: list[Happening] = []
        self.standing: dict[tuple[str, str, str], Row] = {}
        """The fills that can be busted and corrected."""
        self.instruments: dict[tuple[str, str], dict[str, str]] = {}

    def instrument(self, account: str, symbol: str) -> dict[str, str]:
        return self.instruments.get((account, symbol), INSTRUMENTS[symbol])

    def held(self, account: str, symbol: str) -> Decimal:
        legs = legs_of(self.history).get((account, symbol), [])
        return sum((leg.sign * signed_quantity(leg.payload) for leg in legs), Decimal(0))


@st.composite
def bookings(draw: st.DrawFn, events_max: int = 40) -> list[Happening]:
    """Everything that lots and ledger fold, in any order, of a few symbols."""
    books = _Books()
    symbols = draw(st.lists(st.sampled_from(sorted(INSTRUMENTS)), min_size=1, max_size=3, unique=True))
    steps = [_fill, _fill, _fill, _bust_or_correct, _bust_or_correct, _transfer, _split, _money, _define]
    for number in range(draw(st.integers(0, events_max))):
        step = draw(st.sampled_from(steps))
        account, symbol = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(symbols))
        at = BEGIN + timedelta(milliseconds=draw(st.integers(0, 1000)))
        draw(step(books, account, symbol, number, at))
    return books.history


@st.composite
def _any_terms(draw: st.DrawFn, known: dict[str, str]) -> Row:
    terms: Row = {"last_qty": draw(st.sampled_from(ANY_QUANTITY)), "last_px": draw(st.sampled_from(ANY_PRICE))}
    currency = draw(st.sampled_from([None, "BNB", known.get("base_currency"), known.get("quote_currency")]))
    if currency is not None:
        terms |= {"fee": draw(st.sampled_from(FEES)), "fee_currency": currency}
    if draw(st.integers(0, 3)) == 0:
        terms["gross_amount"] = draw(st.sampled_from(["33.33", "100", "0", "-7.01"]))
    return terms


@st.composite
def _fill(draw: st.DrawFn, books: _Books, account: str, symbol: str, number: int, at: datetime) -> None:
    known = books.instrument(account, symbol)
    side = draw(st.sampled_from(["BUY", "SELL"]))
    payload = {"symbol": symbol, "side": side, "exec_id": f"x-{number}"} | draw(_any_terms(known)) | known
    if draw(st.integers(0, 2)):
        payload |= {"order_id": f"o-{symbol}-{side}", "strategy_id": "s"}
        happening = Happening(account, "OrderFilled", payload, at)
    else:
        payload |= {"kind": draw(st.sampled_from(EXECUTION_KINDS))}
        happening = Foreign(account, "ExecutionBooked", payload, at)
    assert happening.order_id is not None
    books.standing[account, happening.order_id, payload["exec_id"]] = payload
    books.history.append(happening)


@st.composite
def _bust_or_correct(draw: st.DrawFn, books: _Books, account: str, symbol: str, number: int, at: datetime) -> None:
    if not books.standing:
        return
    account, order_id, exec_ref_id = key = draw(st.sampled_from(sorted(books.standing)))
    old = books.standing.pop(key)
    of_fill = ("symbol", "order_id", "strategy_id", "side", "kind", *known_names())
    same = {name: old[name] for name in of_fill if name in old}
    # What has become known since is told, unless that would change what the fee was taken from.
    for name, currency in books.instrument(account, old["symbol"]).items():
        if name == "quote_currency" or (name == "base_currency" and currency != old.get("fee_currency")):
            same.setdefault(name, currency)
    same |= {"exec_id": f"x-{number}", "exec_ref_id": exec_ref_id}
    if draw(st.booleans()):
        same |= {"is_reversal": True}
    make, prefix = (Foreign, "Execution") if "kind" in old else (Happening, "Fill")
    terms = {name: old[name] for name in TERMS.values() if name in old}
    if draw(st.booleans()):
        books.history.append(make(account, f"{prefix}Busted", same | terms, at))
        return
    previous = {f"previous_{short}": old[name] for short, name in TERMS.items() if name in old}
    new = same | draw(_any_terms({name: same[name] for name in CURRENCIES if name in same}))
    books.history.append(make(account, f"{prefix}Corrected", new | previous, at))
    books.standing[account, order_id, exec_ref_id] = new


TERMS = PREVIOUS | {"gross_amount": "gross_amount"}


def known_names() -> tuple[str, ...]:
    return ("instrument_kind", "multiplier", *CURRENCIES)


@st.composite
def _transfer(draw: st.DrawFn, books: _Books, account: str, symbol: str, number: int, at: datetime) -> None:
    payload = {
        "kind": draw(st.sampled_from(["OPENING", "TRANSFER"])), "reference": f"r-{number}", "symbol": symbol,
        "quantity": draw(st.sampled_from(["1", "-1", "2.5", "-2.5", "0.000000000000000003"])),
        "value": draw(st.sampled_from(["100", "-99.9", "0", "33.333333333333333333"])),
    } | books.instrument(account, symbol)  # fmt: skip
    if draw(st.booleans()):
        payload["price"] = draw(st.sampled_from(ANY_PRICE))
    books.history.append(Happening(account, "AccountAdjusted", payload, at))


@st.composite
def _split(draw: st.DrawFn, books: _Books, account: str, symbol: str, number: int, at: datetime) -> None:
    """What is older is not busted any more."""
    held = books.held(account, symbol)
    if not held:
        return
    split_to, split_from = draw(st.sampled_from(SPLITS))
    change = _cut(held * split_to, split_from) - held
    payload = {
        "kind": "SPLIT", "reference": f"r-{number}", "symbol": symbol, "quantity": plain(change),
        "split_to": split_to, "split_from": split_from,
    } | books.instrument(account, symbol)  # fmt: skip
    books.history.append(Happening(account, "AccountAdjusted", payload, at))
    for key in [key for key, p in books.standing.items() if key[0] == account and p["symbol"] == symbol]:
        del books.standing[key]


@st.composite
def _money(draw: st.DrawFn, books: _Books, account: str, symbol: str, number: int, at: datetime) -> None:
    payload = {
        "kind": draw(st.sampled_from(["OPENING", "TRANSFER", "FUNDING", "DIVIDEND", "FEE", "CASH"])),
        "reference": f"r-{number}", "currency": draw(st.sampled_from(["USDT", "BTC"])),
        "amount": draw(st.sampled_from(["1000", "-0.000000000000000001", "-20.5"])),
    }  # fmt: skip
    if payload["kind"] in ("FUNDING", "DIVIDEND"):
        payload["symbol"] = symbol
    books.history.append(Happening(account, "AccountAdjusted", payload, at))


@st.composite
def _define(draw: st.DrawFn, books: _Books, account: str, symbol: str, number: int, at: datetime) -> None:
    """Puts right a currency that is unknown, or makes one unknown."""
    before = books.instrument(account, symbol)
    name = draw(st.sampled_from(sorted(CURRENCIES)))
    after = {key: value for key, value in before.items() if key != name}
    defined = {"symbol": symbol, "multiplier": draw(st.sampled_from([after.get("multiplier", "1"), "3"]))}
    if "instrument_kind" in before:
        defined["kind"] = before["instrument_kind"]
    if name not in before:
        after[name] = draw(st.sampled_from(CURRENCIES[name]))
    payload: Row = defined | {key: after[key] for key in CURRENCIES if key in after}
    if name in after:
        payload["put_right"] = [name]
    if defined["multiplier"] != "1":
        after["multiplier"] = defined["multiplier"]
    books.instruments[account, symbol] = after
    books.history.append(Happening(account, "InstrumentDefined", payload, at))


def _cut(dividend: Decimal, divisor: int) -> Decimal:
    """To 18 digits after the point."""
    whole = int(abs(dividend) * 10**18) // divisor
    return (Decimal(whole) * Decimal("1e-18")).copy_sign(dividend)


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
        if "reference" in self.payload:
            return {"order_id": None, "exec_id": None}
        return {"order_id": self.payload.get("order_id"), "exec_id": fill_id(self.payload)}


def fill_id(p: Row) -> str:
    return str(p.get("exec_ref_id", p["exec_id"]))


@dataclass
class Lots:
    lots: list[Row] = field(default_factory=list)
    closings: list[Row] = field(default_factory=list)


def legs_of(history: Iterable[Happening]) -> dict[tuple[str, str], list[Leg]]:
    """By account and symbol, the fills and adjustments that count, in their places."""
    legs: dict[tuple[str, str], list[Leg]] = defaultdict(list)
    current: dict[tuple[str, str | None, str], Leg] = {}
    for position, e in enumerate(history, 1):
        p: Row = e.payload
        if e.type == "AccountAdjusted" and "quantity" in p:
            legs[e.account, p["symbol"]].append(Leg(position, 0, p, e.occurred_at))
        if e.type not in (*FILLS, *BUSTS, *CORRECTIONS):
            continue
        key = (e.account, e.order_id, fill_id(p))
        symbol = legs[e.account, p["symbol"]]
        if e.type in FILLS:
            current[key] = Leg(position, 0, p, e.occurred_at)
            symbol.append(current[key])
        elif p.get("is_reversal"):
            old = current[key]
            symbol.append(Leg(position, 0, old.payload, e.occurred_at, -1))
            if e.type in CORRECTIONS:
                current[key] = Leg(position, 1, p, e.occurred_at)
                symbol.append(current[key])
        elif e.type in BUSTS:
            symbol.remove(current[key])
        else:
            current[key].payload = p
    return legs


def fifo(history: Iterable[Happening]) -> Lots:
    """The rows of lots and lot_closings, by their places."""
    found = Lots()
    for (account, symbol), legs in legs_of(history).items():
        fold = _Fifo(found, {"shard": 0, "account": account, "symbol": symbol})
        for leg in legs:
            if leg.payload.get("kind") == "SPLIT":
                fold.split(leg)
            else:
                fold.add(leg)
    found.lots.sort(key=lambda row: (row["opened_position"], row["opened_leg"]))
    places = ("closed_position", "closed_leg", "opened_position", "opened_leg")
    found.closings.sort(key=lambda row: [row[name] for name in places])
    return found


class _Fifo:
    """Of one symbol of an account."""

    def __init__(self, found: Lots, of: Row) -> None:
        self._found = found
        self._of = of
        self._queue: list[Row] = []
        self._opened = Decimal(0)

    def add(self, leg: Leg) -> None:
        left = leg.sign * signed_quantity(leg.payload)
        if not left:
            return
        unit = unit_price(leg.payload)
        price = Decimal(leg.payload["price" if "reference" in leg.payload else "last_px"]) if has_price(leg) else None
        while left and self._queue and (self._queue[0]["remaining"] > 0) != (left > 0):
            lot = self._queue[0]
            quantity = min(abs(left), abs(lot["remaining"])).copy_sign(lot["remaining"])
            self._close(lot, leg, quantity, lot["unit_cost"] if "reference" in leg.payload else unit, price)
            left += quantity
        if left:
            named = leg.names | {"price": price, "unit_cost": unit, "opened_at": leg.at}
            self._open(leg, leg.leg, left, named)

    def split(self, leg: Leg) -> None:
        p, old = leg.payload, list(self._queue)
        left = sum((lot["remaining"] for lot in old), Decimal(p["quantity"]))
        for number, lot in enumerate(old):
            cost = lot["remaining"] * lot["unit_cost"]
            quantity = _cut(lot["remaining"] * p["split_to"], p["split_from"]) if lot is not old[-1] else left
            left -= quantity
            self._close(lot, leg, lot["remaining"], lot["unit_cost"] if quantity else Decimal(0), None)
            if quantity:
                named = {name: lot[name] for name in ("order_id", "exec_id", "price", "opened_at")}
                self._open(leg, number, quantity, named | {"unit_cost": share(cost, Decimal(1), quantity)})

    def _open(self, leg: Leg, number: int, quantity: Decimal, named: Row) -> None:
        self._opened += abs(quantity)
        lot = self._of | named | {
            "opened_position": leg.position, "opened_leg": number, "quantity": quantity, "remaining": quantity,
            "realized_pnl": Decimal(0), "closed_position": None, "closed_at": None, "opened_to": self._opened,
        }  # fmt: skip
        self._queue.append(lot)
        self._found.lots.append(lot)

    def _close(self, lot: Row, leg: Leg, quantity: Decimal, unit: Decimal, price: Decimal | None) -> None:
        made = quantity * (unit - lot["unit_cost"])
        names = leg.names
        self._found.closings.append(
            self._of | names | {
                "closed_position": leg.position, "closed_leg": leg.leg, "opened_position": lot["opened_position"],
                "opened_leg": lot["opened_leg"], "quantity": quantity, "lot_unit_cost": lot["unit_cost"],
                "close_price": price, "close_unit_cost": unit, "realized_pnl": made, "closed_at": leg.at,
            }
        )  # fmt: skip
        lot["remaining"] -= quantity
        lot["realized_pnl"] += made
        if not lot["remaining"]:
            lot |= {"closed_position": leg.position, "closed_at": leg.at}
            self._queue.remove(lot)


def has_price(leg: Leg) -> bool:
    return "reference" not in leg.payload or "price" in leg.payload


# -- the ledger, as a list ---------------------------------------------------------------------------------------


LEDGER_ACCOUNTS = ("position", "cash", "exchange", "fees", "capital", "income")


def entries_of(history: Iterable[Happening]) -> list[Row]:
    """The rows of ledger_entries."""
    ledger = _Ledger()
    for position, e in enumerate(history, 1):
        ledger.add(position, e)
    return ledger.entries


class _Ledger:
    def __init__(self) -> None:
        self.entries: list[Row] = []
        self._standing: dict[tuple[str, str | None, str], Row] = {}
        self._fills: dict[tuple[str, str | None, str], tuple[int, Row]] = {}
        self._renames: dict[tuple[str, str], list[tuple[int, str, Decimal]]] = defaultdict(list)
        self._at: Row = {}

    def add(self, position: int, e: Happening) -> None:
        p: Row = e.payload
        self._at = {"shard": 0, "log_position": position, "account": e.account}
        if e.type == "AccountAdjusted":
            self._adjust(p)
        elif e.type == "InstrumentDefined":
            self._book_over(p)
        elif e.type in (*FILLS, *BUSTS, *CORRECTIONS):
            key = (e.account, e.order_id, fill_id(p))
            if e.type in FILLS:
                self._fills[key] = (position, p)
            else:
                self._execute(self._standing[key], -1, 0, *self._fills[key])
            if e.type not in BUSTS:
                self._execute(p, 1, 3 if e.type in CORRECTIONS else 0, *self._fills[key])
                self._standing[key] = p

    def _post(self, entry: int, currency: str, **amounts: Decimal) -> None:
        moved = dict.fromkeys(LEDGER_ACCOUNTS, Decimal(0)) | amounts
        self.entries.append(self._at | {"entry": entry, "currency": currency} | moved)

    def _unit(self, unit: str, filled_at: int) -> tuple[str, Decimal]:
        """What the unit of a fill has become."""
        for position, currency, multiplier in self._renames[self._at["account"], unit]:
            if position > filled_at:
                return currency, multiplier
        return unit, Decimal(1)

    def _execute(self, p: Row, sign: int, entries_before: int, filled_at: int, fill: Row) -> None:
        """The base, the money, and a third currency in which a fee was charged, in the units of the fill."""
        base, multiplier = _traded_unit(fill) or self._unit(p["symbol"], filled_at)
        settlement = _settlement(fill)
        quantity = sign * _traded(p) * multiplier
        if "gross_amount" in p:
            money = sign * _gross(p) * (1 if p["side"] == "BUY" else -1)
        else:
            money = sign * _traded(p) * unit_price(p)
        fee = sign * Decimal(p.get("fee", "0"))
        base_part = sign * base_fee(p)
        settled = fee if fee and not base_part and p["fee_currency"] == settlement else Decimal(0)
        self._post(entries_before + 1, base, position=quantity - base_part, exchange=-quantity, fees=base_part)
        money_unit = settlement or self._unit(f"{p['symbol']}|quote", filled_at)[0]
        self._post(entries_before + 2, money_unit, cash=-money - settled, exchange=money, fees=settled)
        if fee and not base_part and not settled:
            self._post(entries_before + 3, p["fee_currency"], cash=-fee, fees=fee)

    def _adjust(self, p: Row) -> None:
        if "quantity" in p:
            unit, multiplier = _traded_unit(p) or (p["symbol"], Decimal(1))
            quantity = Decimal(p["quantity"]) * multiplier
            self._post(1, unit, position=quantity, capital=-quantity)
            return
        amount = Decimal(p["amount"])
        match p["kind"]:
            case "FEE":
                self._post(1, p["currency"], cash=-amount, fees=amount)
            case "FUNDING" | "DIVIDEND":
                self._post(1, p["currency"], cash=amount, income=-amount)
            case _:
                self._post(1, p["currency"], cash=amount, capital=-amount)

    def _book_over(self, p: Row) -> None:
        is_inverse = p.get("kind") == "INVERSE"
        renamed = []
        for name in p.get("put_right", ()):
            if name == ("base_currency" if is_inverse else "quote_currency"):
                renamed.append((3, f"{p['symbol']}|quote", p[name], Decimal(1)))
            elif not is_inverse:
                renamed.append((1, p["symbol"], p[name], Decimal(p["multiplier"])))
        for entry, unit, currency, multiplier in renamed:
            account = self._at["account"]
            own = [e for e in self.entries if e["account"] == account and e["currency"] == unit]
            held = {name: sum((e[name] for e in own), Decimal(0)) for name in LEDGER_ACCOUNTS}
            if any(held.values()):
                self._post(entry, unit, **{name: -amount for name, amount in held.items()})
                self._post(entry + 1, currency, **{name: amount * multiplier for name, amount in held.items()})
            self._renames[account, unit].append((self._at["log_position"], currency, multiplier))


def _traded_unit(p: Row) -> tuple[str, Decimal] | None:
    if kind_of(p) is InstrumentKind.INVERSE or "base_currency" not in p:
        return None
    return p["base_currency"], Decimal(p.get("multiplier", "1"))


def _settlement(p: Row) -> str | None:
    currency: str | None = p.get("base_currency" if kind_of(p) is InstrumentKind.INVERSE else "quote_currency")
    return currency


def balances_of(entries: Iterable[Row]) -> dict[tuple[str, str, str], Decimal]:
    """By account, ledger account and currency; those that are not zero."""
    balances: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for e in entries:
        for name in LEDGER_ACCOUNTS:
            balances[e["account"], name, e["currency"]] += e[name]
    return {key: balance for key, balance in balances.items() if balance}
